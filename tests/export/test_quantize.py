import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from edge.errors import ProcessingError
from export.graph import Shapes, export_graph
from export.quantize import calibrate, choose_ranges, prepare, quantize
from tests.models import spot_model
from training.datasets import load_image, read_dataset
from training.networks.nanodet import ShuffleUnit, leaky
from training.networks.reactivate import activate


@pytest.fixture(scope="module")
def frames(people_rgb):
    return [load_image(picture)[:64, :64] for picture in read_dataset(people_rgb).pictures]


@pytest.fixture(scope="module")
def prepared(exported):
    return prepare(onnx.load(exported))


@pytest.fixture(scope="module")
def quantized(prepared, frames):
    return quantize(prepared, choose_ranges(calibrate(prepared, frames), "percentile"))


def run(model: onnx.ModelProto, images: np.ndarray) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": images}), strict=True))


@pytest.mark.parametrize("shape_bhw", [(1, 16, 16), (1, 96, 64), (3, 32, 80)])
def test_the_prepared_graph_says_what_the_exported_one_says(exported, prepared, shape_bhw):
    images = np.random.default_rng(0).integers(0, 256, (*shape_bhw, 3), dtype=np.uint8)
    before, after = run(onnx.load(exported), images), run(prepared.model, images)
    assert after.keys() == before.keys()
    for name, values in before.items():
        assert after[name] == pytest.approx(values, abs=2e-3), name


def test_int8_finds_what_fp32_finds(exported, quantized, frames):
    for image in frames:
        before, after = run(onnx.load(exported), image[None]), run(quantized, image[None])
        assert after["presence"] == pytest.approx(before["presence"], abs=0.15)
        sure = before["scores"][0] > 0.6
        for box in before["boxes_xyxy"][0][sure]:
            assert np.abs(after["boxes_xyxy"][0] - box).max(1).min() < 3


def test_activations_are_u8_and_weights_s8_per_channel(quantized):
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in quantized.graph.initializer}
    makers = {output: node for node in quantized.graph.node for output in node.output}
    layers = [
        node
        for node in quantized.graph.node
        if node.op_type == "Conv" and makers.get(node.input[1], node).op_type == "DequantizeLinear"
    ]
    assert len(layers) > 5
    for layer in layers:
        activation, weight = (makers[name] for name in layer.input[:2])
        assert constants[activation.input[2]].dtype == np.uint8
        stored, scale = (constants[name] for name in weight.input[:2])
        assert stored.dtype == np.int8
        assert scale.shape == (len(stored),)


def test_from_the_last_convolutions_on_all_stays_fp32(prepared, quantized):
    makers = {output: node for node in quantized.graph.node for output in node.output}
    assert len(prepared.last) == 2
    for name in prepared.last:
        layer = makers[name]
        assert layer.op_type == "Conv"
        assert layer.input[1] not in makers  # a plain constant
    after = set(prepared.last)
    for node in quantized.graph.node:
        if after & set(node.input):
            after.update(node.output)
            assert node.op_type not in ("QuantizeLinear", "DequantizeLinear")


def test_the_picture_itself_is_the_quantised_input(prepared, quantized):
    makers = {output: node for node in quantized.graph.node for output in node.output}
    source = next(node for node in quantized.graph.node if node.op_type == "Conv").input[0]
    path = []
    while source in makers:
        path.append(makers[source].op_type)
        source = makers[source].input[0]
    assert source == "image"
    assert set(path) <= {"DequantizeLinear", "Transpose", "Reshape", "Concat", "Split"}  # bytes, moved
    assert 0 <= prepared.zero <= 255


def test_layers_can_be_kept_in_fp32(prepared, frames):
    ranges = choose_ranges(calibrate(prepared, frames[:1]), "minmax")
    convolutions = list(prepared.layers())
    kept = convolutions[::2]
    model = quantize(prepared, ranges, [name for layer in kept for name in prepared.layers()[layer]])
    layers = {node.name: node for node in model.graph.node if node.op_type == "Conv"}
    makers = {output for node in model.graph.node for output in node.output}
    assert all(layers[name].input[1] not in makers for name in kept)
    assert all(layers[name].input[1] in makers for name in convolutions if name not in kept)
    assert run(model, frames[0][None])["scores"].shape == (1, 500)


def test_a_graph_of_another_kind_is_refused():
    with pytest.raises(ProcessingError, match="must start with"):
        prepare(spot_model())


def test_a_first_convolution_of_stride_1_is_left_as_it_is():
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    node = helper.make_node
    graph = helper.make_graph(
        [
            node("Transpose", ["image"], ["chw"], perm=[0, 3, 1, 2]),
            node("Cast", ["chw"], ["float"], to=TensorProto.FLOAT),
            node("Conv", ["float", "w"], ["a"], pads=[1, 1, 1, 1]),
            node("Relu", ["a"], ["b"]),
            node("Conv", ["b", "v"], ["out"]),
        ],
        "plain",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ("B", "H", "W", 3))],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(weight[:, :, :1, :1].swapaxes(0, 1), "v")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    image = np.random.default_rng(1).integers(0, 256, (1, 12, 20, 3), dtype=np.uint8)
    prepared = prepare(model)
    expected = run(model, image)["out"]
    assert run(prepared.model, image)["out"] == pytest.approx(expected, rel=1e-4, abs=1e-2)
    after = run(quantize(prepared, choose_ranges(calibrate(prepared, [image[0]]), "minmax")), image)["out"]
    assert np.abs(after - expected).mean() < 0.02 * np.abs(expected).max()


class Shuffling(nn.Module):
    """A stem, two of NanoDet's units, and one convolution that stays FP32."""

    def __init__(self, activation: str) -> None:
        super().__init__()
        units = [ShuffleUnit(16, 16, 1) for _ in range(2)]
        self.layers = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), leaky(), *units, nn.Conv2d(16, 2, 1))
        activate(self, activation)
        self.layers[0].weight.data /= 64

    def forward(self, image: Tensor) -> Tensor:
        maps: Tensor = self.layers(image.permute(0, 3, 1, 2).to(torch.float32))
        return maps


@pytest.mark.parametrize("activation", ["relu", "silu"])  # the latter: leaky, as NanoDet is released
def test_channels_that_are_split_and_interleaved_stay_int8_on_their_way(activation):
    torch.manual_seed(0)
    graph = export_graph(Shuffling(activation), Shapes(8), output_names=["maps"])
    prepared = prepare(graph)
    rng = np.random.default_rng(0)
    seen = rng.integers(0, 256, (4, 32, 48, 3), dtype=np.uint8)
    quantized = quantize(prepared, choose_ranges(calibrate(prepared, seen), "minmax"))
    fp32, int8 = run(graph, seen[:1])["maps"], run(quantized, seen[:1])["maps"]
    assert np.abs(int8 - fp32).mean() < 0.05 * np.abs(fp32).mean()
    makers = {output: node for node in quantized.graph.node for output in node.output}
    moving = [n for n in quantized.graph.node if n.op_type == "Split" and not n.name.startswith("patches")]
    assert len(moving) == 2
    moving += [node for node in quantized.graph.node if node.op_type == "LeakyRelu"]
    assert all(makers[node.input[0]].op_type == "DequantizeLinear" for node in moving)
    assert not {n.op_type for n in prepared.model.graph.node if n.name in prepared.body} & {"Shape", "Gather"}
