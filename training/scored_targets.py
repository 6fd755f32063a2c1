"""What an extra teacher found in a batch, as dense maps; the same Gaussians as those of the labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edge.records import Boxes
from training.datasets import ScoredBoxes
from training.targets import Targets, centre_cell, dense_targets

NO_BOXES: Boxes = np.zeros((0, 4), np.float32)


@dataclass(frozen=True, slots=True)
class ScoredTargets:
    """Scored boxes of a batch on the grid of one stride."""

    heat: Tensor  # (B, h, w) 1 at the centres
    score: Tensor  # (B, h, w) of the box whose centre lies there, else 0
    counted: Tensor  # (B, h, w) 0 in ignored regions and in pictures that the extra teacher did not see
    boxes_xyxy: Tensor  # (B, 4, h, w) in input pixels; only where `boxed`
    boxed: Tensor  # (B, h, w) 1 where a box is


def scored_targets(targets: Sequence[Targets], stride: int, images: Tensor) -> ScoredTargets | None:
    """Maps at `stride` for `images` (B, 3, H, W), on their device; None where no picture was seen."""
    if all(t.scored is None for t in targets):
        return None
    found = [t.scored or ScoredBoxes(NO_BOXES, np.zeros(0, np.float32)) for t in targets]
    dense = dense_targets(
        [Targets(s.boxes_xyxy, t.ignore_xyxy) for s, t in zip(found, targets, strict=True)], stride, images
    )
    height, width = images.shape[2] // stride, images.shape[3] // stride
    score = torch.from_numpy(np.stack([_score_map(s, stride, (height, width)) for s in found])).to(images.device)
    seen = torch.tensor([t.scored is not None for t in targets], device=images.device).float()
    return ScoredTargets(
        heat=dense.heat,
        score=score,
        counted=dense.counted * seen[:, None, None],
        boxes_xyxy=dense.boxes_xyxy,
        boxed=(dense.box_weight > 0).float(),
    )


def _score_map(found: ScoredBoxes, stride: int, shape_hw: tuple[int, int]) -> npt.NDArray[np.float32]:
    score = np.zeros(shape_hw, np.float32)
    for box, value in zip(found.boxes_xyxy, found.scores, strict=True):
        cell = centre_cell(box, stride, shape_hw)
        score[cell] = max(score[cell], value)
    return score
