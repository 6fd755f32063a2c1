"""YOLOX-nano's trunk as a trunk of ours: it starts from what COCO taught it, where ImageNet taught the others.

Architecture: Ge et al., "YOLOX: Exceeding YOLO Series in 2021", arXiv 2107.08430 (CSPDarknet with depthwise layers, and
the top-down half of its pyramid), without its heads. Weights are read from the released ONNX file (Apache-2.0), in
which batch norm is folded into the convolutions; so these have biases, and no statistics to go stale.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from edge.errors import InvalidValueError, UnusableInputError
from training.networks.depthwise import use_fast_depthwise
from training.networks.trunk import Normalize, TrunkSpec

BACKBONE = "yolox_nano"
MEAN, STD = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)  # 0..1; the released stem reads 0..255, see load_yolox
STAGES = ("stem", "dark2", "dark3", "dark4", "dark5")  # as TrunkSpec.frozen_stages counts them
CHANNELS = {4: 32, 8: 64, 16: 128, 32: 128}


def _unit(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups), nn.SiLU())


def _separable(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(*_unit(inputs, inputs, 3, stride, inputs), *_unit(inputs, outputs))


class _Bottleneck(nn.Module):
    def __init__(self, width: int, shortcut: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_unit(width, width), *_separable(width, width))
        self.shortcut = shortcut

    def forward(self, features: Tensor) -> Tensor:
        changed: Tensor = self.layers(features)
        return changed + features if self.shortcut else changed


class _CrossStage(nn.Module):
    """Half of the channels pass through bottlenecks, half go round them (CSPNet, arXiv 1911.11929)."""

    def __init__(self, inputs: int, outputs: int, depth: int, shortcut: bool = True) -> None:
        super().__init__()
        half = outputs // 2
        self.main, self.round = _unit(inputs, half), _unit(inputs, half)
        self.bottlenecks = nn.Sequential(*(_Bottleneck(half, shortcut) for _ in range(depth)))
        self.merge = _unit(outputs, outputs)

    def forward(self, features: Tensor) -> Tensor:
        merged: Tensor = self.merge(torch.cat((self.bottlenecks(self.main(features)), self.round(features)), 1))
        return merged


class _SpatialPyramid(nn.Module):
    """Max pooling at three sizes side by side (SPP, arXiv 1406.4729)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduce, self.merge = _unit(width, width // 2), _unit(2 * width, width)

    def forward(self, features: Tensor) -> Tensor:
        reduced = self.reduce(features)
        pools = [functional.max_pool2d(reduced, k, 1, k // 2) for k in (5, 9, 13)]
        merged: Tensor = self.merge(torch.cat((reduced, *pools), 1))
        return merged


class _Backbone(nn.Module):
    """Convolutions are created in the order in which the released file lists them."""

    def __init__(self) -> None:
        super().__init__()
        # Space-to-depth and a 3x3 convolution are one 6x6 convolution of stride 2.
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 6, 2, 2), nn.SiLU())
        self.dark2 = nn.Sequential(_separable(16, 32, 2), _CrossStage(32, 32, 1))
        self.dark3 = nn.Sequential(_separable(32, 64, 2), _CrossStage(64, 64, 3))
        self.dark4 = nn.Sequential(_separable(64, 128, 2), _CrossStage(128, 128, 3))
        self.dark5 = nn.Sequential(_separable(128, 256, 2), _SpatialPyramid(256), _CrossStage(256, 256, 1, False))
        self.lateral = _unit(256, 128)
        self.fuse16 = _CrossStage(256, 128, 1, False)
        self.reduce = _unit(128, 64)
        self.fuse8 = _CrossStage(128, 64, 1, False)

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        fine = self.dark2(self.stem(images))  # (B, 32, H/4, W/4)
        at8 = self.dark3(fine)  # (B, 64, H/8, W/8)
        at16 = self.dark4(at8)  # (B, 128, H/16, W/16)
        coarse = self.lateral(self.dark5(at16))  # (B, 128, H/32, W/32)
        fused16 = self.fuse16(torch.cat((_doubled(coarse), at16), 1))  # (B, 128, H/16, W/16)
        fused8 = self.fuse8(torch.cat((_doubled(self.reduce(fused16)), at8), 1))  # (B, 64, H/8, W/8)
        return {4: fine, 8: fused8, 16: fused16, 32: coarse}


def _doubled(features: Tensor) -> Tensor:
    return functional.interpolate(features, scale_factor=2.0, mode="nearest")


class YoloxTrunk(nn.Module):
    """Maps at stride 4 (early features) and at 8, 16 and 32 (features that the top-down path has fused already)."""

    def __init__(self, spec: TrunkSpec) -> None:
        super().__init__()
        if any(s not in CHANNELS for s in spec.strides):
            raise InvalidValueError("strides", f"among {sorted(CHANNELS)}", spec.strides)
        self.spec = spec
        self.backbone = _Backbone()
        self.channels = tuple(CHANNELS[s] for s in spec.strides)
        self.normalize = Normalize(spec.mean, spec.std)
        use_fast_depthwise(self.backbone)
        for stage in STAGES[: spec.frozen_stages]:
            self.backbone.get_submodule(stage).requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) BGR 0..255, sides multiples of 32 -> one map a stride, finest first."""
        found = self.backbone(self.normalize(images))
        return [found[s] for s in self.spec.strides]


def load_yolox(trunk: YoloxTrunk, weights: str) -> None:
    """Fill the trunk from the released `yolox_nano.onnx`; `none` leaves it untrained.

    Raises:
        UnusableInputError: no such file, or another network's.
    """
    if weights == "none":
        return
    if not Path(weights).is_file():
        raise UnusableInputError(f"weights must be none or the file yolox_nano.onnx for {BACKBONE}, got {weights!r}")
    pairs = _convolutions(Path(weights))
    ours = [m for m in trunk.backbone.modules() if isinstance(m, nn.Conv2d)]
    if len(pairs) < len(ours):
        raise UnusableInputError(f"weights must be YOLOX-nano's, got a file with {len(pairs)} convolutions")
    with torch.no_grad():
        for index, (convolution, (weight, bias)) in enumerate(zip(ours, pairs, strict=False)):
            # Weights for pixels of 0..255 are so small that one step of AdamW would wipe them out.
            kernel = 255 * _unfold_focus(weight) if index == 0 and weight.shape[1] == 12 else weight
            if kernel.shape != convolution.weight.shape or convolution.bias is None:
                raise UnusableInputError(
                    f"weights must be YOLOX-nano's, got convolution {index} of shape {tuple(kernel.shape)}"
                )
            convolution.weight.copy_(kernel)
            convolution.bias.copy_(bias)


def _convolutions(path: Path) -> list[tuple[Tensor, Tensor]]:
    """Weight and bias of every convolution of an ONNX file, in the order of its nodes."""
    import onnx

    try:
        graph = onnx.load(path).graph
    except Exception as error:  # protobuf and onnx raise several kinds
        raise UnusableInputError(f"weights must be an ONNX file, got {path.name}: {error}") from None
    stored = {t.name: t for t in graph.initializer}
    nodes = [node for node in graph.node if node.op_type == "Conv" and len(node.input) == 3]
    return [
        tuple(torch.from_numpy(np.array(onnx.numpy_helper.to_array(stored[name]))) for name in node.input[1:3])  # type: ignore[misc]
        for node in nodes
    ]


def _unfold_focus(weight: Tensor) -> Tensor:
    """(O, 12, 3, 3) over 2x2 patches of BGR -> (O, 3, 6, 6) over RGB pixels.

    The patches' order is top left, bottom left, top right, bottom right.
    """
    outputs = weight.shape[0]
    patches = weight.reshape(outputs, 2, 2, 3, 3, 3)  # (O, column, row, BGR, 3, 3)
    spread = patches.permute(0, 3, 4, 2, 5, 1)  # (O, BGR, 3, row, 3, column)
    return spread.reshape(outputs, 3, 6, 6).flip(1)
