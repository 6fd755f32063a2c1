"""The fields of onnx/onnx.proto that a model of ours may have, one class a message, named as there.

A member is the number of the field, `member.field` says how it is stored. Nothing is known of references, of tensors in
segments or of text, of sequences and of maps: they are refused like any other field.
"""

from enum import IntEnum
from typing import Self

from edge.protobuf import (
    DOUBLES,
    FLOAT,
    FLOATS,
    MESSAGE,
    MESSAGES,
    NUMBER,
    NUMBERS,
    TEXT,
    TEXTS,
    Field,
    Schema,
)


class _Message(IntEnum):
    field: Field

    def __new__(cls, number: int, field: Field) -> Self:
        member = int.__new__(cls, number)
        member._value_ = number
        member.field = field
        return member


def schema(message: type[_Message]) -> Schema:
    """The fields of a message, as the walker wants them."""
    return {int(member): member.field for member in message}


class ModelProto(_Message):
    """The file."""

    IR_VERSION = 1, NUMBER
    PRODUCER_NAME = 2, TEXT
    PRODUCER_VERSION = 3, TEXT
    DOMAIN = 4, TEXT
    MODEL_VERSION = 5, NUMBER
    DOC_STRING = 6, TEXT
    GRAPH = 7, MESSAGE
    OPSET_IMPORT = 8, MESSAGES
    METADATA_PROPS = 14, MESSAGES
    TRAINING_INFO = 20, MESSAGES
    FUNCTIONS = 25, MESSAGES


class StringStringEntryProto(_Message):
    """One of the metadata."""

    KEY = 1, TEXT
    VALUE = 2, TEXT


class GraphProto(_Message):
    """Nodes, constants, and the shapes that are declared."""

    NODE = 1, MESSAGES
    NAME = 2, TEXT
    INITIALIZER = 5, MESSAGES
    DOC_STRING = 10, TEXT
    INPUT = 11, MESSAGES
    OUTPUT = 12, MESSAGES
    VALUE_INFO = 13, MESSAGES
    SPARSE_INITIALIZER = 15, MESSAGES
    METADATA_PROPS = 16, MESSAGES


class NodeProto(_Message):
    """One operator at work."""

    INPUT = 1, TEXTS
    OUTPUT = 2, TEXTS
    NAME = 3, TEXT
    OP_TYPE = 4, TEXT
    ATTRIBUTE = 5, MESSAGES
    DOC_STRING = 6, TEXT
    DOMAIN = 7, TEXT
    METADATA_PROPS = 9, MESSAGES


class AttributeProto(_Message):
    """A constant of a node."""

    NAME = 1, TEXT
    F = 2, FLOAT
    I = 3, NUMBER  # noqa: E741  # its name
    S = 4, TEXT
    T = 5, MESSAGE
    G = 6, MESSAGE
    FLOATS = 7, FLOATS
    INTS = 8, NUMBERS
    STRINGS = 9, TEXTS
    TENSORS = 10, MESSAGES
    GRAPHS = 11, MESSAGES
    DOC_STRING = 13, TEXT
    TYPE = 20, NUMBER
    SPARSE_TENSOR = 22, MESSAGE
    SPARSE_TENSORS = 23, MESSAGES


class TensorProto(_Message):
    """Numbers, in `raw_data` or in the list of their type."""

    DIMS = 1, NUMBERS
    DATA_TYPE = 2, NUMBER
    FLOAT_DATA = 4, FLOATS
    INT32_DATA = 5, NUMBERS
    INT64_DATA = 7, NUMBERS
    NAME = 8, TEXT
    RAW_DATA = 9, TEXT
    DOUBLE_DATA = 10, DOUBLES
    UINT64_DATA = 11, NUMBERS
    DOC_STRING = 12, TEXT
    EXTERNAL_DATA = 13, MESSAGES
    DATA_LOCATION = 14, NUMBER


class ValueInfoProto(_Message):
    """A declared tensor."""

    NAME = 1, TEXT
    TYPE = 2, MESSAGE
    DOC_STRING = 3, TEXT
    METADATA_PROPS = 4, MESSAGES


class TypeProto(_Message):
    """Its type."""

    TENSOR_TYPE = 1, MESSAGE
    DENOTATION = 6, TEXT


class TypeProtoTensor(_Message):
    """Its type where it is a tensor: TypeProto.Tensor."""

    ELEM_TYPE = 1, NUMBER
    SHAPE = 2, MESSAGE


class TensorShapeProto(_Message):
    """Its shape."""

    DIM = 1, MESSAGES


class TensorShapeProtoDimension(_Message):
    """One side of it: TensorShapeProto.Dimension."""

    DIM_VALUE = 1, NUMBER
    DIM_PARAM = 2, TEXT
    DENOTATION = 3, TEXT
