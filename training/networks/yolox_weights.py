"""Reads the released weights of YOLOX-nano (an ONNX file, Apache-2.0) into our trunk and head."""

import dataclasses

import torch
from torch import Tensor, nn

from edge.errors import InvalidValueError
from training.networks.released import Convolution, convolutions_of, fill, read_convolutions
from training.networks.yolox import BACKBONE, YoloxTrunk
from training.networks.yolox_head import YoloxHead

LAST_LAYERS = (80, 4, 1)  # channels of the released last convolutions: COCO's classes, boxes, objectness
PERSON = 0  # among COCO's classes


def load_yolox(trunk: YoloxTrunk, head: nn.Module | None, weights: str) -> None:
    """Fill the trunk, and the head if it is YOLOX's own, from `yolox_nano.onnx`; `none` leaves them untrained.

    Raises:
        UnusableInputError: no such file, or another network's.
        InvalidValueError: the trunk is not as wide as the released one.
    """
    if weights == "none":
        return
    width = trunk.spec.width_multiplier
    if width != 1:
        raise InvalidValueError("width_multiplier", "1 with the released weights", width, "narrow a student by --from")
    released = read_convolutions(weights, BACKBONE)
    hidden = [layer for layer in released if layer.weight.shape[0] not in LAST_LAYERS]
    ours = convolutions_of(trunk.backbone)
    if isinstance(head, YoloxHead):
        ours += convolutions_of(head.bottom_up)
        for level in head.levels:
            ours += [c for part in ("stem", "classes", "boxes") for c in convolutions_of(level.get_submodule(part))]
    fill(ours, [*map(_as_we_read_pixels, hidden[:1]), *hidden[1:]], BACKBONE)
    if isinstance(head, YoloxHead):
        _start_from_person(head, [layer for layer in released if layer.weight.shape[0] in LAST_LAYERS])


def _as_we_read_pixels(stem: Convolution) -> Convolution:
    """Over RGB of 0..1: weights for 0..255 are so small that one step of AdamW would wipe them out."""
    if stem.weight.shape[1] != 12:
        return stem
    return dataclasses.replace(stem, weight=255 * _unfold_focus(stem.weight))


@torch.no_grad()
def _start_from_person(head: YoloxHead, last: list[Convolution]) -> None:
    """Each level's logit starts as the sum of its person class and its objectness; the boxes start anew."""
    classes, objects = last[0::3], last[2::3]  # the order of a level is classes, boxes, objectness
    for level, class_layer, object_layer in zip(head.levels, classes, objects, strict=True):
        for ours, layer, row in ((level.classify, class_layer, PERSON), (level.objects, object_layer, 0)):
            ours.weight.copy_(layer.weight[row].expand_as(ours.weight))  # type: ignore[union-attr, operator, arg-type]
            ours.bias.fill_(layer.bias[row].item())  # type: ignore[union-attr, operator]


def _unfold_focus(weight: Tensor) -> Tensor:
    """(O, 12, 3, 3) over 2x2 patches of BGR -> (O, 3, 6, 6) over RGB pixels.

    The patches' order is top left, bottom left, top right, bottom right.
    """
    outputs = weight.shape[0]
    patches = weight.reshape(outputs, 2, 2, 3, 3, 3)  # (O, column, row, BGR, 3, 3)
    spread = patches.permute(0, 3, 4, 2, 5, 1)  # (O, BGR, 3, row, 3, column)
    return spread.reshape(outputs, 3, 6, 6).flip(1)
