"""Graphs for other compilers: of one fixed size, or with the bare head maps as output."""

from dataclasses import dataclass
from pathlib import Path

import onnx
from torch import Tensor, nn

from edge.contract import ModelMetadata
from edge.errors import InvalidValueError
from edge.records import SizeWH
from export.graph import RecognitionGraph, Shapes, export_graph, fold_normalization
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
