"""Heads that come with a released detector: they know people from COCO, where a dense one starts untrained."""

from edge.errors import InvalidValueError
from training.networks import nanodet, yolox
from training.networks.levels import STRIDE
from training.networks.nanodet_head import NanodetHead
from training.networks.yolox_head import YoloxHead

OWN_HEADS = {yolox.BACKBONE: "yolox", nanodet.BACKBONE: "nanodet"}  # backbone -> the head released with it
OwnHead = YoloxHead | NanodetHead


def require_head(head: str, backbone: str, stride: int) -> None:
    """Raises InvalidValueError unless it is dense or the backbone's own, which predicts at stride 4."""
    named = {own: name for name, own in OWN_HEADS.items()}
    if head != "dense" and head not in named:
        raise InvalidValueError("head", f"dense, {' or '.join(named)}", head)
    if head != "dense" and (named[head] != backbone or stride != STRIDE):
        raise InvalidValueError("head", f"dense unless {named[head]} is used at stride {STRIDE}", head)


def own_head(head: str, fine_channels: int, activation: str, width_multiplier: float = 1.0) -> OwnHead:
    """An untrained one, by its name in OWN_HEADS; the width is a choice of YOLOX's alone."""
    if head == "nanodet":
        return NanodetHead(fine_channels, activation)
    return YoloxHead(fine_channels, activation, width_multiplier)
