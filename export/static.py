"""Graphs for other compilers: of one fixed size, or with the bare head maps as output."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from torch import Tensor, nn

from edge.contract import INPUT_NAME, OUTPUT_NAMES, ModelMetadata
from edge.errors import InvalidValueError
from edge.network import Predictions
from edge.network import Tensor as InputTensor
from edge.raw_head import decode_raw_head
from edge.records import SizeWH
from export.graph import RecognitionGraph, Shapes, export_graph, fold_normalization
from export.ranges import session_with_outputs
from training.networks.student import Student

RAW_INPUT = "image_bchw"
RAW_OUTPUTS = ("logits", "log_distances")


@dataclass(frozen=True, slots=True)
class OtherForm:
    """What another compiler wants. At least one of the two."""

    input_wh: SizeWH | None  # None: dynamic
    raw_head: bool

    def __str__(self) -> str:
        """`raw-head-640x512`, for example."""
        return "-".join((["raw-head"] if self.raw_head else []) + ([str(self.input_wh)] if self.input_wh else []))

    def name(self, out: Path) -> Path:
        """OUT.onnx -> OUT-raw-head-640x512.onnx, for example."""
        return out.with_stem(f"{out.stem}-{self}")

    def require(self, multiple: int) -> None:
        """Raises InvalidValueError for sides that are no multiples of the coarsest stride."""
        wh = self.input_wh
        if wh and (wh.width % multiple or wh.height % multiple):
            nearest = SizeWH(*(-(-side // multiple) * multiple for side in (wh.width, wh.height)))
            rule = f"WxH with sides that are multiples of {multiple}"
            raise InvalidValueError("--static", rule, str(wh), f"for example {nearest}")


class RawHeadGraph(nn.Module):
    """image (B, 3, H, W) float32 BGR 0..255 -> logits (B, 1, h, w), log_distances (B, 4, h, w).

    `edge.raw_head` decodes them.
    """

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student
        self.stride = student.spec.stride

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        predictions = self.student(images)[self.stride]
        return predictions.logits[:, None], predictions.log_distances


def other_form(student: Student, metadata: ModelMetadata, form: OtherForm) -> onnx.ModelProto:
    """The graph in that form, one picture at a time where the size is fixed.

    Raises:
        InvalidValueError: sides that are no multiples of the coarsest stride.
        ProcessingError: the exporter failed.
    """
    multiple = student.spec.coarsest
    form.require(multiple)
    shapes, folded = Shapes(multiple, form.input_wh, form.raw_head), fold_normalization(student)
    if form.raw_head:
        return export_graph(RawHeadGraph(folded), shapes, RAW_INPUT, RAW_OUTPUTS)
    return export_graph(RecognitionGraph(folded, metadata.calibration), shapes)


def run_other(model: onnx.ModelProto, metadata: ModelMetadata, form: OtherForm) -> Callable[[InputTensor], Predictions]:
    """Asks that graph for one picture (1, H, W, 3) uint8 BGR, as somebody with another compiler would."""
    session = session_with_outputs(model, ())

    def ask(tensor: InputTensor) -> Predictions:
        if form.raw_head:
            image = tensor.transpose(0, 3, 1, 2).astype(np.float32)
            logits, log_distances = session.run(list(RAW_OUTPUTS), {RAW_INPUT: image})
            return decode_raw_head(logits[0, 0], log_distances[0], metadata.strides[0], metadata.calibration)
        boxes_xyxy, scores, presence = session.run(list(OUTPUT_NAMES), {INPUT_NAME: tensor})
        return Predictions(boxes_xyxy[0], scores[0], float(presence[0]))

    return ask
