"""FP32 graph -> INT8 graph: static QDQ, U8 activations, S8 weights per channel, the picture itself as quantised input.

Everything from the heads' last convolutions on (scores, peaks, boxes) stays FP32: there a step of 1/256 would move
boxes and reorder peaks.

Weights have 7 bits: on x86 without VNNI, ONNX Runtime adds products of a U8 and an S8 in pairs, in 16 bits that
saturate. With 8 bits the same file found other people there than where it was judged; with 7 it finds the same.
"""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType  # type: ignore[import-untyped]
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData  # type: ignore[import-untyped]
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer  # type: ignore[import-untyped]
from onnxruntime.quantization.shape_inference import quant_pre_process  # type: ignore[import-untyped]

from edge.contract import INPUT_NAME
from edge.errors import ProcessingError
from edge.records import Image
from export.model_file import scratch_folder
from export.ranges import Calibrating, Histogram, Range, choose_range, measure
from export.readers import readers_of

ACTIVATIONS = ("Relu", "LeakyRelu", "Clip", "Sigmoid", "Mul")
Weights = npt.NDArray[np.float32]
_WHOLE_NUMBERS = (onnx.TensorProto.INT64, onnx.TensorProto.INT32)  # of shapes
MOVING = ("Concat", "Reshape", "Split", "Unsqueeze")  # what is INT8 already
OPERATORS = ("Conv", "Add", "Mul", "Sigmoid", "Relu", "LeakyRelu", "Clip", "MaxPool", "Resize", *MOVING)


@dataclass(frozen=True, slots=True)
class Prepared:
    """An FP32 graph made ready: nodes named, constants folded, and the parts that INT8 may touch."""

    model: onnx.ModelProto
    body: tuple[str, ...]  # names of the nodes from the picture to the heads' last convolutions, these excluded
    last: tuple[str, ...]  # outputs of the heads' last convolutions
    picture: str  # the tensor that the first convolution reads: pixels less `zero`
    zero: int  # the grey level that stands for 0: zero padding then means about an average pixel

    def layers(self) -> dict[str, tuple[str, ...]]:
        """Convolutions that INT8 may take, in the order in which they run, each with its own and its activation's
        nodes."""
        names = set(self.body)
        maker: dict[str, str] = {}  # tensor -> layer
        found: dict[str, list[str]] = {}
        for node in self.model.graph.node:
            if node.name not in names:
                continue
            sources = {maker[name] for name in node.input if name in maker}
            if node.op_type == "Conv":
                sources = {node.name}
                found[node.name] = []
            elif node.op_type not in ACTIVATIONS or len(sources) != 1:
                continue
            (layer,) = sources
            found[layer].append(node.name)
            maker[node.output[0]] = layer
        return {layer: tuple(nodes) for layer, nodes in found.items()}


