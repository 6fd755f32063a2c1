"""NanoDet-m's head, which knows people from COCO already; and the released weights of all of it.

Released, one tower a level serves class and box (generalized focal loss: Li et al., arXiv 2006.04388); here each
starts from a copy of it, as boxes are what our pictures teach anew. As in yolox_head.py every level says for each cell
of stride 4 what it sees there.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.networks.dense import PredictedMaps
from training.networks.depthwise import use_fast_depthwise
from training.networks.levels import LEVEL_STRIDES, STRIDE, fine_convolution, start_neutral, surest
from training.networks.nanodet import BACKBONE, WIDTH, NanodetTrunk, depthwise, leaky, pointwise
from training.networks.reactivate import activate
from training.networks.released import Convolution, convolutions_of, fill, read_convolutions

TOWER = 4  # convolutions of a level's tower; one that predicts follows
PERSON = 0  # among COCO's classes


def _tower() -> nn.Sequential:
    return nn.Sequential(
        *(layer for _ in range(TOWER // 2) for layer in (depthwise(WIDTH), leaky(), *pointwise(WIDTH, WIDTH)))
    )


class NanodetLevel(nn.Module):
    """One level's towers for the class and for the box, and what they say of each cell of stride 4."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.cells = stride // STRIDE  # a side
        self.classes, self.boxes = _tower(), _tower()
        self.classify = nn.Conv2d(WIDTH, self.cells**2, 1)
        self.distances = nn.Conv2d(WIDTH, 4 * self.cells**2, 1)
        start_neutral(self.classify, self.distances)

    def forward(self, features: Tensor) -> PredictedMaps:
        """(B, 96, H/s, W/s) -> predictions at stride 4."""
        logits = functional.pixel_shuffle(self.classify(self.classes(features)), self.cells)  # (B, 1, H/4, W/4)
        reach = functional.pixel_shuffle(self.distances(self.boxes(features)), self.cells)  # (B, 4, H/4, W/4)
        return PredictedMaps(STRIDE, logits, reach)


class NanodetHead(nn.Module):
    """Feature maps of NanoDet's trunk at strides 4, 8, 16 and 32 -> predictions at stride 4."""

    def __init__(self, fine_channels: int, activation: str) -> None:
        super().__init__()
        self.levels = nn.ModuleList(NanodetLevel(stride) for stride in LEVEL_STRIDES)
        self.fine = fine_convolution(fine_channels, WIDTH)
        nn.init.ones_(self.levels[0].distances.bias)  # type: ignore[arg-type, union-attr]
        use_fast_depthwise(self)
        activate(self, activation)

    def forward(self, features: Sequence[Tensor]) -> PredictedMaps:
        """Maps at strides 4, 8, 16, 32 -> logits (B, H/4, W/4) and log distances (B, 4, H/4, W/4)."""
        fine, at8, *coarse = features
        maps = [at8 + self.fine(fine), *coarse]
        return surest([level(at) for level, at in zip(self.levels, maps, strict=True)])


def load_nanodet(trunk: NanodetTrunk, head: nn.Module | None, weights: str) -> None:
    """Fill the trunk, and the head if it is NanoDet's own, from `nanodet_m.onnx`; `none` leaves them untrained.

    Raises:
        UnusableInputError: no such file, or another network's.
    """
    if weights == "none":
        return
    released = read_convolutions(weights, BACKBONE)
    released[:1] = [Convolution(stem.weight.flip(1), stem.bias) for stem in released[:1]]  # reads BGR, ours RGB
    ours = convolutions_of(trunk.backbone)
    fill(ours, released, BACKBONE)
    if isinstance(head, NanodetHead):
        for k, level in enumerate(head.levels):
            begin = len(ours) + k * (TOWER + 1)
            for part in ("classes", "boxes"):
                fill(convolutions_of(level.get_submodule(part)), released[begin : begin + TOWER], BACKBONE)
            _start_from_person(level.classify, released[begin + TOWER])  # type: ignore[arg-type]


@torch.no_grad()
def _start_from_person(classify: nn.Conv2d, last: Convolution) -> None:
    classify.weight.copy_(last.weight[PERSON].expand_as(classify.weight))
    classify.bias.fill_(last.bias[PERSON].item())  # type: ignore[union-attr]
