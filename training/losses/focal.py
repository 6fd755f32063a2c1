"""Focal loss on a centre heat map: Zhou et al., "Objects as Points", arXiv 1904.07850, equation 1."""

from torch import Tensor
from torch.nn import functional


def heatmap_focal_loss(logits: Tensor, heat: Tensor, counted: Tensor, alpha: float = 2.0, beta: float = 4.0) -> Tensor:
    """Mean over pedestrians of -(1-p)^alpha log p at centres and -(1-heat)^beta p^alpha log(1-p) elsewhere.

    Args:
        logits: (B, h, w) pedestrian against background.
        heat: (B, h, w) in 0..1, exactly 1 at the centres.
        counted: (B, h, w) 1 where the loss counts, 0 in regions that neither reward nor punish.

    Returns:
        A scalar, divided by the number of centres in the batch (at least 1).
    """
    logits = logits.float()
    p = logits.sigmoid()
    centre = (heat == 1).float()
    towards = (1 - p) ** alpha * functional.logsigmoid(logits) * centre
    away = (1 - heat) ** beta * p**alpha * functional.logsigmoid(-logits) * (1 - centre) * counted
    return -(towards + away).sum() / centre.sum().clamp(min=1)
