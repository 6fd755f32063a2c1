"""Reads an ONNX file's structure from its bytes, so that a hostile one is refused before ONNX Runtime sees it.

ONNX Runtime folds constants while it loads: a file of 334 bytes can ask for gigabytes, and one can name other files as
the place of its tensors. So the bytes are walked first: what a model of ours never has is refused, and the metadata
are read on the way. Only what is judged is decoded; weights are skipped over.

What is not caught: a network that is merely large needs much memory when it runs.

Wire format: https://protobuf.dev/programming-guides/encoding; field numbers: `edge.onnx_proto`. Standard library
only.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from edge.errors import ModelError
from edge.onnx_growth import DOMAINS, MAX_SIDES, OPERATORS, Constant, Graph, Node, RefusedError, check_growth
from edge.onnx_proto import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    StringStringEntryProto,
    TensorProto,
    TensorShapeProto,
    TensorShapeProtoDimension,
    TypeProto,
    TypeProtoTensor,
    ValueInfoProto,
)

MAX_FILE_BYTES = 200_000_000
MAX_NODES = 5_000
MAX_ELEMENTS = 50_000_000  # of one tensor
MAX_ATTRIBUTE = 1_000  # padding, strides, axes
MAX_SHAPE_NUMBERS = 64  # longer constants are no shapes

# TensorProto.DataType -> bytes of an element and, where such numbers may give a shape, struct's letter.
_ITEM_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
_LETTERS = {1: "f", 2: "B", 3: "b", 4: "H", 5: "h", 6: "i", 7: "q", 11: "d", 12: "I", 13: "Q"}
_HERE = 0  # TensorProto.DataLocation's DEFAULT
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

_TO_THE_SIDES = (ValueInfoProto.TYPE, TypeProto.TENSOR_TYPE, TypeProtoTensor.SHAPE, TensorShapeProto.DIM)
_NEVER_INSIDE = (
    AttributeProto.G,
    AttributeProto.TENSORS,
    AttributeProto.GRAPHS,
    AttributeProto.SPARSE_TENSOR,
    AttributeProto.SPARSE_TENSORS,
)
_LISTS_OF_SHAPES = (TensorProto.INT32_DATA, TensorProto.INT64_DATA)  # the others never give a shape
_LISTS = (*_LISTS_OF_SHAPES, TensorProto.FLOAT_DATA, TensorProto.DOUBLE_DATA, TensorProto.UINT64_DATA)

Content = int | memoryview


@dataclass(frozen=True, slots=True)
class ModelOutline:
    """What the bytes say, before anything is computed."""

    metadata: dict[str, str]
    nodes: int
    operators: frozenset[str]


class _MalformedError(Exception):
    """The bytes are no protobuf."""


def read_outline(content: bytes, file: str) -> ModelOutline:
    """Walk the bytes of the model `file`.

    Raises:
        ModelError: no ONNX file, or one that holds what no model of ours does; the text says what.
    """
    try:
        if len(content) > MAX_FILE_BYTES:
            raise RefusedError(f"at most {MAX_FILE_BYTES // 1_000_000} MB large", f"{len(content) // 1_000_000} MB")
        return _model(memoryview(content))
    except RefusedError as error:
        raise ModelError(f"{file} {error}") from None
    except _MalformedError as error:
        raise ModelError(f"{file} must be an ONNX model, got bytes that are none: {error}") from None


def _model(message: memoryview) -> ModelOutline:
    metadata: dict[str, str] = {}
    graphs: list[memoryview] = []
    for field, content in _fields(message):
        if field == ModelProto.GRAPH:
            graphs.append(_bytes(content))
        elif field == ModelProto.METADATA_PROPS:
            key, text = _entry(_bytes(content))
            if key in metadata:
                raise _MalformedError(f"metadata {key!r} twice")
            metadata[key] = text
        elif field in (ModelProto.TRAINING_INFO, ModelProto.FUNCTIONS):
            raise RefusedError("without functions or training steps of its own", "some")
    if len(graphs) != 1:  # protobuf would merge several into one that nobody has looked at
        raise _MalformedError(f"{len(graphs)} graphs instead of one")
    graph = _graph(graphs[0])
    check_growth(graph)
    return ModelOutline(metadata, len(graph.nodes), frozenset(node.operator for node in graph.nodes))


def _entry(message: memoryview) -> tuple[str, str]:
    key, value = "", ""
    for field, content in _fields(message):
        if field == StringStringEntryProto.KEY:
            key = _text(content)
        elif field == StringStringEntryProto.VALUE:
            value = _text(content)
    return key, value


def _graph(message: memoryview) -> Graph:
    nodes: list[Node] = []
    constants: dict[str, Constant] = {}
    for field, content in _fields(message):
        if field == GraphProto.NODE:
            nodes.append(_node(_bytes(content)))
            if len(nodes) > MAX_NODES:
                raise RefusedError(f"of at most {MAX_NODES} nodes", "more")
        elif field == GraphProto.INITIALIZER:
            constant = _tensor(_bytes(content))
            if constant.name in constants:
                raise _MalformedError(f"the constant {constant.name!r} twice")
            constants[constant.name] = constant
        elif field in (GraphProto.INPUT, GraphProto.OUTPUT, GraphProto.VALUE_INFO):
            _check_sides(_bytes(content))
        elif field == GraphProto.SPARSE_INITIALIZER:
            raise RefusedError("without sparse tensors", "some")
    return Graph(tuple(nodes), tuple(constants.values()))


def _check_sides(message: memoryview) -> None:
    """A declared shape, from which ONNX Runtime would compute others, must not be huge."""
    known = 1
    for side in _nested(message, _TO_THE_SIDES):
        for field, content in _fields(side):
            known *= max(1, _number(content)) if field == TensorShapeProtoDimension.DIM_VALUE else 1
    if known > MAX_ELEMENTS:
        raise RefusedError(f"made of tensors of at most {MAX_ELEMENTS} numbers", "a larger one declared")


def _nested(message: memoryview, path: tuple[int, ...]) -> Iterator[memoryview]:
    """The messages at the end of a path of fields."""
    for field, content in _fields(message):
        if field == path[0]:
            inner = _bytes(content)
            if len(path) == 1:
                yield inner
            else:
                yield from _nested(inner, path[1:])


def _node(message: memoryview) -> Node:
    operator, domain = "", ""
    inputs: list[str] = []
    outputs: list[str] = []
    attributes: list[Constant] = []
    for field, content in _fields(message):
        if field == NodeProto.INPUT:
            inputs.append(_text(content))
        elif field == NodeProto.OUTPUT:
            outputs.append(_text(content))
        elif field == NodeProto.OP_TYPE:
            operator = _text(content)
        elif field == NodeProto.ATTRIBUTE:
            attributes.append(_attribute(_bytes(content)))
        elif field == NodeProto.DOMAIN:
            domain = _text(content)
    if operator not in OPERATORS or domain not in DOMAINS:
        raise RefusedError("made of operators that kestrel-export writes", f"{domain or 'onnx'}.{operator}")
    if operator == "Constant":
        return Node(operator, (), tuple(outputs), attributes[0] if len(attributes) == 1 else None)
    for attribute in attributes:
        if max(map(abs, attribute.numbers or ()), default=0) > MAX_ATTRIBUTE:
            raise RefusedError(f"made of nodes with attributes up to {MAX_ATTRIBUTE}", attribute.name)
    return Node(operator, tuple(inputs), tuple(outputs), None)


def _attribute(message: memoryview) -> Constant:
    """An attribute: its tensor, or its integers as one; other kinds hold nothing that could grow."""
    name = ""
    numbers: list[float] = []
    tensor: Constant | None = None
    for field, content in _fields(message):
        if field == AttributeProto.NAME:
            name = _text(content)
        elif field == AttributeProto.I:
            numbers.append(_number(content))
        elif field == AttributeProto.T:
            tensor = _tensor(_bytes(content))
        elif field == AttributeProto.INTS:
            numbers.extend(_numbers(content))
        elif field in _NEVER_INSIDE:
            raise RefusedError("without graphs, sparse tensors or lists of tensors inside its nodes", "one")
    return tensor or Constant(name, len(numbers), tuple(numbers[: MAX_SHAPE_NUMBERS + 1]))


def _tensor(message: memoryview) -> Constant:
    name, kind, stored_bytes = "", 0, 0
    sides: list[int] = []
    raw: memoryview | None = None
    listed: list[int] = []
    for field, content in _fields(message):
        if field == TensorProto.DIMS:
            sides.extend(_numbers(content))
        elif field == TensorProto.DATA_TYPE:
            kind = _number(content)
        elif field == TensorProto.NAME:
            name = _text(content)
        elif field == TensorProto.RAW_DATA:
            raw = _bytes(content)
            stored_bytes += len(raw)
        elif field in _LISTS:
            stored_bytes += 1 if isinstance(content, int) else len(content)
            if field in _LISTS_OF_SHAPES and len(listed) <= MAX_SHAPE_NUMBERS:
                listed.extend(_numbers(content))
        elif field == TensorProto.EXTERNAL_DATA or (field == TensorProto.DATA_LOCATION and content != _HERE):
            raise RefusedError("complete in itself", f"the tensor {name!r} in another file")
    elements = math.prod(sides)
    if kind not in _ITEM_BYTES or len(sides) > MAX_SIDES or min(sides, default=0) < 0 or elements > MAX_ELEMENTS:
        raise RefusedError(f"made of tensors of at most {MAX_ELEMENTS} numbers", f"type {kind}, shape {sides[:9]}")
    if stored_bytes < elements or (raw is not None and len(raw) != elements * _ITEM_BYTES[kind]):
        raise RefusedError("made of tensors as large as their shapes say", f"{stored_bytes} bytes for {sides}")
    return Constant(name, elements, _few_numbers(kind, raw, listed, elements))


def _few_numbers(kind: int, raw: memoryview | None, listed: list[int], elements: int) -> tuple[float, ...] | None:
    if elements > MAX_SHAPE_NUMBERS:
        return None
    if raw is not None and kind in _LETTERS:
        return struct.unpack(f"<{elements}{_LETTERS[kind]}", raw)
    return tuple(listed) if len(listed) == elements else None


def _fields(message: memoryview) -> Iterator[tuple[int, Content]]:
    """Number and content of every field: an integer, or the bytes of text, message, list or fixed-width number."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        field, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, position = _varint(message, position)
            yield field, value
            continue
        if kind == _BYTES:
            length, position = _varint(message, position)
        elif kind in (_FIXED32, _FIXED64):
            length = 4 if kind == _FIXED32 else 8
        else:
            raise _MalformedError(f"a field of kind {kind}")
        if field == 0 or length > len(message) - position:
            raise _MalformedError("a field that is cut short")
        yield field, message[position : position + length]
        position += length


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """The unsigned number at `position`, and where the next thing begins."""
    value = 0
    for count in range(10):
        if position + count >= len(message):
            break
        byte = message[position + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, position + count + 1
    raise _MalformedError("a number that is cut short")


def _number(content: Content) -> int:
    """A signed number of 64 bits."""
    if not isinstance(content, int):
        raise _MalformedError("bytes where a number is due")
    return (content & (2**64 - 1)) - (2**64 if content & 2**63 else 0)


def _numbers(content: Content) -> list[int]:
    """One number, or a packed list; of a long list the first few, for only those are looked at."""
    if isinstance(content, int):
        return [_number(content)]
    found: list[int] = []
    position = 0
    while position < len(content) and len(found) <= MAX_SHAPE_NUMBERS:
        value, position = _varint(content, position)
        found.append(_number(value))
    return found


def _bytes(content: Content) -> memoryview:
    if isinstance(content, int):
        raise _MalformedError("a number where bytes are due")
    return content


def _text(content: Content) -> str:
    try:
        return str(_bytes(content), "utf-8")
    except UnicodeDecodeError:
        raise _MalformedError("text that is no UTF-8") from None
