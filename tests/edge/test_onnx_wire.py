"""Hostile model files, made here. None of them may reach ONNX Runtime."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge import onnx_proto
from edge.errors import ModelError
from edge.network import session_options
from edge.onnx_wire import MAX_FILE_BYTES, MAX_NODES, read_outline
from edge.recognizer import Recognizer
from tests.models import METADATA, save, spot_model

INT64, FLOAT = TensorProto.INT64, TensorProto.FLOAT


def node(operator: str, inputs: list[str], outputs: list[str] | None = None, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(operator, inputs, outputs or [f"{operator}_out"], **attributes)


def model_of(*nodes: onnx.NodeProto, **constants: object) -> onnx.ModelProto:
    """The spot model with more in it."""
    model = spot_model()
    helper.set_model_props(model, METADATA.to_props())
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items())
    return model


def refusal(model: onnx.ModelProto | bytes) -> str:
    content = model if isinstance(model, bytes) else model.SerializeToString()
    with pytest.raises(ModelError) as refused:
        read_outline(content, "m.onnx")
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_an_honest_model_passes_with_its_metadata():
    outline = read_outline(model_of().SerializeToString(), "m.onnx")
    assert outline.metadata == METADATA.to_props()
    assert outline.nodes == len(spot_model().graph.node)
    assert "TopK" in outline.operators


def test_nodes_out_of_order_could_hide_what_is_computed_of_constants():
    value = numpy_helper.from_array(np.ones((1000, 1), np.float32))
    made = node("Constant", [], ["tall"], value=value)
    late = model_of(node("Add", ["tall", "tall"]), made)
    assert "in the order in which they run, got Add before its inputs" in refusal(late)
    read_outline(model_of(made, node("Add", ["tall", "tall"])).SerializeToString(), "m.onnx")


def expanded_to(sides: list[int], *, raw: bool) -> onnx.ModelProto:
    """The spot model with two numbers that are expanded; the constants as bytes, or as lists of their type."""
    model = model_of(node("Expand", ["few", "shape"]))
    for name, kind, numbers in (("few", FLOAT, np.float32([1, 2])), ("shape", INT64, np.array(sides))):
        stored = numbers.tobytes() if raw else numbers.tolist()
        model.graph.initializer.append(helper.make_tensor(name, kind, [2], stored, raw=raw))
    return model


def test_a_model_is_read_the_same_however_its_numbers_are_stored():
    listed, raw = (expanded_to([3, 2], raw=raw).SerializeToString() for raw in (False, True))
    assert listed != raw
    assert read_outline(listed, "m.onnx") == read_outline(raw, "m.onnx")
    huge = [refusal(expanded_to([10**6, 2 * 10**3], raw=raw)) for raw in (False, True)]
    assert huge[0] == huge[1]
    assert "Expand that asks for more" in huge[0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (onnx_proto.ModelProto, onnx.ModelProto),
        (onnx_proto.StringStringEntryProto, onnx.StringStringEntryProto),
        (onnx_proto.GraphProto, onnx.GraphProto),
        (onnx_proto.NodeProto, onnx.NodeProto),
        (onnx_proto.AttributeProto, onnx.AttributeProto),
        (onnx_proto.TensorProto, onnx.TensorProto),
        (onnx_proto.ValueInfoProto, onnx.ValueInfoProto),
        (onnx_proto.TypeProto, onnx.TypeProto),
        (onnx_proto.TypeProtoTensor, onnx.TypeProto.Tensor),
        (onnx_proto.TensorShapeProto, onnx.TensorShapeProto),
        (onnx_proto.TensorShapeProtoDimension, onnx.TensorShapeProto.Dimension),
    ],
)
def test_field_numbers_are_those_of_onnx(fields, message):
    theirs = message.DESCRIPTOR.fields_by_name
    assert {field.name: field.value for field in fields} == {f.name: theirs[f.name.lower()].number for f in fields}


@pytest.mark.parametrize(
    "content",
    [b"", b"no model", b"\x80", b"\x3a\xff\xff\xff\xff\x0f", b"\x0b", b"\x3a\x00\x3a\x00", b"\x07\x01", b"\xff" * 100],
)
def test_bytes_that_are_no_model_are_told_from_one(content):
    assert "must be an ONNX model" in refusal(content)


def test_a_model_that_is_cut_short_is_no_model_wherever_it_is_cut():
    content = model_of().SerializeToString()
    for length in range(0, len(content), 97):
        with pytest.raises(ModelError):
            read_outline(content[:length], "m.onnx")


@pytest.mark.parametrize(
    ("operator", "domain"),
    [
        ("If", ""),
        ("Loop", ""),
        ("Scan", ""),
        ("RandomNormal", ""),
        ("StringConcat", ""),
        ("FusedConv", "com.microsoft"),
    ],
)
def test_operators_that_we_never_write_are_refused(operator, domain):
    model = model_of(node(operator, ["image"], domain=domain))
    said = refusal(model)
    assert f"got {domain or 'onnx'}.{operator}" in said
    assert said.endswith("export it with kestrel-export")


def test_a_graph_within_a_node_is_refused():
    inner = helper.make_graph([], "inner", [], [])
    assert "without graphs" in refusal(model_of(node("Relu", ["image"], body=inner)))


def test_tensors_in_other_files_are_refused():
    model = model_of(secret=np.zeros(4, np.float32))
    tensor = model.graph.initializer[-1]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    assert "complete in itself, got the tensor" in refusal(model)
    tensor.data_location = TensorProto.DEFAULT
    assert "complete in itself" in refusal(model)


def test_tensors_of_a_constant_node_are_looked_at_like_all_others():
    value = helper.make_tensor("v", INT64, [1], [2**40])
    model = model_of(node("Constant", [], ["much"], value=value), node("ConstantOfShape", ["much"]))
    assert "ConstantOfShape that asks for more" in refusal(model)
    model = model_of(node("Constant", [], ["much"], value_ints=[100_000, 100_000]), node("ConstantOfShape", ["much"]))
    assert "ConstantOfShape that asks for more" in refusal(model)


def test_functions_and_sparse_tensors_are_refused():
    model = model_of()
    model.functions.add(name="f", domain="ours")
    assert "without functions" in refusal(model)
    model = model_of()
    model.graph.sparse_initializer.add()
    assert "without sparse tensors" in refusal(model)


@pytest.mark.parametrize(  # each line is a graph
    "model",
    [
        model_of(node("ConstantOfShape", ["s"]), s=np.array([10_000, 10_000])),
        model_of(node("Expand", ["x", "s"]), x=np.zeros(1, np.float32), s=np.array([100, 100_000])),
        model_of(node("Tile", ["x", "s"]), x=np.zeros(1, np.float32), s=np.array([2**33])),
        model_of(node("Range", ["a", "b", "c"]), a=np.array(0), b=np.array(2**31), c=np.array(1)),
        model_of(node("Range", ["a", "b", "c"]), a=np.float32(0), b=np.float32(1), c=np.float32(1e-9)),
        model_of(node("Pad", ["x", "s"]), x=np.zeros((1, 1), np.float32), s=np.array([0, 0, 10_000, 10_000])),
        model_of(node("Resize", ["x", "", "f"]), x=np.zeros((1, 1), np.float32), f=np.float32([9999, 9999])),
        model_of(  # the shape is put together from harmless parts
            node("Concat", ["a", "a"], ["ab"], axis=0), node("ConstantOfShape", ["ab"]), a=np.array([10_000])
        ),
        model_of(node("Mul", ["a", "a"], ["aa"]), node("ConstantOfShape", ["aa"]), a=np.array([10_000])),
        model_of(  # the shape of a tensor of a declared size, multiplied
            node("Shape", ["image"], ["s"]), node("Mul", ["s", "a"], ["big"]), node("ConstantOfShape", ["big"]),
            a=np.array([1, 10_000, 10_000, 1]),
        ),
        model_of(node("Gather", ["a", "b"], ["g"]), node("Tile", ["g", "g"]), a=np.array([999]), b=np.zeros(4, int)),
        model_of(node("Mul", ["a", "b"], ["m"]), node("ConstantOfShape", ["m"]), a=np.array([999]), b=np.ones(4, int)),
        model_of(node("Add", ["a", "a"], ["m"]), node("ConstantOfShape", ["m"]), a=np.ones(60, int)),
        model_of(node("Sub", ["a", "b"], ["m"]), node("Tile", ["m", "m"]), a=np.array([2**62]), b=np.array([2**60])),
        model_of(node("Div", ["a", "b"], ["m"]), node("Cast", ["m"], ["s"], to=INT64), node("ConstantOfShape", ["s"]),
                 a=np.ones(1), b=np.full(1, 1e-9)),
        model_of(node("Cast", ["w"], ["s"], to=INT64), node("ConstantOfShape", ["s"]), w=np.zeros(100, np.float32)),
        model_of(node("Reshape", ["image", "a"], ["r"]), a=np.array([10**9])),
        model_of(node("Reshape", ["image", "a"], ["r"]), node("Expand", ["x", "r"]), x=np.zeros(1), a=np.array([-1])),
    ],
)  # fmt: skip
def test_shapes_that_constants_blow_up_are_refused(model):
    assert "asks for more" in refusal(model)


def test_a_side_of_the_picture_may_be_multiplied_and_all_of_them_may_not():
    eight = np.array([8])
    for told in ({"start": 2, "end": 3}, {"start": 1, "end": 3}):
        sides = (node("Shape", ["image"], ["s"], **told), node("Mul", ["s", "a"], ["m"]))
        read_outline(model_of(*sides, node("ConstantOfShape", ["m"]), a=eight).SerializeToString(), "m.onnx")
        steps = {"b": np.array(0), "c": np.array(1)}
        read_outline(model_of(*sides, node("Range", ["b", "m", "c"]), a=eight, **steps).SerializeToString(), "m.onnx")
    for told in ({}, {"start": 1}, {"start": -8, "end": -1}, {"start": 0, "end": 8}):
        sides = (node("Shape", ["image"], ["s"], **told), node("Mul", ["s", "a"], ["m"]))
        assert "asks for more" in refusal(model_of(*sides, node("ConstantOfShape", ["m"]), a=eight))


def test_a_network_may_enlarge_only_so_much():
    twice = [node("Resize", ["scores_map", "", "f"], [f"large{k}"]) for k in range(2)]
    model_of(twice[0], f=np.float32([1, 1, 64, 64]))
    assert "enlarge at most 4096 times" in refusal(model_of(*twice, f=np.float32([1, 1, 64, 64])))


def test_constants_that_blow_each_other_up_are_refused():
    column, row = np.zeros((10_000, 1), np.float32), np.zeros((1, 10_000), np.float32)
    assert "constants that grow" in refusal(model_of(node("Add", ["a", "b"]), a=column, b=row))
    assert "MatMul of constants alone" in refusal(model_of(node("MatMul", ["a", "b"]), a=column, b=row))
    steps = [node("Concat", [f"x{k}", f"x{k}"], [f"x{k + 1}"], axis=0) for k in range(40)]
    assert "constants that grow" in refusal(model_of(*steps, x0=np.zeros(8, np.float32)))


def test_huge_attributes_are_refused():
    pool = node("MaxPool", ["scores_map"], kernel_shape=[3, 3], pads=[0, 0, 100_000, 100_000])
    assert "attributes up to 32, got pads" in refusal(model_of(pool))
    pool = node("MaxPool", ["scores_map"], kernel_shape=[3, 100_000])
    assert "attributes up to 1000, got kernel_shape" in refusal(model_of(pool))
    assert "attributes of at most 64 numbers" in refusal(model_of(node("Relu", ["image"], axes=[0] * 65)))


def test_tensors_that_lie_about_their_size_are_refused():
    model = model_of(x=np.zeros(4, np.float32))
    model.graph.initializer[-1].dims[0] = 1_000_000
    assert "as large as their shapes say" in refusal(model)
    for side in (10**9, -1):
        model.graph.initializer[-1].dims[0] = side
        assert "tensors of at most" in refusal(model)
    assert "an unknown field 6" in refusal(model_of(x=np.array(["a", "b"])))


def test_what_two_readers_could_read_in_two_ways_is_refused():
    many = {"value_floats": [20_000.0, 20_000.0]}, {"value_float": 4e8}, {"value_ints": [20_000, 20_000]}
    for values in many:
        asked = (node("Constant", [], ["f"], **values), node("Cast", ["f"], ["s"], to=INT64))
        assert "asks for more" in refusal(model_of(*asked, node("ConstantOfShape", ["s"])))
    both = node("Constant", [], ["s"], value_ints=[20_000, 20_000])
    both.attribute[0].t.CopyFrom(numpy_helper.from_array(np.ones(2, int)))
    assert "attributes of one kind" in refusal(model_of(both))
    assert "constants of one value" in refusal(model_of(node("Constant", [], ["s"])))
    for data_type, fields in (
        (FLOAT, {"float_data": [1.0], "int32_data": [1]}),
        (FLOAT, {"int64_data": [1]}),
        (TensorProto.FLOAT16, {"raw_data": b"..", "int32_data": [1]}),
    ):
        model = model_of()
        model.graph.initializer.append(TensorProto(name="x", data_type=data_type, dims=[1], **fields))
        assert "tensors that are stored once" in refusal(model)
    for number in (np.nan, np.inf):
        asked = (node("Cast", ["f"], ["s"], to=INT64), node("ConstantOfShape", ["s"]))
        assert "asks for more" in refusal(model_of(*asked, f=np.float32([number])))


def test_declared_shapes_are_limited():
    model = model_of()
    model.graph.value_info.append(helper.make_tensor_value_info("scores_map", FLOAT, ("B", 100_000, 100_000)))
    assert "a larger one declared" in refusal(model)


def test_names_that_come_twice_are_refused():
    model = model_of(x=np.zeros(1))
    model.graph.initializer.append(model.graph.initializer[-1])
    assert "twice" in refusal(model)
    model = model_of()
    model.metadata_props.add(key="name", value='"another"')
    assert "metadata 'name' twice" in refusal(model)


def test_too_many_nodes_and_too_large_files_are_refused():
    assert f"of at most {MAX_NODES} nodes" in refusal(model_of(*[node("Relu", ["image"])] * MAX_NODES))
    assert "at most 200 MB large, got 200 MB" in refusal(bytes(MAX_FILE_BYTES + 1))


def test_a_hostile_file_is_refused_by_the_recognizer_before_onnx_runtime_loads_it(tmp_path):
    model = model_of(
        node("ConstantOfShape", ["s"], ["much"]), node("ReduceSum", ["much"]), s=np.array([15_000, 15_000])
    )
    with pytest.raises(
        ModelError, match=r"hostile\.onnx must be free of shapes beyond .*; export it with kestrel-export"
    ):
        Recognizer(save(tmp_path / "hostile.onnx", model, None))


def test_a_second_model_in_another_format_is_not_what_runs():
    """ONNX Runtime takes bytes with this mark for its own format; protobuf takes it for the name of a producer."""
    model = bytearray(model_of().SerializeToString())
    assert "the mark of ONNX Runtime's own format" in refusal(bytes(b"\x08\x09\x12\x04ORTM" + model))
    assert session_options(1).get_session_config_entry("session.load_model_format") == "ONNX"


def test_strings_are_refused_wherever_they_come_from():
    assert "must be made of tensors of numbers, got Cast to type" in refusal(model_of(node("Cast", ["image"], to=8)))
    told = node("Constant", [], ["letters"], value_strings=["a", "b"])
    assert "must be without strings" in refusal(model_of(told))


def test_long_lists_of_numbers_are_no_constants_of_shapes():
    packed = node("Constant", [], ["long"], value_ints=[1] * 65 + [900_000_000])
    assert "attributes of at most 64 numbers" in refusal(model_of(packed, node("ConstantOfShape", ["long"])))


def test_empty_fields_cannot_be_without_number():
    emptied = onnx.NodeProto(op_type="Relu", input=["image"], output=["o"])
    emptied.attribute.extend([onnx.AttributeProto()] * 500_001)
    assert "bytes with more than 500000 fields" in refusal(model_of(emptied))
    model = model_of()
    model.metadata_props.add(key="notes", value="x" * 1_000_000)
    assert "bytes with metadata of more than 1000000 letters" in refusal(model)
    model.metadata_props[-1].value += "x"
    assert "bytes with a text of more than 1000000 bytes" in refusal(model)


def test_layer_normalisation_is_an_operator_of_ours():
    layer = node("LayerNormalization", ["image", "scale"])
    read_outline(model_of(layer, scale=np.ones(3, np.float32)).SerializeToString(), "m.onnx")
