"""Reads the released weights of YOLOX-nano (an ONNX file, Apache-2.0) into our trunk and head."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from edge.errors import InvalidValueError, UnusableInputError
from training.networks.yolox import BACKBONE, YoloxTrunk
from training.networks.yolox_head import YoloxHead

LAST_LAYERS = (80, 4, 1)  # channels of the released last convolutions: COCO's classes, boxes, objectness
PERSON = 0  # among COCO's classes


@dataclass(frozen=True, slots=True)
class _Pair:
    """Weight and bias of one convolution."""

    weight: Tensor
    bias: Tensor


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
    if not Path(weights).is_file():
        raise UnusableInputError(f"weights must be none or the file yolox_nano.onnx for {BACKBONE}, got {weights!r}")
    stored = _convolutions(Path(weights))
    hidden = [pair for pair in stored if pair.weight.shape[0] not in LAST_LAYERS]
    ours = _convolutions_of(trunk.backbone)
    if isinstance(head, YoloxHead):
        ours += _convolutions_of(head.bottom_up)
        for level in head.levels:
            ours += [c for part in ("stem", "classes", "boxes") for c in _convolutions_of(level.get_submodule(part))]
    if len(hidden) < len(ours):
        raise UnusableInputError(f"weights must be YOLOX-nano's, got a file with {len(hidden)} convolutions")
    with torch.no_grad():
        for index, (convolution, pair) in enumerate(zip(ours, hidden, strict=False)):
            _fill(convolution, pair, index)
        if isinstance(head, YoloxHead):
            _start_from_person(head, [p for p in stored if p.weight.shape[0] in LAST_LAYERS])


def _convolutions_of(network: nn.Module) -> list[nn.Conv2d]:
    return [m for m in network.modules() if isinstance(m, nn.Conv2d)]


def _fill(convolution: nn.Conv2d, pair: _Pair, index: int) -> None:
    # Weights for pixels of 0..255 are so small that one step of AdamW would wipe them out.
    first = index == 0 and pair.weight.shape[1] == 12
    kernel = 255 * _unfold_focus(pair.weight) if first else pair.weight
    if kernel.shape != convolution.weight.shape or convolution.bias is None:
        raise UnusableInputError(
            f"weights must be YOLOX-nano's, got convolution {index} of shape {tuple(kernel.shape)}"
        )
    convolution.weight.copy_(kernel)
    convolution.bias.copy_(pair.bias)


def _start_from_person(head: YoloxHead, last: list[_Pair]) -> None:
    """Each level's logit starts as the sum of its person class and its objectness; the boxes start anew."""
    classes, objects = last[0::3], last[2::3]  # the order of a level is classes, boxes, objectness
    for level, class_pair, object_pair in zip(head.levels, classes, objects, strict=True):
        for ours, pair, row in ((level.classify, class_pair, PERSON), (level.objects, object_pair, 0)):
            ours.weight.copy_(pair.weight[row].expand_as(ours.weight))  # type: ignore[union-attr, operator, arg-type]
            ours.bias.fill_(pair.bias[row].item())  # type: ignore[union-attr, operator]


def _convolutions(path: Path) -> list[_Pair]:
    """Every convolution of an ONNX file that has a bias, in the order of its nodes."""
    import onnx

    try:
        graph = onnx.load(path).graph
    except Exception as error:  # protobuf and onnx raise several kinds
        raise UnusableInputError(f"weights must be an ONNX file, got {path.name}: {error}") from None
    stored = {t.name: t for t in graph.initializer}
    nodes = [node for node in graph.node if node.op_type == "Conv" and len(node.input) == 3]

    def tensor(name: str) -> Tensor:
        return torch.from_numpy(np.array(onnx.numpy_helper.to_array(stored[name])))

    return [_Pair(tensor(node.input[1]), tensor(node.input[2])) for node in nodes]


def _unfold_focus(weight: Tensor) -> Tensor:
    """(O, 12, 3, 3) over 2x2 patches of BGR -> (O, 3, 6, 6) over RGB pixels.

    The patches' order is top left, bottom left, top right, bottom right.
    """
    outputs = weight.shape[0]
    patches = weight.reshape(outputs, 2, 2, 3, 3, 3)  # (O, column, row, BGR, 3, 3)
    spread = patches.permute(0, 3, 4, 2, 5, 1)  # (O, BGR, 3, row, 3, column)
    return spread.reshape(outputs, 3, 6, 6).flip(1)
