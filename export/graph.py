"""The whole recognition as one graph: uint8 picture in, boxes, scores and presence out (see edge/contract.py).

Normalisation, the dense student, the peaks of its score map and the decoding of their boxes are all inside, so that no
reader of the file can get them wrong.
"""

import copy
import tempfile
import warnings
from pathlib import Path

import onnx
import onnxslim  # type: ignore[import-untyped]
import torch
from torch import Tensor, nn

from edge.contract import INPUT_NAME, MAX_DETECTIONS, OUTPUT_NAMES, Calibration
from edge.errors import ProcessingError
from training.networks.peaks import NOWHERE, boxes_at, find_peaks
from training.networks.student import Student

OPSET = 18  # the lowest that torch's exporter writes without converting down, and that ONNX Runtime >= 1.14 reads


class RecognitionGraph(nn.Module):
    """image (B, H, W, 3) uint8 BGR -> boxes_xyxy (B, 500, 4), scores (B, 500), presence (B,)."""

    def __init__(self, student: Student, calibration: Calibration) -> None:
        super().__init__()
        self.student = fold_normalization(student)
        self.stride = student.spec.stride
        self.calibration = calibration

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See the class."""
        images = image.permute(0, 3, 1, 2).to(torch.float32)  # (B, 3, H, W)
        predictions = self.student(images)[self.stride]
        peaks = find_peaks(predictions.logits)
        scores = torch.where(peaks.logits > NOWHERE / 2, peaks.logits.sigmoid(), 0.0)  # (B, 500)
        # Sorted once more: ONNX Runtime's sigmoid may turn the order of two neighbours round in the last bit.
        scores, order = torch.topk(scores, MAX_DETECTIONS, dim=1, sorted=True)
        cells = peaks.cells.gather(1, order)
        boxes = boxes_at(predictions.log_distances, cells, self.stride) * (scores > 0)[..., None]  # (B, 500, 4)
        presence = torch.sigmoid(self.calibration.slope * peaks.logits[:, 0] + self.calibration.intercept)
        return boxes, scores, presence


class _SubtractMean(nn.Module):
    """What is left of the normalisation: the mean, in BGR order. Zero padding then still means 'an average pixel'."""

    def __init__(self, mean: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)

    def forward(self, images: Tensor) -> Tensor:
        return images - self.get_buffer("mean")


def fold_normalization(student: Student) -> Student:
    """A copy of the student whose first convolution reads BGR and does the scaling; same output, two passes fewer.

    The student must start with a convolution of three channels, as every trunk of ours does.
    """
    folded = copy.deepcopy(student).eval()
    normalize = folded.trunk.normalize
    stem = next(m for m in folded.trunk.backbone.modules() if isinstance(m, nn.Conv2d))
    with torch.no_grad():
        stem.weight.copy_((stem.weight * normalize.get_buffer("scale")).flip(1))
    folded.trunk.normalize = _SubtractMean(normalize.get_buffer("mean").flip(1))  # type: ignore[assignment]
    return folded


def to_onnx(student: Student, calibration: Calibration) -> onnx.ModelProto:
    """The simplified, checked graph, without metadata.

    Raises:
        ProcessingError: the exporter failed; its first line says where.
    """
    graph = RecognitionGraph(student, calibration).eval()
    example = torch.zeros((2, 8 * student.spec.coarsest, 6 * student.spec.coarsest, 3), dtype=torch.uint8)
    multiple = student.spec.coarsest
    sides = [multiple * torch.export.Dim(n, min=1, max=8192 // multiple) for n in ("rows", "columns")]
    batch = torch.export.Dim("batch", min=1, max=256)
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own internals
        file = Path(scratch) / "graph.onnx"
        try:
            torch.onnx.export(
                graph,
                (example,),
                file,
                dynamo=True,
                input_names=[INPUT_NAME],
                output_names=list(OUTPUT_NAMES),
                dynamic_shapes={INPUT_NAME: {0: batch, 1: sides[0], 2: sides[1]}},
                opset_version=OPSET,
                external_data=False,
                verbose=False,
            )
        except Exception as error:  # torch.export raises many kinds
            raise ProcessingError(f"export failed: {str(error).strip().splitlines()[0]}") from error
        model: onnx.ModelProto = onnxslim.slim(onnx.load(file))
    onnx.checker.check_model(model, full_check=True)
    return model