def prepare(model: onnx.ModelProto) -> Prepared:
    """Optimise the FP32 graph for quantisation and find its parts.

    Raises:
        ProcessingError: it does not start with the picture and a convolution as our exporter writes it, or the disk is
            full.
    """
    with scratch_folder() as scratch:
        before, after = scratch / "before.onnx", scratch / "after.onnx"
        before.write_bytes(model.SerializeToString())
        # Symbolic shapes: ONNX Runtime's inference stumbles over the peaks, whose shapes nobody needs here.
        quant_pre_process(before, after, skip_symbolic_shape=True)
        ready = onnx.load(after)
    for index, node in enumerate(ready.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"
    picture, zero = _rewrite_stem(ready)
    last = _last_convolutions(ready)
    whole = {value.name for value in ready.graph.value_info if value.type.tensor_type.elem_type in _WHOLE_NUMBERS}
    return Prepared(
        model=ready,
        body=tuple(node.name for node in _between(ready, picture, last) if whole.isdisjoint(node.output)),
        last=tuple(node.output[0] for node in last),
        picture=picture,
        zero=zero,
    )


def _rewrite_stem(model: onnx.ModelProto) -> tuple[str, int]:
    """Give the first convolution `pixels - zero`, with one whole number for all channels, and patches of 2x2 pixels.

    - conv(x - mean) = conv(x - zero) + sum of weights * (zero - mean), but for the padding, where the two differ by a
      few grey levels when the means of the channels do.
    - A convolution of stride 2 over 3 channels is one of stride 1 over the 12 of 2x2 patches: INT8 gathers its inputs
      in runs of 12 bytes instead of 3, which halves the time of the slowest layer.
    """
    graph = model.graph
    casts = [node for node in graph.node if node.op_type == "Cast" and _comes_from_input(graph, node)]
    users = [node for node in graph.node if casts and casts[0].output[0] in node.input]
    if len(casts) != 1 or len(users) != 1:
        raise ProcessingError("the graph must start with one cast of the picture; export it with kestrel-export")
    (cast,), (first,) = casts, users
    mean, stem = np.zeros(3), first
    if first.op_type == "Sub":
        mean = np.broadcast_to(_constant(graph, first.input[1]).ravel(), 3).astype(np.float64)
        (stem,) = [node for node in graph.node if first.output[0] in node.input]
    if stem.op_type != "Conv":
        raise ProcessingError(f"the graph must start with a convolution, got {stem.op_type}; export it again")
    zero = int(np.clip(round(float(mean.mean())), 0, 255))
    weight = _constant(graph, stem.input[1])  # (O, 3, h, w)
    bias = _constant(graph, stem.input[2]) if len(stem.input) > 2 else np.zeros(len(weight), np.float32)
    moved = bias + np.einsum("ochw,c->o", weight, zero - mean)
    stem.input[:] = [stem.input[0], stem.input[1], _add_constant(graph, "stem_bias", moved.astype(np.float32))]
    if first is not stem:
        first.input[1] = _add_constant(graph, "stem_zero", np.float32(zero))
    _read_patches(graph, stem, cast, weight)
    return stem.input[0], zero


def _read_patches(graph: onnx.GraphProto, stem: onnx.NodeProto, cast: onnx.NodeProto, weight: Weights) -> None:
    """Turn the stem of stride 2 into one of stride 1 over 2x2 patches; one of another kind stays as it is."""
    settings = {attribute.name: helper.get_attribute_value(attribute) for attribute in stem.attribute}
    kernel, pad = weight.shape[2], settings.get("pads", [0] * 4)[0]
    shift = pad % 2  # the kernel then starts on a patch
    side = (kernel + shift + 1) // 2  # of the new kernel, in patches
    before = (pad + shift) // 2
    square = weight.shape[2] == weight.shape[3] and len(set(settings.get("pads", [0] * 4))) == 1
    if settings.get("strides") != [2, 2] or not square or side - 1 < before:
        return
    padded = np.zeros((len(weight), 3, 2 * side, 2 * side), np.float32)
    padded[:, :, shift : shift + kernel, shift : shift + kernel] = weight
    patches = padded.reshape(len(weight), 3, side, 2, side, 2)  # (O, C, row, y, column, x)
    patches = patches.transpose(0, 3, 5, 1, 2, 4).reshape(len(weight), 12, side, side)  # channels in the order y, x, C
    stem.input[1] = _add_constant(graph, "stem_patches", np.ascontiguousarray(patches))
    del stem.attribute[:]
    after = side - 1 - before
    stem.attribute.append(helper.make_attribute("kernel_shape", [side, side]))
    stem.attribute.append(helper.make_attribute("pads", [before, before, after, after]))
    _insert_patches(graph, cast)


def _insert_patches(graph: onnx.GraphProto, cast: onnx.NodeProto) -> None:
    """(B, H, W, 3) pixels -> (B, 12, H/2, W/2), rearranged while still bytes and channels last, in place of the
    transposition before the cast. Joining two rows copies 6 bytes at a time; a transposition takes three times as long.
    """
    constants = {
        "rows": np.array([0, 1]),  # Shape's first two: B, H
        "pair": np.array([-1]),
        "side_by_side": np.array([6]),
        "halves": np.array([1, 2, 2]),
    }
    for name, value in constants.items():
        _add_constant(graph, f"patches_{name}", value.astype(np.int64))
    node = helper.make_node
    c = "patches_"
    made = [
        node("Shape", [INPUT_NAME], [f"{c}bhw"], start=0, end=3),
        node("Div", [f"{c}bhw", f"{c}halves"], [f"{c}halved"]),  # B, H/2, W/2
        node("Gather", [f"{c}halved", f"{c}rows"], [f"{c}bh"]),
        node("Concat", [f"{c}bh", f"{c}pair"], [f"{c}paired"], axis=0),
        node("Concat", [f"{c}halved", f"{c}side_by_side"], [f"{c}half"], axis=0),
        node("Reshape", [INPUT_NAME, f"{c}paired"], [f"{c}pairs"]),  # (B, H/2, 2 * W * 3)
        node("Split", [f"{c}pairs"], [f"{c}even", f"{c}odd"], axis=2, num_outputs=2),
        node("Reshape", [f"{c}even", f"{c}half"], [f"{c}upper"]),  # (B, H/2, W/2, 6)
        node("Reshape", [f"{c}odd", f"{c}half"], [f"{c}lower"]),
        node("Concat", [f"{c}upper", f"{c}lower"], [f"{c}last"], axis=3),  # (B, H/2, W/2, 12)
        node("Transpose", [f"{c}last"], [f"{c}first"], perm=[0, 3, 1, 2]),
    ]
    for index, one in enumerate(made):
        one.name = f"patches_{one.op_type}_{index}"
    cast.input[0] = f"{c}first"
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*made, *rest])


