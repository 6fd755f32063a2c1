"""Noise inside a network while it learns: dropout before the heads, stochastic depth in residual blocks.

Noisy Student (Xie et al., arXiv 1911.04252) wants both beside augmentation: the teacher labels undisturbed, the
student must agree while it is disturbed. Stochastic depth: Huang et al., arXiv 1603.09382, with its linear rule, by
which deeper blocks are left out more often. Channels are dropped whole (Tompson et al., arXiv 1411.4280), since
neighbouring cells of a map say the same.

Both are hooks: the weights, their names and what is exported stay as they are, and in evaluation mode nothing happens.
"""

from dataclasses import dataclass
from typing import Any

from timm.layers.drop import drop_path
from torch import Tensor, nn
from torch.nn import functional

from edge.errors import InvalidValueError
from training.shared_maps import heads_of

PLACES = ("drop_path", "drop_path1", "drop_path2")  # where timm's residual blocks put it


@dataclass(frozen=True, slots=True)
class NoiseSettings:
    """Rates in 0..1; 0 leaves one out."""

    dropout: float = 0.0  # share of the channels that a head reads
    stochastic_depth: float = 0.0  # chance that a sample goes round the last residual block; less for those before

    def __post_init__(self) -> None:
        for name in ("dropout", "stochastic_depth"):
            if not 0 <= getattr(self, name) < 1:
                raise InvalidValueError(name, "at least 0 and below 1", getattr(self, name))


def add_noise(network: nn.Module, settings: NoiseSettings) -> None:
    """Disturb a `Student` or `Teacher` while it is in training mode; changed in place.

    Raises:
        InvalidValueError: stochastic depth for a network without a residual block that learns.
    """
    if settings.dropout:
        for head in heads_of(network):
            head.register_forward_pre_hook(_dropout(settings.dropout))
    if settings.stochastic_depth:
        learning = [m for m in network.modules() if any(p.requires_grad for p in m.parameters())]
        blocks = [branches for branches in map(_residual_branches, learning) if branches]
        if not blocks:
            rule = "0 for a network without residual blocks, of those that we know, that learn"
            raise InvalidValueError("stochastic_depth", rule, settings.stochastic_depth)
        for place, branches in enumerate(blocks, start=1):
            rate = settings.stochastic_depth * place / len(blocks)
            for branch in branches:
                branch.register_forward_hook(_depth(rate))


def _residual_branches(module: nn.Module) -> list[nn.Module]:
    """What ends the parts that a block adds to its input: our blocks are one sequence, timm's have places for noise.

    Empty for what is no such block. timm's ResNet leaves its place empty until somebody asks for noise.
    """
    if getattr(module, "shortcut", None) is True:
        return [module.get_submodule("layers")]
    if not getattr(module, "has_skip", True):
        return []
    places = [name for name in PLACES if hasattr(module, name)]
    for name in places:
        if getattr(module, name) is None:
            setattr(module, name, nn.Identity())
    return [module.get_submodule(name) for name in places]


def _dropout(rate: float) -> Any:
    def disturb(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        if not module.training:
            return args
        return (_dropped(args[0], rate), *args[1:])

    return disturb


def _dropped(features: Any, rate: float) -> Any:
    """One map (B, C, h, w), or several."""
    if isinstance(features, Tensor):
        return functional.dropout2d(features, rate)
    return [functional.dropout2d(one, rate) for one in features]


def _depth(rate: float) -> Any:
    def disturb(module: nn.Module, _: Any, output: Tensor) -> Tensor:
        dropped: Tensor = drop_path(output, rate, module.training)
        return dropped

    return disturb
