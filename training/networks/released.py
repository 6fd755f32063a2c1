"""Convolutions of a released detector's ONNX file, in its order, to fill a network of ours with."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from edge.errors import UnusableInputError


@dataclass(frozen=True, slots=True)
class Convolution:
    """Weight and bias of one layer; batch norm is folded into it."""

    weight: Tensor  # (O, I / groups, k, k)
    bias: Tensor  # (O,)


def read_convolutions(weights: str, backbone: str) -> list[Convolution]:
    """Every convolution of an ONNX file that has a bias, in the order of its nodes.

    Raises:
        UnusableInputError: no such file, or no ONNX.
    """
    import onnx

    path = Path(weights)
    if not path.is_file():
        raise UnusableInputError(f"weights must be none or the file {backbone}.onnx for {backbone}, got {weights!r}")
    try:
        graph = onnx.load(path).graph
    except Exception as error:  # protobuf and onnx raise several kinds
        raise UnusableInputError(f"weights must be an ONNX file, got {path.name}: {error}") from None
    stored = {t.name: t for t in graph.initializer}
    nodes = [node for node in graph.node if node.op_type == "Conv" and len(node.input) == 3]
    nodes = [node for node in nodes if {*node.input[1:]} <= stored.keys()]  # in INT8 they are computed

    def tensor(name: str) -> Tensor:
        return torch.from_numpy(np.array(onnx.numpy_helper.to_array(stored[name])))

    return [Convolution(tensor(node.input[1]), tensor(node.input[2])) for node in nodes]


def convolutions_of(network: nn.Module) -> list[nn.Conv2d]:
    """In the order in which they were created."""
    return [m for m in network.modules() if isinstance(m, nn.Conv2d)]


@torch.no_grad()
def fill(ours: Sequence[nn.Conv2d], theirs: Sequence[Convolution], backbone: str) -> None:
    """Each of `ours` from the one at its place in `theirs`, which may go on.

    Raises:
        UnusableInputError: there are too few, or one has another shape.
    """
    if len(theirs) < len(ours):
        raise UnusableInputError(f"weights must be those of {backbone}, got a file with {len(theirs)} convolutions")
    for index, (layer, released) in enumerate(zip(ours, theirs, strict=False)):
        if released.weight.shape != layer.weight.shape or layer.bias is None:
            raise UnusableInputError(
                f"weights must be those of {backbone}, got convolution {index} of shape {tuple(released.weight.shape)}"
            )
        layer.weight.copy_(released.weight)
        layer.bias.copy_(released.bias)