def _comes_from_input(graph: onnx.GraphProto, node: onnx.NodeProto) -> bool:
    """Through nothing but transpositions."""
    makers = {output: maker for maker in graph.node for output in maker.output}
    source = node.input[0]
    while source in makers and makers[source].op_type == "Transpose":
        source = makers[source].input[0]
    return bool(source == INPUT_NAME)


def _last_convolutions(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Those after which no other convolution comes."""
    followed: set[str] = set()  # tensors from which a convolution can be reached
    last = []
    for node in reversed(model.graph.node):
        reaches = any(output in followed for output in node.output)
        if node.op_type == "Conv" and not reaches:
            last.append(node)
        if reaches or node.op_type == "Conv":
            followed.update(node.input)
    return last[::-1]


def _between(model: onnx.ModelProto, start: str, last: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Nodes on the way from the tensor `start` to the last convolutions, in order; these not included."""
    wanted = {name for node in last for name in node.input}
    for node in reversed(model.graph.node):
        if any(output in wanted for output in node.output):
            wanted.update(node.input)
    reached, found = {start}, []
    ends = {node.name for node in last}
    for node in model.graph.node:
        on_way = any(name in reached for name in node.input) and any(name in wanted for name in node.output)
        if on_way and node.name not in ends:
            reached.update(node.output)
            found.append(node)
    return found


def calibrate(prepared: Prepared, frames: Iterable[Image]) -> dict[str, Histogram]:
    """Histograms of all activations that may become INT8; `frames` as `export.ranges.measure` wants them."""
    names, readers = set(prepared.body), readers_of(prepared.model.graph)
    # A layer and the ReLU after it become one: what lies between them is never stored.
    tensors = [
        name
        for node in prepared.model.graph.node
        if node.name in names
        for name in node.output
        if not {reader.op_type for reader in readers[name]} <= {"Relu", "Clip"}
    ]
    return measure(prepared.model, tensors, frames)


def choose_ranges(histograms: Mapping[str, Histogram], method: Calibrating) -> dict[str, Range]:
    """The range of every activation."""
    return {name: choose_range(histogram, method) for name, histogram in histograms.items()}


def quantize(prepared: Prepared, ranges: Mapping[str, Range], kept_fp32: Sequence[str] = ()) -> onnx.ModelProto:
    """The INT8 graph. `kept_fp32` names nodes of the body that stay as they are."""
    kept = set(kept_fp32)
    model = onnx.ModelProto()
    model.CopyFrom(prepared.model)
    spans = {name: (np.float32(r.low), np.float32(r.high)) for name, r in ranges.items()}
    for node in model.graph.node:  # asked for, though it never becomes a tensor of its own
        if node.op_type in ("Relu", "Clip") and node.output[0] in spans:
            spans.setdefault(node.input[0], spans[node.output[0]])
    spans[prepared.picture] = (np.float32(-prepared.zero), np.float32(255 - prepared.zero))
    options: dict[str, Any] = {
        "WeightSymmetric": True,
        "ActivationSymmetric": False,
        "TensorQuantOverrides": {
            prepared.picture: [
                {
                    "quant_type": QuantType.QUInt8,
                    "scale": np.array(1, np.float32),
                    "zero_point": np.array(prepared.zero, np.uint8),
                }
            ]
        },
    }
    quantizer = QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=True,  # see the text at the top
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, spans),
        nodes_to_quantize=[name for name in prepared.body if name not in kept],
        nodes_to_exclude=[],
        op_types_to_quantize=list(OPERATORS),
        extra_options=options,
    )
    with contextlib.redirect_stdout(None):
        quantizer.quantize_model()
        quantizer.model.topological_sort()
    quantized: onnx.ModelProto = quantizer.model.model
    _feed_picture(quantized, prepared.picture)
    onnx.checker.check_model(quantized, full_check=True)
    return quantized


def _feed_picture(model: onnx.ModelProto, picture: str) -> None:
    """The uint8 picture is the quantised input already: no cast, no subtraction, no rounding."""
    graph = model.graph
    makers = {output: node for node in graph.node for output in node.output}
    quantizers = [n for n in graph.node if n.op_type == "QuantizeLinear" and n.input[0] == picture]
    if len(quantizers) != 1:  # the first convolution stays FP32
        return
    (quantizer,) = quantizers
    source, drop = picture, [quantizer]
    while makers[source].op_type != "Cast":
        drop.append(makers[source])
        source = makers[source].input[0]
    drop.append(makers[source])
    pixels = makers[source].input[0]
    for node in graph.node:
        node.input[:] = [pixels if name == quantizer.output[0] else name for name in node.input]
    for node in drop:
        graph.node.remove(node)


def _constant(graph: onnx.GraphProto, name: str) -> np.ndarray[Any, Any]:
    for tensor in graph.initializer:
        if tensor.name == name:
            return numpy_helper.to_array(tensor)
    raise ProcessingError(f"the graph must hold {name!r} as a constant; export it with kestrel-export")


def _add_constant(graph: onnx.GraphProto, name: str, value: Any) -> str:
    graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return name
