"""YOLOX-nano's trunk as a trunk of ours: it starts from what COCO taught it, where ImageNet taught the others.

Architecture: Ge et al., "YOLOX: Exceeding YOLO Series in 2021", arXiv 2107.08430 (CSPDarknet with depthwise layers, and
the top-down half of its pyramid); the rest of it is in yolox_head.py, the released weights are read in
yolox_weights.py. Batch norm is folded into the convolutions there; so these have biases, and no statistics to go stale.

`activation` silu is what the weights were trained with; hardswish says nearly the same and costs less (hardswish.py);
relu is what INT8 and small processors like.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.networks.detector_trunk import DetectorTrunk
from training.networks.reactivate import activate
from training.networks.trunk import TrunkSpec

BACKBONE = "yolox_nano"
MEAN, STD = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)  # 0..1; the released stem reads 0..255, see load_yolox
STAGES = ("stem", "dark2", "dark3", "dark4", "dark5")  # as TrunkSpec.frozen_stages counts them
CHANNELS = {4: 32, 8: 64, 16: 64, 32: 128}
WIDTH_STEP = 0.25  # of width multipliers: else two halves, each in eights, do not make the whole


def narrowed(channels: int, width_multiplier: float) -> int:
    """Channels of a narrower network, in eights (width multiplier: MobileNet, arXiv 1704.04861)."""
    return max(8, 8 * round(channels * width_multiplier / 8))


def unit(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution and activation."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups), nn.SiLU())


def separable(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Depthwise 3x3, then pointwise (MobileNet, arXiv 1704.04861), each with its activation."""
    return nn.Sequential(*unit(inputs, inputs, 3, stride, inputs), *unit(inputs, outputs))


class _Bottleneck(nn.Module):
    def __init__(self, width: int, shortcut: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(*unit(width, width), *separable(width, width))
        self.shortcut = shortcut

    def forward(self, features: Tensor) -> Tensor:
        changed: Tensor = self.layers(features)
        return changed + features if self.shortcut else changed


class CrossStage(nn.Module):
    """Half of the channels pass through bottlenecks, half go round them (CSPNet, arXiv 1911.11929)."""

    def __init__(self, inputs: int, outputs: int, depth: int, shortcut: bool = True) -> None:
        super().__init__()
        half = outputs // 2
        self.main, self.round = unit(inputs, half), unit(inputs, half)
        self.bottlenecks = nn.Sequential(*(_Bottleneck(half, shortcut) for _ in range(depth)))
        self.merge = unit(outputs, outputs)

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        merged: Tensor = self.merge(torch.cat((self.bottlenecks(self.main(features)), self.round(features)), 1))
        return merged


class _SpatialPyramid(nn.Module):
    """Max pooling at three sizes side by side (SPP, arXiv 1406.4729)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduce, self.merge = unit(width, width // 2), unit(2 * width, width)

    def forward(self, features: Tensor) -> Tensor:
        reduced = self.reduce(features)
        pools = [functional.max_pool2d(reduced, k, 1, k // 2) for k in (5, 9, 13)]
        merged: Tensor = self.merge(torch.cat((reduced, *pools), 1))
        return merged


class _Backbone(nn.Module):
    """Convolutions are created in the order in which the released file lists them."""

    def __init__(self, width_multiplier: float) -> None:
        super().__init__()
        c16, c32, c64, c128, c256 = (narrowed(c, width_multiplier) for c in (16, 32, 64, 128, 256))
        # Space-to-depth and a 3x3 convolution are one 6x6 convolution of stride 2.
        self.stem = nn.Sequential(nn.Conv2d(3, c16, 6, 2, 2), nn.SiLU())
        self.dark2 = nn.Sequential(separable(c16, c32, 2), CrossStage(c32, c32, 1))
        self.dark3 = nn.Sequential(separable(c32, c64, 2), CrossStage(c64, c64, 3))
        self.dark4 = nn.Sequential(separable(c64, c128, 2), CrossStage(c128, c128, 3))
        self.dark5 = nn.Sequential(
            separable(c128, c256, 2), _SpatialPyramid(c256), CrossStage(c256, c256, 1, shortcut=False)
        )
        self.lateral = unit(c256, c128)
        self.fuse16 = CrossStage(c256, c128, 1, shortcut=False)
        self.reduce = unit(c128, c64)
        self.fuse8 = CrossStage(c128, c64, 1, shortcut=False)

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        fine = self.dark2(self.stem(images))  # (B, 32, H/4, W/4)
        at8 = self.dark3(fine)  # (B, 64, H/8, W/8)
        at16 = self.dark4(at8)  # (B, 128, H/16, W/16)
        coarse = self.lateral(self.dark5(at16))  # (B, 128, H/32, W/32)
        fused16 = self.fuse16(torch.cat((_doubled(coarse), at16), 1))  # (B, 128, H/16, W/16)
        reduced = self.reduce(fused16)  # (B, 64, H/16, W/16)
        fused8 = self.fuse8(torch.cat((_doubled(reduced), at8), 1))  # (B, 64, H/8, W/8)
        return {4: fine, 8: fused8, 16: reduced, 32: coarse}


def _doubled(features: Tensor) -> Tensor:
    return functional.interpolate(features, scale_factor=2.0, mode="nearest")


class YoloxTrunk(DetectorTrunk):
    """Maps at stride 4 (early features) and at 8, 16 and 32 (features that the top-down path has fused already)."""

    backbone: _Backbone

    def __init__(self, spec: TrunkSpec) -> None:
        channels = {stride: narrowed(full, spec.width_multiplier) for stride, full in CHANNELS.items()}
        super().__init__(spec, _Backbone(spec.width_multiplier), channels, STAGES)
        activate(self.backbone, spec.activation)
