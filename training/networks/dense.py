"""Feature pyramid and dense heads: each cell of an output grid says pedestrian or background, and carries a box.

Feature pyramid: Lin et al., arXiv 1612.03144. Centre heat map with boxes read at its peaks: CenterNet
(arXiv 1904.07850), TTFNet (arXiv 1909.00700); distances to the four sides: FCOS (arXiv 1904.01355).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge.contract import LONGEST_LOG

PRIOR = 0.01  # share of pedestrian cells that an untrained head believes in (focal loss, arXiv 1708.02002)


@dataclass(frozen=True, slots=True)
class PredictedMaps:
    """Raw output of one head, for a batch."""

    stride: int
    logits: Tensor  # (B, H/stride, W/stride) of pedestrian against background
    log_distances: Tensor  # (B, 4, H/stride, W/stride) log of the distances left, top, right, bottom, in strides

    def boxes_xyxy(self) -> Tensor:
        """(B, 4, H/stride, W/stride) in input pixels: every cell's box."""
        return decode_boxes(self.log_distances, self.stride)


def decode_boxes(log_distances: Tensor, stride: int) -> Tensor:
    """(B, 4, h, w) log distances from each cell's centre -> (B, 4, h, w) x0, y0, x1, y1 in input pixels."""
    height, width = log_distances.shape[-2:]
    reach = stride * log_distances.float().clamp(max=LONGEST_LOG).exp()
    x = stride * (torch.arange(width, device=reach.device, dtype=reach.dtype) + 0.5)
    y = stride * (torch.arange(height, device=reach.device, dtype=reach.dtype) + 0.5)[:, None]
    left, top, right, bottom = reach.unbind(1)
    return torch.stack((x - left, y - top, x + right, y + bottom), 1)


def conv_bn(inputs: int, outputs: int, kernel: int = 1, groups: int = 1, act: bool = True) -> nn.Sequential:
    """Convolution, batch norm and (unless told not to) ReLU; INT8 folds the three into one."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, nn.ReLU()) if act else nn.Sequential(*layers)


def separable(inputs: int, outputs: int, kernel: int = 3) -> nn.Sequential:
    """Depthwise, then pointwise convolution (MobileNet, arXiv 1704.04861)."""
    return nn.Sequential(conv_bn(inputs, inputs, kernel, groups=inputs), conv_bn(inputs, outputs))


class Pyramid(nn.Module):
    """Top-down pyramid of one width; nearest-neighbour upsampling, which INT8 likes."""

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(conv_bn(c, width, act=False) for c in channels)
        self.smooth = nn.ModuleList(separable(width, width) for _ in channels)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Maps finest first, each half the sides of the one before -> as many of (B, width, h, w)."""
        merged: list[Tensor] = []
        for lateral, feature in zip(reversed(self.laterals), reversed(features), strict=True):
            level = lateral(feature)
            if merged:
                level = level + functional.interpolate(merged[-1], scale_factor=2.0, mode="nearest")
            merged.append(functional.relu(level))
        return [smooth(level) for smooth, level in zip(self.smooth, reversed(merged), strict=True)]


class DenseHead(nn.Module):
    """Separate towers for the class and for the box, each ending in one 1x1 convolution that always stays FP32."""

    def __init__(self, width: int, stride: int, class_depth: int, box_depth: int) -> None:
        super().__init__()
        self.stride = stride
        self.class_tower = nn.Sequential(*(separable(width, width) for _ in range(class_depth)))
        self.box_tower = nn.Sequential(*(separable(width, width) for _ in range(box_depth)))
        self.classify = nn.Conv2d(width, 1, 1)
        self.distances = nn.Conv2d(width, 4, 1)
        nn.init.constant_(self.classify.bias, -torch.log(torch.tensor((1 - PRIOR) / PRIOR)).item())  # type: ignore[arg-type]
        nn.init.normal_(self.classify.weight, std=0.01)
        nn.init.normal_(self.distances.weight, std=0.01)
        nn.init.constant_(self.distances.bias, 1.0)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> PredictedMaps:
        """(B, width, h, w) -> logits (B, h, w) and log distances (B, 4, h, w)."""
        logits = self.classify(self.class_tower(features))  # (B, 1, h, w)
        return PredictedMaps(self.stride, logits[:, 0], self.distances(self.box_tower(features)))
