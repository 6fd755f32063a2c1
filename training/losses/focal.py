"""Focal loss on a centre heat map: Zhou et al., "Objects as Points", arXiv 1904.07850, equation 1."""

from torch import Tensor
from torch.nn import functional

from training.losses.per_picture import mean_over_pictures

ALPHA, BETA = 2.0, 4.0


def heatmap_focal_loss(logits: Tensor, heat: Tensor, counted: Tensor) -> Tensor:
    """Sum of -(1-p)^2 log p at centres and -(1-heat)^4 p^2 log(1-p) elsewhere, see mean_over_pictures.

    Args:
        logits: (B, h, w) pedestrian against background.
        heat: (B, h, w) in 0..1, exactly 1 at the centres.
        counted: (B, h, w) 1 where the loss counts, 0 in regions that neither reward nor punish.

    Returns:
        A scalar.
    """
    logits = logits.float()
    p = logits.sigmoid()
    centre = (heat == 1).float()
    towards = (1 - p) ** ALPHA * functional.logsigmoid(logits) * centre
    away = (1 - heat) ** BETA * p**ALPHA * functional.logsigmoid(-logits) * (1 - centre) * counted
    return mean_over_pictures(-(towards + away).sum((1, 2)), centre.sum((1, 2)))
