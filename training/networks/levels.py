"""What detectors of several levels have in common here: each speaks for cells of stride 4, and the surest decides."""

import math
from collections.abc import Sequence

from torch import nn

from training.networks.dense import PRIOR, PredictedMaps

STRIDE = 4  # of the predictions
LEVEL_STRIDES = (8, 16, 32)
PRETRAINED = ("bottom_up.", "levels.")  # parts of such heads that come with what COCO taught


def surest(said: Sequence[PredictedMaps]) -> PredictedMaps:
    """Of levels that each predict logits (B, 1, h, w): the surest decides; a box is the product of all distances."""
    logits, reach = said[0].logits, said[0].log_distances
    for level in said[1:]:
        logits, reach = logits.maximum(level.logits), reach + level.log_distances
    return PredictedMaps(said[0].stride, logits[:, 0], reach)


def fine_convolution(channels: int, width: int) -> nn.Conv2d:
    """From what the trunk knew at stride 4 to the map at stride 8; counts for nothing at first."""
    fine = nn.Conv2d(channels, width, 2, 2)
    nn.init.zeros_(fine.weight)
    nn.init.zeros_(fine.bias)  # type: ignore[arg-type]
    return fine


def start_neutral(classify: nn.Conv2d, *others: nn.Conv2d) -> None:
    """Every cell is background with the prior's certainty."""
    for last in (classify, *others):
        nn.init.normal_(last.weight, std=0.01)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
    nn.init.constant_(classify.bias, math.log(PRIOR / (1 - PRIOR)))  # type: ignore[arg-type]
