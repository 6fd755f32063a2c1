"""The other half of YOLOX-nano: bottom-up pyramid and the towers of its heads, which know people from COCO already.

Ge et al., arXiv 2107.08430 (path aggregation: arXiv 1803.01534). Its last convolutions are replaced: here every level
says for each cell of stride 4 what it sees there, by pixel shuffle (arXiv 1609.05158). The level that is surest of a
person decides, as in YOLOX; the box is the sum of what all three say. So small people get the fine grid at the price
of a coarse one: no map of stride 4 is ever convolved, which costs most of the time of a plain stride-4 head.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.networks.dense import PredictedMaps
from training.networks.depthwise import use_fast_depthwise
from training.networks.levels import STRIDE, fine_convolution, start_neutral, surest
from training.networks.reactivate import activate
from training.networks.yolox import CrossStage, narrowed, separable, unit

LEVELS = {8: 64, 16: 128, 32: 256}  # stride -> channels after the bottom-up path
WIDTH = 64  # of the towers


class BottomUp(nn.Module):
    """The second half of the path-aggregating pyramid; modules are created in the order of the released file."""

    def __init__(self, width_multiplier: float) -> None:
        super().__init__()
        c64, c128, c256 = (narrowed(c, width_multiplier) for c in LEVELS.values())
        self.down16, self.fuse16 = separable(c64, c64, 2), CrossStage(c128, c128, 1, shortcut=False)
        self.down32, self.fuse32 = separable(c128, c128, 2), CrossStage(c256, c256, 1, shortcut=False)

    def forward(self, at8: Tensor, at16: Tensor, at32: Tensor) -> list[Tensor]:
        """(B, 64, H/8, W/8), (B, 64, H/16, W/16), (B, 128, H/32, W/32) -> 64, 128 and 256 channels at the same.

        Channels are given at full width throughout.
        """
        wide16 = self.fuse16(torch.cat((self.down16(at8), at16), 1))  # (B, 128, H/16, W/16)
        wide32 = self.fuse32(torch.cat((self.down32(wide16), at32), 1))  # (B, 256, H/32, W/32)
        return [at8, wide16, wide32]


class Level(nn.Module):
    """One level's towers for the class and for the box, and what they say of each cell of stride 4."""

    def __init__(self, channels: int, stride: int, width: int) -> None:
        super().__init__()
        self.stride, cells = stride, (stride // STRIDE) ** 2
        self.stem = unit(channels, width)
        self.classes = nn.Sequential(separable(width, width), separable(width, width))
        self.boxes = nn.Sequential(separable(width, width), separable(width, width))
        self.classify, self.objects = nn.Conv2d(width, cells, 1), nn.Conv2d(width, cells, 1)
        self.distances = nn.Conv2d(width, 4 * cells, 1)
        start_neutral(self.classify, self.objects, self.distances)

    def forward(self, features: Tensor, fine: Tensor | None) -> PredictedMaps:
        """(B, C, H/s, W/s) -> predictions at stride 4; `fine` (B, 64, H/s, W/s) joins before the first activation."""
        convolve, act = self.stem
        shared = convolve(features)
        shared = act(shared if fine is None else shared + fine)  # (B, 64, H/s, W/s)
        for_boxes = self.boxes(shared)
        seen = self.classify(self.classes(shared)) + self.objects(
            for_boxes
        )  # YOLOX reads objectness off the box's tower
        cells = self.stride // STRIDE
        logits = functional.pixel_shuffle(seen, cells)  # (B, 1, H/4, W/4)
        return PredictedMaps(STRIDE, logits, functional.pixel_shuffle(self.distances(for_boxes), cells))


class YoloxHead(nn.Module):
    """Feature maps of the YOLOX trunk at strides 4, 8, 16 and 32 -> predictions at stride 4."""

    def __init__(self, fine_channels: int, activation: str, width_multiplier: float = 1.0) -> None:
        super().__init__()
        self.bottom_up = BottomUp(width_multiplier)
        width = narrowed(WIDTH, width_multiplier)
        self.levels = nn.ModuleList(
            Level(narrowed(channels, width_multiplier), stride, width) for stride, channels in LEVELS.items()
        )
        self.fine = fine_convolution(fine_channels, width)
        nn.init.ones_(self.levels[0].distances.bias)  # type: ignore[arg-type, union-attr]
        activate(self, activation)
        use_fast_depthwise(self)

    def last_convolutions(self) -> list[nn.Conv2d]:
        """Those that predict: no activation lies behind them."""
        return [level.get_submodule(name) for level in self.levels for name in ("classify", "objects", "distances")]  # type: ignore[misc]

    def forward(self, features: Sequence[Tensor]) -> PredictedMaps:
        """Maps at strides 4, 8, 16, 32 -> logits (B, H/4, W/4) and log distances (B, 4, H/4, W/4)."""
        fine, *coarse = features
        maps = self.bottom_up(*coarse)
        extras = (self.fine(fine), None, None)
        return surest([level(at, extra) for level, at, extra in zip(self.levels, maps, extras, strict=True)])
