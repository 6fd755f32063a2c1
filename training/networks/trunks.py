"""Which trunk stands behind a name, and where its first weights come from."""

from dataclasses import dataclass

from torch import nn

from training.networks import nanodet, yolox
from training.networks.heads import OWN_HEADS
from training.networks.nanodet import NanodetTrunk
from training.networks.nanodet_head import load_nanodet
from training.networks.trunk import RGB, Trunk, TrunkSpec, load_imagenet, normalization_of
from training.networks.yolox import YoloxTrunk
from training.networks.yolox_weights import load_yolox

AnyTrunk = Trunk | YoloxTrunk | NanodetTrunk


@dataclass(frozen=True, slots=True)
class TrunkRecipe:
    """What a backbone and its weights ask of a network that is built on them."""

    mean: RGB
    std: RGB
    coarsest: int  # stride after which a student cuts the trunk
    frozen_stages: int  # stages that keep their weights unless told otherwise
    head: str = "dense"  # as in StudentSpec


def recipe_of(backbone: str, weights: str) -> TrunkRecipe:
    """Defaults of a trunk; stages without pre-trained weights must learn.

    Raises:
        InvalidValueError: neither a detector's (OWN_HEADS) nor a timm model.
    """
    frozen = 0 if weights == "none" else 2
    for module in (yolox, nanodet):
        if backbone == module.BACKBONE:
            return TrunkRecipe(module.MEAN, module.STD, 32, frozen, OWN_HEADS[backbone])
    mean, std = normalization_of(backbone, weights)
    return TrunkRecipe(mean, std, 16, frozen)


def make_trunk(spec: TrunkSpec) -> AnyTrunk:
    """An untrained trunk: a detector's, or any timm backbone with feature maps."""
    kinds: dict[str, type[YoloxTrunk | NanodetTrunk]] = {yolox.BACKBONE: YoloxTrunk, nanodet.BACKBONE: NanodetTrunk}
    return kinds.get(spec.backbone, Trunk)(spec)


def load_weights(network: nn.Module, weights: str) -> None:
    """Pre-trained weights for a network's trunk, and for a head that comes with it (load_yolox, load_nanodet).

    Raises:
        UnusableInputError: they cannot be found, or do not fit.
    """
    trunk, head = network.get_submodule("trunk"), getattr(network, "head", None)
    if isinstance(trunk, YoloxTrunk):
        load_yolox(trunk, head, weights)
    elif isinstance(trunk, NanodetTrunk):
        load_nanodet(trunk, head, weights)
    else:
        assert isinstance(trunk, Trunk)
        load_imagenet(trunk, weights)
