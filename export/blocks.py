"""Channels in whole blocks, for the time it saves: ONNX Runtime's fast convolutions work on blocks of channels.

A depthwise convolution whose channels fill no whole blocks runs several times slower, and everything around it is
copied from one layout to the other and back. So zeros are added to such channels, from the convolution that makes them
to those that mix them again, which read the zeros with weights of zero: the graph says the same as before.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from export.readers import readers_of

BLOCK = 16  # channels: AVX-512's; that of AVX2 and NEON, 8 or 4, divides it
MOST_ADDED = 1 / 8  # of the channels; more would cost more than the blocks save
_BY_ITSELF = frozenset(("Relu", "LeakyRelu", "HardSwish", "MaxPool", "AveragePool"))  # each channel


def fill_blocks(model: onnx.ModelProto) -> int:
    """Pad channels to whole blocks, in place, where that pays and changes nothing; returns how many were added."""
    graph = _Graph(model)
    padded = 0
    for node in list(model.graph.node):
        width = graph.width_of(node)
        added = -width % BLOCK
        if not 0 < added <= MOST_ADDED * width:
            continue
        passed = graph.passed_by(node)
        if passed is None or not any(map(graph.is_depthwise, passed.by_themselves)):
            continue
        graph.pad(node, rows=added)
        for reader in filter(graph.is_depthwise, passed.by_themselves):
            graph.pad(reader, rows=added)
        for reader in passed.mixing:
            graph.pad(reader, columns=added)
        padded += added
    return padded


@dataclass(frozen=True, slots=True)
class _Passed:
    """Nodes that the channels of a convolution come to."""

    by_themselves: list[onnx.NodeProto]  # each channel, in the order in which they run
    mixing: list[onnx.NodeProto]  # convolutions of all channels


class _Graph:
    """The nodes by what they read, and the weights by their names."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self.outputs = {value.name for value in model.graph.output}
        self.readers = readers_of(model.graph)

    def width_of(self, node: onnx.NodeProto) -> int:
        """Channels that a convolution of all channels gives; 0 for any other node."""
        return self._shape(node)[0] if self._is_conv(node) and _groups(node) == 1 else 0

    def is_depthwise(self, node: onnx.NodeProto) -> bool:
        """Whether it is a convolution of each channel by itself, and gives as many."""
        return self._is_conv(node) and 1 < _groups(node) == self._shape(node)[0]

    def passed_by(self, node: onnx.NodeProto) -> _Passed | None:
        """Where its channels go until they are mixed; None where anything else needs them as they are."""
        passed = _Passed([], [])
        names = [node.output[0]]
        for name in names:  # which grows
            if name in self.outputs:
                return None
            for reader in self.readers.get(name, []):
                if self.width_of(reader):
                    passed.mixing.append(reader)
                elif reader.op_type in _BY_ITSELF or self.is_depthwise(reader):
                    passed.by_themselves.append(reader)
                    names.extend(reader.output)
                else:
                    return None
        return passed

    def pad(self, node: onnx.NodeProto, *, rows: int = 0, columns: int = 0) -> None:
        """Add outputs or inputs whose weights and biases are zero; a depthwise one has as many groups as outputs."""
        if self.is_depthwise(node):
            next(a for a in node.attribute if a.name == "group").i += rows
        _pad(self.weights[node.input[1]], ((0, rows), (0, columns), (0, 0), (0, 0)))
        if rows and len(node.input) > 2:
            _pad(self.weights[node.input[2]], ((0, rows),))

    def _is_conv(self, node: onnx.NodeProto) -> bool:
        """With two sides, and weights of its own."""
        own = (len(self.readers[name]) == 1 and name in self.weights for name in node.input[1:])
        return node.op_type == "Conv" and all(own) and len(self._shape(node)) == 4

    def _shape(self, node: onnx.NodeProto) -> list[int]:
        return list(self.weights[node.input[1]].dims)


def _groups(node: onnx.NodeProto) -> int:
    return next((a.i for a in node.attribute if a.name == "group"), 1)


def _pad(tensor: onnx.TensorProto, widths: tuple[tuple[int, int], ...]) -> None:
    padded: npt.NDArray[np.generic] = np.pad(numpy_helper.to_array(tensor), widths)
    tensor.CopyFrom(numpy_helper.from_array(padded, tensor.name))
