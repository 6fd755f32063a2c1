"""NanoDet-m's trunk: built otherwise than YOLOX-nano, taught by COCO as well, so the two err in different places.

Architecture: ShuffleNetV2 (Ma et al., arXiv 1807.11164) and a path-aggregating pyramid without a single 3x3
convolution (RangiLyu/nanodet, Apache-2.0; arXiv 1803.01534). Batch norm is folded into the convolutions of the
released file; so ours have biases, and no statistics to go stale.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.networks.detector_trunk import DetectorTrunk
from training.networks.reactivate import activate
from training.networks.trunk import RGB, TrunkSpec

BACKBONE = "nanodet_m"
MEAN: RGB = (123.675 / 255, 116.28 / 255, 103.53 / 255)
STD: RGB = (58.395 / 255, 57.12 / 255, 57.375 / 255)
STAGES = ("stem", "stage2", "stage3", "stage4")  # as TrunkSpec.frozen_stages counts them
WIDTH = 96  # of the pyramid
CHANNELS = {4: 24, 8: WIDTH, 16: WIDTH, 32: WIDTH}
SLOPE = 0.1  # of the leaky ReLU


def leaky() -> nn.LeakyReLU:
    """The activation throughout, as released."""
    return nn.LeakyReLU(SLOPE)


def pointwise(inputs: int, outputs: int) -> list[nn.Module]:
    """Convolution of single cells, and activation."""
    return [nn.Conv2d(inputs, outputs, 1), leaky()]


def depthwise(width: int, stride: int = 1) -> nn.Conv2d:
    """3x3 convolution of each channel by itself."""
    return nn.Conv2d(width, width, 3, stride, 1, groups=width)


class ShuffleUnit(nn.Module):
    """Half of the channels pass by, half are convolved, then both are interleaved (arXiv 1807.11164, figure 3).

    With stride 2 both halves see all channels, and each gives half of the outputs.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half = outputs // 2
        self.halves = stride == 1
        self.passing = nn.Sequential() if self.halves else nn.Sequential(depthwise(inputs, 2), *pointwise(inputs, half))
        entering = half if self.halves else inputs
        self.convolved = nn.Sequential(*pointwise(entering, half), depthwise(half, stride), *pointwise(half, half))

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        left, right = features.chunk(2, 1) if self.halves else (features, features)
        return torch.stack((self.passing(left), self.convolved(right)), 2).flatten(1, 2)


def _stage(inputs: int, outputs: int, units: int) -> nn.Sequential:
    return nn.Sequential(ShuffleUnit(inputs, outputs, 2), *(ShuffleUnit(outputs, outputs, 1) for _ in range(units - 1)))


class _Backbone(nn.Module):
    """Convolutions are created in the order in which the released file lists them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 24, 3, 2, 1), leaky(), nn.MaxPool2d(3, 2, 1))
        self.stage2, self.stage3, self.stage4 = _stage(24, 116, 4), _stage(116, 232, 8), _stage(232, 464, 4)
        self.laterals = nn.ModuleList(nn.Conv2d(channels, WIDTH, 1) for channels in (116, 232, 464))

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        fine = self.stem(images)  # (B, 24, H/4, W/4)
        at8 = self.stage2(fine)  # (B, 116, H/8, W/8)
        at16 = self.stage3(at8)  # (B, 232, H/16, W/16)
        side8, side16, side32 = (lay(f) for lay, f in zip(self.laterals, (at8, at16, self.stage4(at16)), strict=True))
        down16 = side16 + _resized(side32, 2.0)  # (B, 96, H/16, W/16)
        out8 = side8 + _resized(down16, 2.0)  # (B, 96, H/8, W/8)
        out16 = down16 + _resized(out8, 0.5)
        return {4: fine, 8: out8, 16: out16, 32: side32 + _resized(out16, 0.5)}


def _resized(features: Tensor, factor: float) -> Tensor:
    return functional.interpolate(features, scale_factor=factor, mode="bilinear", align_corners=False)


class NanodetTrunk(DetectorTrunk):
    """Maps at stride 4 (early features) and at 8, 16 and 32 (the pyramid's, fused both ways)."""

    backbone: _Backbone

    def __init__(self, spec: TrunkSpec) -> None:
        super().__init__(spec, _Backbone(), CHANNELS, STAGES)
        activate(self.backbone, spec.activation)
