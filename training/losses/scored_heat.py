"""Quality focal loss: Li et al., "Generalized Focal Loss", arXiv 2006.04388, equation 2, on a centre heat map."""

from torch import Tensor
from torch.nn import functional

from training.losses.focal import ALPHA, BETA
from training.losses.per_picture import mean_over_pictures


def scored_heat_loss(logits: Tensor, heat: Tensor, score: Tensor, counted: Tensor) -> Tensor:
    """(y - p)^2 x cross-entropy(p, y), y = score at centres and 0 elsewhere, where (1-heat)^4 spares neighbours.

    What a foreign detector found is so learnt as it was scored. With every score at 1 this is heatmap_focal_loss.

    Args:
        logits: (B, h, w) pedestrian against background.
        heat: (B, h, w) in 0..1, exactly 1 at the centres of scored boxes.
        score: (B, h, w) in 0..1, the score of the box whose centre lies there; read at centres only.
        counted: (B, h, w) 1 where the loss counts; a centre counts anyway.
    """
    logits = logits.float()
    centre = (heat == 1).float()
    y = score * centre
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, y, reduction="none")
    scaled = (y - logits.sigmoid()).abs() ** ALPHA * cross_entropy
    weight = centre + (1 - heat) ** BETA * (1 - centre) * counted
    return mean_over_pictures((scaled * weight).sum((1, 2)), y.sum((1, 2)))
