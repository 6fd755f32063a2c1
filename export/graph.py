"""The whole recognition as one graph: uint8 picture in, boxes, scores and presence out (see edge/contract.py).

Normalisation, the dense student, the peaks of its score map and the decoding of their boxes are all inside, so that no
reader of the file can get them wrong.
"""

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxslim  # type: ignore[import-untyped]
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn

from edge.contract import (
    GRAPH_INTERCEPT,
    GRAPH_SLOPE,
    GRAPH_STRIDE,
    INPUT_NAME,
    MAX_DETECTIONS,
    NOWHERE,
    OUTPUT_NAMES,
    Calibration,
)
from edge.errors import ProcessingError
from edge.onnx_growth import OPERATORS
from edge.records import SizeWH
from export.blocks import fill_blocks
from export.model_file import scratch_folder
from export.readers import readers_of
from training.networks.peaks import boxes_at, find_peaks
from training.networks.student import Student

OPSET = 18  # the lowest that torch's exporter writes without converting down, and that ONNX Runtime >= 1.14 reads

# The simplifier drops a slope of 1 and an intercept of 0, and lets equal numbers share one tensor: these are like none.
_PLACEHOLDER = Calibration(1.234567, -7.654321)


class RecognitionGraph(nn.Module):
    """image (B, H, W, 3) uint8 BGR -> boxes_xyxy (B, 500, 4), scores (B, 500), presence (B,)."""

    def __init__(self, student: Student, calibration: Calibration) -> None:
        super().__init__()
        self.student = student
        self.map_stride = student.spec.stride
        self.register_buffer(GRAPH_STRIDE, torch.tensor(float(self.map_stride)))
        for name, value in calibration.constants.items():
            self.register_buffer(name, torch.tensor(value))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See the class."""
        images = image.permute(0, 3, 1, 2).to(torch.float32)  # (B, 3, H, W)
        predictions = self.student(images)[self.map_stride]
        peaks = find_peaks(predictions.logits)
        scores = torch.where(peaks.logits > NOWHERE / 2, peaks.logits.sigmoid(), 0.0)  # (B, 500)
        # Sorted once more: ONNX Runtime's sigmoid may turn the order of two neighbours round in the last bit.
        scores, order = torch.topk(scores, MAX_DETECTIONS, dim=1, sorted=True)
        cells = peaks.cells.gather(1, order)
        boxes = boxes_at(predictions.log_distances, cells, self.get_buffer(GRAPH_STRIDE))  # (B, 500, 4)
        log_odds = self.get_buffer(GRAPH_SLOPE) * peaks.logits[:, 0] + self.get_buffer(GRAPH_INTERCEPT)  # (B,)
        return boxes * (scores > 0)[..., None], scores, log_odds.sigmoid()


class _SubtractMean(nn.Module):
    """What is left of the normalisation: the mean, in BGR order. Zero padding then still means 'an average pixel'."""

    def __init__(self, mean: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)

    def forward(self, images: Tensor) -> Tensor:
        return images - self.get_buffer("mean")


def fold_normalization(student: Student) -> Student:
    """A copy of the student whose first convolution reads BGR and does the scaling; same output, two passes fewer.

    One whose first convolution makes its weights up from those that it stores (NFNet, BiT) keeps its normalisation.
    """
    folded = copy.deepcopy(student).eval()
    normalize = folded.trunk.normalize
    stem = next(m for m in folded.trunk.backbone.modules() if isinstance(m, nn.Conv2d))
    if type(stem) not in (nn.Conv2d, Conv2dSame):
        return folded
    with torch.no_grad():
        stem.weight.copy_((stem.weight * normalize.get_buffer("scale")).flip(1))
    folded.trunk.normalize = _SubtractMean(normalize.get_buffer("mean").flip(1))  # type: ignore[assignment]
    return folded


@dataclass(frozen=True, slots=True)
class Shapes:
    """Shape of a graph's input."""

    multiple: int  # of the sides
    input_wh: SizeWH | None = None  # fixed, and then for one picture; None: batch and sides are dynamic
    floats: bool = False  # (B, 3, H, W) float32 instead of (B, H, W, 3) uint8

    def example(self) -> Tensor:
        """A black input of that shape."""
        size = self.input_wh or SizeWH(6 * self.multiple, 8 * self.multiple)
        width, height = size.width, size.height
        count = 1 if self.input_wh else 2
        if self.floats:
            return torch.zeros((count, 3, height, width))
        return torch.zeros((count, height, width, 3), dtype=torch.uint8)

    def dynamic(self) -> dict[int, Any]:
        """Axis -> what torch.export calls it."""
        if self.input_wh:
            return {}
        sides = [self.multiple * torch.export.Dim(n, min=1, max=8192 // self.multiple) for n in ("rows", "columns")]
        first = 2 if self.floats else 1
        return {0: torch.export.Dim("batch", min=1, max=256), first: sides[0], first + 1: sides[1]}


def to_onnx(student: Student, calibration: Calibration) -> onnx.ModelProto:
    """The simplified, checked graph, without metadata.

    Raises:
        ProcessingError: the exporter failed; its first line says where.
    """
    model = export_graph(RecognitionGraph(fold_normalization(student), _PLACEHOLDER), Shapes(student.spec.coarsest))
    fill_blocks(model)
    calibrate_presence(model, calibration)
    return model


def calibrate_presence(model: onnx.ModelProto, calibration: Calibration) -> None:
    """Give a graph that `to_onnx` made another calibration, in place: exporting it again would take seconds."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    readers = readers_of(model.graph)
    for name, value in calibration.constants.items():
        assert len(readers.get(name, ())) == 1, f"{name} must be read by the presence alone"
        stored[name].CopyFrom(onnx.numpy_helper.from_array(np.array(value, np.float32), name))


def export_graph(
    graph: nn.Module, shapes: Shapes, input_name: str = INPUT_NAME, output_names: Sequence[str] = OUTPUT_NAMES
) -> onnx.ModelProto:
    """Any graph of ours, simplified and checked, without metadata.

    Raises:
        ProcessingError: the exporter failed; its first line says where.
    """
    with scratch_folder() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own internals
        file = scratch / "graph.onnx"
        try:
            torch.onnx.export(
                graph.eval(),
                (shapes.example(),),
                file,
                dynamo=True,
                input_names=[input_name],
                output_names=list(output_names),
                dynamic_shapes=(shapes.dynamic(),),
                opset_version=OPSET,
                external_data=False,
                verbose=False,
            )
        except Exception as error:  # torch.export raises many kinds
            raise ProcessingError(f"export failed: {str(error).strip().splitlines()[0]}") from error
        model: onnx.ModelProto = onnxslim.slim(onnx.load(file))
    onnx.checker.check_model(model, full_check=True)
    del model.graph.value_info[:]  # shapes in between, which nobody reads: a tenth of the file
    foreign = sorted({node.op_type for node in model.graph.node} - OPERATORS)
    if foreign:
        rule = "made of operators that kestrel runs"
        raise ProcessingError(f"the student must be {rule}, got {', '.join(foreign)}; distil with another --backbone")
    return model
