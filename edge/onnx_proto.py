"""The field numbers of onnx/onnx.proto that `edge.onnx_wire` looks at, one class a message, named as there."""

from enum import IntEnum


class ModelProto(IntEnum):
    """The file."""

    GRAPH = 7
    METADATA_PROPS = 14
    TRAINING_INFO = 20
    FUNCTIONS = 25


class StringStringEntryProto(IntEnum):
    """One of the metadata."""

    KEY = 1
    VALUE = 2


class GraphProto(IntEnum):
    """Nodes, constants, and the shapes that are declared."""

    NODE = 1
    INITIALIZER = 5
    INPUT = 11
    OUTPUT = 12
    VALUE_INFO = 13
    SPARSE_INITIALIZER = 15


class NodeProto(IntEnum):
    """One operator at work."""

    INPUT = 1
    OUTPUT = 2
    OP_TYPE = 4
    ATTRIBUTE = 5
    DOMAIN = 7


class AttributeProto(IntEnum):
    """A constant of a node."""

    NAME = 1
    I = 3  # noqa: E741  # its name
    T = 5
    G = 6
    INTS = 8
    TENSORS = 10
    GRAPHS = 11
    SPARSE_TENSOR = 22
    SPARSE_TENSORS = 23


class TensorProto(IntEnum):
    """Numbers, in `raw_data` or in the list of their type."""

    DIMS = 1
    DATA_TYPE = 2
    FLOAT_DATA = 4
    INT32_DATA = 5
    INT64_DATA = 7
    NAME = 8
    RAW_DATA = 9
    DOUBLE_DATA = 10
    UINT64_DATA = 11
    EXTERNAL_DATA = 13
    DATA_LOCATION = 14


class ValueInfoProto(IntEnum):
    """A declared tensor."""

    TYPE = 2


class TypeProto(IntEnum):
    """Its type."""

    TENSOR_TYPE = 1


class TypeProtoTensor(IntEnum):
    """Its type where it is a tensor: TypeProto.Tensor."""

    SHAPE = 2


class TensorShapeProto(IntEnum):
    """Its shape."""

    DIM = 1


class TensorShapeProtoDimension(IntEnum):
    """One side of it: TensorShapeProto.Dimension."""

    DIM_VALUE = 1
