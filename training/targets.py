"""Ground truth of a batch, as boxes and as dense maps.

Centre Gaussians follow TTFNet (arXiv 1909.00700): their extent follows the box, so that every cell near the centre
learns the box, and the heat falls to nothing before the person ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edge.records import Boxes
from training.datasets import ScoredBoxes

EXTENT = 0.54  # share of a box's half side that its Gaussian covers (alpha of TTFNet)
LEAST_SIGMA = 0.5  # cells; a person of one cell still warms its neighbours a little


@dataclass(frozen=True, slots=True)
class Targets:
    """Ground truth of one network input, in input pixels."""

    boxes_xyxy: Boxes  # (N, 4) pedestrians
    ignore_xyxy: Boxes  # (M, 4) neither rewarded nor punished
    scored: ScoredBoxes | None = None  # an extra teacher's; None where none was asked


@dataclass(frozen=True, slots=True)
class Batch:
    """What a step learns from."""

    images: Tensor  # (B, 3, H, W) uint8 BGR
    targets: tuple[Targets, ...]
    names: tuple[str, ...] = ()  # of the pictures that it was cut from, for messages


@dataclass(frozen=True, slots=True)
class DenseTargets:
    """Ground truth of a batch on the grid of one stride."""

    heat: Tensor  # (B, h, w) 1 at the centres
    counted: Tensor  # (B, h, w) 0 in ignored regions
    boxes_xyxy: Tensor  # (B, 4, h, w) in input pixels; only where box_weight is positive
    box_weight: Tensor  # (B, h, w) sums to about 1 for each pedestrian

    @property
    def pedestrians(self) -> Tensor:
        """Number of centres in the batch, a scalar."""
        return (self.heat == 1).sum()


def dense_targets(targets: Sequence[Targets], stride: int, images: Tensor) -> DenseTargets:
    """Maps at `stride` for `images` (B, 3, H, W), on their device."""
    shape_hw = (images.shape[2] // stride, images.shape[3] // stride)
    maps = [_maps_of(t, stride, shape_hw) for t in targets]
    heat, counted, boxes_xyxy, weight = (
        torch.from_numpy(np.stack(m)).to(images.device) for m in zip(*maps, strict=True)
    )
    return DenseTargets(heat, counted, boxes_xyxy, weight)


def centre_cell(box_xyxy: npt.NDArray[np.float32], stride: int, shape_hw: tuple[int, int]) -> tuple[int, int]:
    """Row and column of the cell that a box's centre lies in."""
    x0, y0, x1, y1 = box_xyxy / stride
    return min(int((y0 + y1) / 2), shape_hw[0] - 1), min(int((x0 + x1) / 2), shape_hw[1] - 1)


def _maps_of(targets: Targets, stride: int, shape_hw: tuple[int, int]) -> tuple[npt.NDArray[np.float32], ...]:
    height, width = shape_hw
    heat, counted = np.zeros(shape_hw, np.float32), np.ones(shape_hw, np.float32)
    weight, boxes = np.zeros(shape_hw, np.float32), np.zeros((4, *shape_hw), np.float32)
    for x0, y0, x1, y1 in targets.ignore_xyxy / stride:
        counted[int(max(y0, 0)) : int(np.ceil(y1)), int(max(x0, 0)) : int(np.ceil(x1))] = 0
    areas = np.prod(targets.boxes_xyxy[:, 2:] - targets.boxes_xyxy[:, :2], axis=1)
    for box in targets.boxes_xyxy[np.argsort(-areas, kind="stable")]:  # small people last: they win a shared cell
        x0, y0, x1, y1 = box / stride
        row, column = centre_cell(box, stride, shape_hw)
        reach_x, reach_y = EXTENT * (x1 - x0) / 2, EXTENT * (y1 - y0) / 2
        sigma_x, sigma_y = (max((2 * r + 1) / 6, LEAST_SIGMA) for r in (reach_x, reach_y))
        rx, ry = max(1, int(reach_x)), max(1, int(reach_y))
        rows = slice(max(row - ry, 0), min(row + ry + 1, height))
        columns = slice(max(column - rx, 0), min(column + rx + 1, width))
        dy = (np.arange(rows.start, rows.stop) - row) / sigma_y
        dx = (np.arange(columns.start, columns.stop) - column) / sigma_x
        bump = np.exp(-(dy[:, None] ** 2 + dx[None, :] ** 2) / 2).astype(np.float32)
        heat[rows, columns] = np.maximum(heat[rows, columns], bump)
        boxes[:, rows, columns] = box[:, None, None]
        weight[rows, columns] = bump / bump.sum()
    return heat, counted, boxes, weight
