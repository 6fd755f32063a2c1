"""Generalised IoU between maps of boxes: Rezatofighi et al., arXiv 1902.09630."""

import torch
from torch import Tensor

from training.losses.per_picture import mean_over_pictures


def giou(boxes_xyxy: Tensor, others_xyxy: Tensor) -> Tensor:
    """(..., 4, h, w) twice -> (..., h, w) generalised IoU in -1..1."""
    ax0, ay0, ax1, ay1 = boxes_xyxy.unbind(-3)
    bx0, by0, bx1, by1 = others_xyxy.unbind(-3)
    inter = (torch.minimum(ax1, bx1) - torch.maximum(ax0, bx0)).clamp(min=0) * (
        torch.minimum(ay1, by1) - torch.maximum(ay0, by0)
    ).clamp(min=0)
    union = (ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - inter
    hull = (torch.maximum(ax1, bx1) - torch.minimum(ax0, bx0)) * (torch.maximum(ay1, by1) - torch.minimum(ay0, by0))
    return inter / union.clamp(min=1e-6) - (hull - union) / hull.clamp(min=1e-6)


def giou_loss(boxes_xyxy: Tensor, target_xyxy: Tensor, weight: Tensor) -> Tensor:
    """Weighted sum of 1 - GIoU over the cells of (B, 4, h, w) maps, see mean_over_pictures.

    `weight` (B, h, w) is 0 where no box is due and sums to 1 for each pedestrian.
    """
    lost = (1 - giou(boxes_xyxy, target_xyxy)) * weight
    return mean_over_pictures(lost.sum((1, 2)), weight.sum((1, 2)))
