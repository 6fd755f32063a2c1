"""Reads an ONNX file's structure from its bytes, so that a hostile one is refused before ONNX Runtime sees it.

ONNX Runtime folds constants while it loads: a file of 334 bytes can ask for gigabytes, and one can name other files as
the place of its tensors. So the bytes are walked first: what a model of ours never has is refused, and the metadata
are read on the way. Only what is judged is decoded; weights are skipped over.

What a network needs when it runs is bounded by ONNX Runtime's arena, see network.py.

Fields that are missing in onnx_proto.py are refused, wherever they stand.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from edge.contract import GRAPH_CONSTANTS
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
    schema,
)
from edge.protobuf import (
    Content,
    MalformedError,
    Message,
    Schema,
    bytes_of,
    count_numbers,
    fields,
    message_of,
    number_of,
    numbers_of,
    text_of,
)

MAX_FILE_BYTES = 200_000_000
MAX_NODES = 5_000
MAX_METADATA = 1_000_000  # letters of all together; ours have 13,000
MAX_ELEMENTS = 50_000_000  # of one tensor
MAX_ATTRIBUTE = 1_000  # strides, axes, groups
MAX_PAD = 32  # at one side of a layer's input
MAX_NUMBERS = 64  # of a list that is looked at: longer constants are no shapes

_OTHER_FORMAT = b"ORTM"  # at the fifth byte: ONNX Runtime would read another model than the one that is walked

_MODEL, _ENTRY, _GRAPH, _NODE = map(schema, (ModelProto, StringStringEntryProto, GraphProto, NodeProto))
_ATTRIBUTE, _TENSOR = map(schema, (AttributeProto, TensorProto))
_TO_DIMENSIONS = (
    (schema(ValueInfoProto), ValueInfoProto.TYPE),
    (schema(TypeProto), TypeProto.TENSOR_TYPE),
    (schema(TypeProtoTensor), TypeProtoTensor.SHAPE),
    (schema(TensorShapeProto), TensorShapeProto.DIM),
)
_DIMENSION = schema(TensorShapeProtoDimension)
_A, _T = AttributeProto, TensorProto
_VALUES = frozenset({_A.F, _A.I, _A.S, _A.T, _A.FLOATS, _A.INTS, _A.STRINGS})
_NESTED = frozenset({_A.G, _A.TENSORS, _A.GRAPHS, _A.SPARSE_TENSOR, _A.SPARSE_TENSORS})
_DATA = frozenset({_T.FLOAT_DATA, _T.INT32_DATA, _T.INT64_DATA, _T.RAW_DATA, _T.DOUBLE_DATA, _T.UINT64_DATA})


@dataclass(frozen=True, slots=True)
class _DataType:
    """How numbers of one TensorProto.DataType are stored."""

    item_bytes: int  # in raw_data
    listed_in: int  # the field that holds them elsewhere
    letter: str = ""  # struct's; none for formats that it does not know


_DATA_TYPES = {
    1: _DataType(4, _T.FLOAT_DATA, "f"),
    2: _DataType(1, _T.INT32_DATA, "B"),
    3: _DataType(1, _T.INT32_DATA, "b"),
    4: _DataType(2, _T.INT32_DATA, "H"),
    5: _DataType(2, _T.INT32_DATA, "h"),
    6: _DataType(4, _T.INT32_DATA, "i"),
    7: _DataType(8, _T.INT64_DATA, "q"),
    9: _DataType(1, _T.INT32_DATA),  # bool
    10: _DataType(2, _T.INT32_DATA, "e"),  # float16
    11: _DataType(8, _T.DOUBLE_DATA, "d"),
    12: _DataType(4, _T.UINT64_DATA, "I"),
    13: _DataType(8, _T.UINT64_DATA, "Q"),
    16: _DataType(2, _T.INT32_DATA),  # bfloat16
}
_LISTS_OF_WHOLE_NUMBERS = frozenset({_T.INT32_DATA, _T.INT64_DATA, _T.UINT64_DATA})
_LISTED_AS_THEY_ARE = frozenset({6, 7})  # int32 and int64; the lists of other types hold bit patterns


@dataclass(frozen=True, slots=True)
class ModelOutline:
    """What the bytes say, before anything is computed."""

    metadata: dict[str, str]
    nodes: int
    operators: frozenset[str]
    constants: dict[str, float]  # of the contract's GRAPH_CONSTANTS, those that the graph holds


def read_outline(content: bytes, file: str) -> ModelOutline:
    """Walk the bytes of the model `file`.

    Raises:
        ModelError: no ONNX file, or one that holds what no model of ours does; the text says what.
    """
    try:
        if content[4:8] == _OTHER_FORMAT:
            raise MalformedError("the mark of ONNX Runtime's own format")
        if len(content) > MAX_FILE_BYTES:
            raise RefusedError(f"at most {MAX_FILE_BYTES // 1_000_000} MB large", f"{len(content) // 1_000_000} MB")
        return _model(Message.of(content))
    except RefusedError as error:
        raise ModelError(f"{file} {error}") from None
    except MalformedError as error:
        raise ModelError(f"{file} must be an ONNX model of kestrel-export, got bytes with {error}") from None


def _model(message: Message) -> ModelOutline:
    metadata: dict[str, str] = {}
    graph: Graph | None = None
    letters = 0
    for field, content in fields(message, _MODEL):
        if field == ModelProto.GRAPH:
            graph = _graph(message_of(content))
        elif field == ModelProto.METADATA_PROPS:
            key, text = _entry(message_of(content))
            if key in metadata:
                raise MalformedError(f"the metadata {key!r} twice")
            metadata[key] = text
            letters += len(key) + len(text)
            if letters > MAX_METADATA:
                raise MalformedError(f"metadata of more than {MAX_METADATA} letters")
        elif field in (ModelProto.TRAINING_INFO, ModelProto.FUNCTIONS):
            raise RefusedError("without functions or training steps of its own", "some")
    if graph is None:
        raise MalformedError("no graph")
    check_growth(graph)
    constants = {c.name: c.numbers[0] for c in graph.constants if c.name in GRAPH_CONSTANTS and c.numbers}
    return ModelOutline(metadata, len(graph.nodes), frozenset(node.operator for node in graph.nodes), constants)


def _entry(message: Message) -> tuple[str, str]:
    texts = {field: text_of(content, MAX_METADATA) for field, content in fields(message, _ENTRY)}
    return texts.get(StringStringEntryProto.KEY, ""), texts.get(StringStringEntryProto.VALUE, "")


def _graph(message: Message) -> Graph:
    nodes: list[Node] = []
    constants: dict[str, Constant] = {}
    for field, content in fields(message, _GRAPH):
        if field == GraphProto.NODE:
            nodes.append(_node(message_of(content)))
            if len(nodes) > MAX_NODES:
                raise RefusedError(f"of at most {MAX_NODES} nodes", "more")
        elif field == GraphProto.INITIALIZER:
            constant = _tensor(message_of(content))
            if constant.name in constants:
                raise MalformedError(f"the constant {constant.name!r} twice")
            constants[constant.name] = constant
        elif field in (GraphProto.INPUT, GraphProto.OUTPUT, GraphProto.VALUE_INFO):
            _check_sides(message_of(content))
        elif field == GraphProto.SPARSE_INITIALIZER:
            raise RefusedError("without sparse tensors", "some")
    return Graph(tuple(nodes), tuple(constants.values()))


def _check_sides(message: Message) -> None:
    """A declared shape, from which ONNX Runtime would compute others, must not be huge."""
    known = 1
    for side in _nested(message, _TO_DIMENSIONS):
        for field, content in fields(side, _DIMENSION):
            known *= max(1, number_of(content)) if field == TensorShapeProtoDimension.DIM_VALUE else 1
    if known > MAX_ELEMENTS:
        raise RefusedError(f"made of tensors of at most {MAX_ELEMENTS} numbers", "a larger one declared")


def _nested(message: Message, path: tuple[tuple[Schema, int], ...]) -> Iterator[Message]:
    """The messages at the end of a path of schemas and fields."""
    schema, wanted = path[0]
    for field, content in fields(message, schema):
        if field == wanted and len(path) == 1:
            yield message_of(content)
        elif field == wanted:
            yield from _nested(message_of(content), path[1:])


def _node(message: Message) -> Node:
    operator, domain = "", ""
    inputs: list[str] = []
    outputs: list[str] = []
    attributes: list[Constant] = []
    for field, content in fields(message, _NODE):
        if field == NodeProto.INPUT:
            inputs.append(text_of(content))
        elif field == NodeProto.OUTPUT:
            outputs.append(text_of(content))
        elif field == NodeProto.OP_TYPE:
            operator = text_of(content)
        elif field == NodeProto.ATTRIBUTE:
            attributes.append(_attribute(message_of(content)))
        elif field == NodeProto.DOMAIN:
            domain = text_of(content)
    if operator not in OPERATORS or domain not in DOMAINS:
        raise RefusedError("made of operators that kestrel-export writes", f"{domain or 'onnx'}.{operator}")
    if operator == "Constant":
        if len(attributes) != 1:
            raise RefusedError("made of constants of one value", f"{len(attributes)} values")
        if attributes[0].name.startswith("value_string"):
            raise RefusedError("without strings", "a constant of them")
        return Node(operator, (), tuple(outputs), attributes[0])
    for attribute in attributes:
        _check_attribute(attribute)
        if operator == "Cast" and attribute.name == "to" and not _DATA_TYPES.keys() >= set(attribute.numbers or ()):
            raise RefusedError("made of tensors of numbers", f"Cast to type {attribute.numbers}")
    return Node(operator, tuple(inputs), tuple(outputs), sides=_sides_told(attributes))


def _sides_told(attributes: list[Constant]) -> int:
    """By an operator Shape: from `start` up to `end`, or all where either is left out or counts from the last."""
    numbers = {attribute.name: attribute.numbers or () for attribute in attributes}
    told = (*numbers.get("start", ()), *numbers.get("end", ()))
    if len(attributes) == len(told) == 2 and 0 <= told[0] < told[1] <= MAX_SIDES:
        return int(told[1] - told[0])
    return MAX_SIDES


def _check_attribute(attribute: Constant) -> None:
    most = MAX_PAD if attribute.name == "pads" else MAX_ATTRIBUTE
    if not max(map(abs, attribute.numbers or ()), default=0) <= most or attribute.elements > MAX_NUMBERS:
        raise RefusedError(f"made of nodes with at most {MAX_NUMBERS} attributes up to {most}", attribute.name)


def _attribute(message: Message) -> Constant:
    """An attribute: its tensor, or its numbers as one; text holds nothing that could grow."""
    name = ""
    numbers: list[float] = []
    tensor: Constant | None = None
    kinds: set[int] = set()
    for field, content in fields(message, _ATTRIBUTE):
        if field in _VALUES:
            kinds.add(field)
        if field == _A.NAME:
            name = text_of(content)
        elif field == _A.T:
            tensor = _tensor(message_of(content))
        elif field in (_A.F, _A.FLOATS):
            numbers.extend(_unpacked(bytes_of(content)[: 4 * (MAX_NUMBERS + 1)], "f"))
        elif field in (_A.I, _A.INTS):
            numbers.extend(numbers_of(content, MAX_NUMBERS))
        elif field in _NESTED:
            raise RefusedError("without graphs, sparse tensors or lists of tensors inside its nodes", "one")
    if len(numbers) > MAX_NUMBERS:
        raise RefusedError(f"made of nodes with attributes of at most {MAX_NUMBERS} numbers", f"more in {name!r}")
    if len(kinds) > 1:
        raise RefusedError("made of attributes of one kind", f"{name!r} with several values")
    return tensor or Constant(name, len(numbers), tuple(numbers))


def _tensor(message: Message) -> Constant:
    name, data_type = "", 0
    sides: list[int] = []
    data: dict[int, list[Content]] = {}
    for field, content in fields(message, _TENSOR):
        if field == _T.DIMS:
            sides.extend(numbers_of(content, MAX_SIDES))
        elif field == _T.DATA_TYPE:
            data_type = number_of(content)
        elif field == _T.NAME:
            name = text_of(content)
        elif field in _DATA:
            data.setdefault(field, []).append(content)
        elif field == _T.EXTERNAL_DATA or (field == _T.DATA_LOCATION and content != 0):
            raise RefusedError("complete in itself", f"the tensor {name!r} in another file")
    stored = _DATA_TYPES.get(data_type)
    elements = math.prod(sides[: MAX_SIDES + 1])
    if stored is None or len(sides) > MAX_SIDES or min(sides, default=0) < 0 or elements > MAX_ELEMENTS:
        raise RefusedError(f"made of tensors of at most {MAX_ELEMENTS} numbers", f"type {data_type}, shape {sides[:9]}")
    if not data and not elements:
        return Constant(name, 0, ())
    if len(data) != 1 or data.keys() - {_T.RAW_DATA, stored.listed_in}:
        raise RefusedError("made of tensors that are stored once", f"{name!r} in fields {sorted(data)}")
    ((field, parts),) = data.items()
    listed = field in _LISTS_OF_WHOLE_NUMBERS
    found = sum(map(count_numbers, parts)) if listed else sum(map(len, map(bytes_of, parts))) / stored.item_bytes
    if found != elements:
        raise RefusedError("made of tensors as large as their shapes say", f"{found:g} numbers for {sides}")
    if elements > MAX_NUMBERS or not stored.letter or (listed and data_type not in _LISTED_AS_THEY_ARE):
        return Constant(name, elements, None)
    if listed:
        return Constant(name, elements, tuple(n for part in parts for n in numbers_of(part, MAX_NUMBERS)))
    return Constant(name, elements, _unpacked(b"".join(map(bytes_of, parts)), stored.letter))


def _unpacked(content: bytes | memoryview, letter: str) -> tuple[float, ...]:
    """Little-endian numbers."""
    return tuple(number for (number,) in struct.iter_unpack(f"<{letter}", content))
