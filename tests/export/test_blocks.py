from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.blocks import fill_blocks


def chain(width: int = 30) -> onnx.ModelProto:
    """A convolution to so many channels, ReLU, a depthwise one and one that mixes them: 3 channels in, 4 out."""
    rng = np.random.default_rng(0)
    shapes = {"a": (width, 3, 1, 1), "d": (width, 1, 3, 3), "z": (4, width, 1, 1)}
    stored = [
        numpy_helper.from_array(rng.normal(size=size).astype(np.float32), f"{name}.{part}")
        for name, shape in shapes.items()
        for part, size in (("weight", shape), ("bias", shape[:1]))
    ]
    nodes = [
        helper.make_node("Conv", ["x", "a.weight", "a.bias"], ["a"]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Conv", ["r", "d.weight", "d.bias"], ["d"], group=width, pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["d", "z.weight", "z.bias"], ["y"]),
    ]
    picture = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 6, 8])
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 6, 8])
    graph = helper.make_graph(nodes, "chain", [picture], [answer], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def answers(model: onnx.ModelProto) -> np.ndarray:
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    picture = np.random.default_rng(1).normal(size=(1, 3, 6, 8)).astype(np.float32)
    answered: np.ndarray = session.run(None, {"x": picture})[0]
    return answered


def shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    return {tensor.name: list(tensor.dims) for tensor in model.graph.initializer if tensor.name.endswith("weight")}


def test_channels_are_filled_up_and_the_graph_says_the_same():
    model = chain()
    before = answers(model)
    assert fill_blocks(model) == 2
    assert shapes(model) == {"a.weight": [32, 3, 1, 1], "d.weight": [32, 1, 3, 3], "z.weight": [4, 32, 1, 1]}
    np.testing.assert_allclose(answers(model), before, atol=1e-5)
    assert fill_blocks(model) == 0


def test_whole_blocks_and_what_would_grow_by_much_stay_as_they_are():
    assert [fill_blocks(chain(width)) for width in (32, 12, 24, 28)] == [0, 0, 0, 0]


def as_output(graph: onnx.GraphProto) -> None:
    graph.output.append(helper.make_tensor_value_info("r", TensorProto.FLOAT, [1, 30, 6, 8]))


def read_by_something_else(graph: onnx.GraphProto) -> None:
    graph.node.append(helper.make_node("Softmax", ["d"], ["s"], axis=1))
    graph.output.append(helper.make_tensor_value_info("s", TensorProto.FLOAT, [1, 30, 6, 8]))


def with_shared_weights(graph: onnx.GraphProto) -> None:
    graph.node.append(helper.make_node("Identity", ["d.bias"], ["b"]))
    graph.output.append(helper.make_tensor_value_info("b", TensorProto.FLOAT, [30]))


def without_depthwise(graph: onnx.GraphProto) -> None:
    graph.node[3].input[0] = "r"
    del graph.node[2]


@pytest.mark.parametrize("change", [as_output, read_by_something_else, with_shared_weights, without_depthwise])
def test_channels_that_are_needed_as_they_are_stay(change: Callable[[onnx.GraphProto], None]):
    model = chain()
    change(model.graph)
    before = model.SerializeToString()
    assert fill_blocks(model) == 0
    assert model.SerializeToString() == before
