"""From dense maps to the list of people: local maxima, and the boxes that are read off at them.

Peaks by 3x3 max pooling: CenterNet, arXiv 1904.07850. Written so that the ONNX exporter keeps every side dynamic.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from edge.contract import LONGEST_LOG, MAX_DETECTIONS, NOWHERE


@dataclass(frozen=True, slots=True)
class Peaks:
    """The highest local maxima of a batch of score maps."""

    logits: Tensor  # (B, 500) descending, NOWHERE past the last peak
    cells: Tensor  # (B, 500) int64 index into the flattened map


def find_peaks(logits: Tensor) -> Peaks:
    """(B, h, w) -> the 500 highest cells that beat their 8 neighbours; between equals the lower index wins.

    500 losing cells are appended first: ONNX Runtime's TopK fails on fewer cells than it is asked for.
    """
    flat = logits.flatten(1)  # (B, h*w)
    scores = logits[:, None]  # (B, 1, h, w)
    row_above = functional.pad(scores, (1, 1, 1, 0), value=NOWHERE)[:, :, :-1]  # (B, 1, h, w + 2)
    left = functional.pad(scores, (1, 0), value=NOWHERE)[..., :-1]
    of_lower_index = functional.max_pool2d(row_above, (1, 3), 1).maximum(left)
    peak = (scores >= functional.max_pool2d(scores, 3, 1, 1)) & (scores > of_lower_index)
    kept = torch.where(peak, scores, NOWHERE).flatten(1)
    padded = functional.pad(kept, (0, MAX_DETECTIONS), value=NOWHERE)  # (B, h*w + 500)
    top, cells = torch.topk(padded, MAX_DETECTIONS, dim=1, sorted=True)
    return Peaks(top, cells.minimum(torch.tensor(flat.shape[1] - 1, device=logits.device)))


def boxes_at(log_distances: Tensor, cells: Tensor, stride: int | Tensor) -> Tensor:
    """(B, 4, h, w) log distances read at (B, K) cells -> (B, K, 4) corners in input pixels."""
    height, width = log_distances.shape[-2:]
    picked = log_distances.flatten(2).gather(2, cells[:, None].expand(-1, 4, -1))  # (B, 4, K)
    left, top, right, bottom = picked.clamp(max=LONGEST_LOG).exp().unbind(1)  # in cells
    # Read off maps of the cells' centres: the exporter cannot divide by a width that it does not know.
    columns = torch.arange(width, dtype=left.dtype, device=left.device) + 0.5
    rows = torch.arange(height, dtype=left.dtype, device=left.device) + 0.5
    x = columns.expand(height, width).flatten()[cells]  # (B, K)
    y = rows[:, None].expand(height, width).flatten()[cells]
    return stride * torch.stack((x - left, y - top, x + right, y + bottom), -1)
