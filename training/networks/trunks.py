"""Which trunk stands behind a name, and where its first weights come from."""

from dataclasses import dataclass

from torch import nn

from training.networks import yolox
from training.networks.trunk import RGB, Trunk, TrunkSpec, load_imagenet, normalization_of
from training.networks.yolox import YoloxTrunk
from training.networks.yolox_weights import load_yolox


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
        InvalidValueError: neither `yolox_nano` nor a timm model.
    """
    if backbone == yolox.BACKBONE:
        return TrunkRecipe(
            yolox.MEAN, yolox.STD, coarsest=32, frozen_stages=0 if weights == "none" else 2, head="yolox"
        )
    mean, std = normalization_of(backbone, weights)
    return TrunkRecipe(mean, std, coarsest=16, frozen_stages=0 if weights == "none" else 2)


def make_trunk(spec: TrunkSpec) -> Trunk | YoloxTrunk:
    """An untrained trunk: `yolox_nano`, or any timm backbone with feature maps."""
    return YoloxTrunk(spec) if spec.backbone == yolox.BACKBONE else Trunk(spec)


def load_weights(network: nn.Module, weights: str) -> None:
    """Pre-trained weights for a network's trunk, and for its head where that is YOLOX's: load_imagenet, load_yolox.

    Raises:
        UnusableInputError: they cannot be found, or do not fit.
    """
    trunk = network.get_submodule("trunk")
    if isinstance(trunk, YoloxTrunk):
        load_yolox(trunk, getattr(network, "head", None), weights)
    else:
        assert isinstance(trunk, Trunk)
        load_imagenet(trunk, weights)
