"""Which layers does INT8 hurt? Found by what the answers lose on real frames when one layer alone is INT8."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from tqdm import tqdm

from edge.contract import INPUT_NAME
from edge.geometry import pairwise_iou
from edge.records import Boxes, Image, Scores
from export.quantize import Prepared, quantize
from export.ranges import Range, session_with_outputs

FAINTEST = 0.02  # lower scores never become detections
MOST = 200  # candidates of a frame that are compared


@dataclass(frozen=True, slots=True)
class LayerError:
    """What one layer in INT8 costs: mean change of an answer's score and of its box (1 - IoU), by how sure it is."""

    layer: str
    error: float


@dataclass(frozen=True, slots=True)
class Answers:
    """The graph's candidates for one frame, before NMS."""

    boxes_xyxy: Boxes  # (N, 4)
    scores: Scores  # (N,)


class Judge:
    """The answers of the FP32 graph on some frames, to compare others with."""

    def __init__(self, prepared: Prepared, frames: Sequence[Image]) -> None:
        self._frames = frames
        self._expected = self._answers(prepared.model)

    def error(self, model: onnx.ModelProto) -> float:
        """Mean over all frames of what either graph says and the other does not; see LayerError."""
        found = self._answers(model)
        return float(np.mean([_error(a, b) + _error(b, a) for a, b in zip(self._expected, found, strict=True)]))

    def _answers(self, model: onnx.ModelProto) -> list[Answers]:
        session = session_with_outputs(model, ())
        answers = []
        for image in self._frames:
            boxes, scores = (v[0] for v in session.run(["boxes_xyxy", "scores"], {INPUT_NAME: image[None]}))
            kept = np.flatnonzero(scores >= FAINTEST)[:MOST]
            answers.append(Answers(boxes[kept], scores[kept]))
        return answers


def _error(said: Answers, other: Answers) -> float:
    """Each answer is compared with the other graph's at the same place; one that is missing there counts in full."""
    if not len(said.scores):
        return 0.0
    count = len(said.scores)
    together = np.concatenate((said.boxes_xyxy, other.boxes_xyxy))
    overlaps = np.nan_to_num(pairwise_iou(together)[:count, count:])  # (N, M)
    if not overlaps.shape[1]:
        return float((said.scores * (said.scores + 1)).sum() / said.scores.sum())
    best = overlaps.argmax(1)
    iou = overlaps[np.arange(count), best]
    change = np.abs(said.scores - np.where(iou > 0, other.scores[best], 0.0)) + 1 - iou
    return float((said.scores * change).sum() / said.scores.sum())


def rank_layers(prepared: Prepared, ranges: Mapping[str, Range], judge: Judge) -> list[LayerError]:
    """All layers, the one that INT8 hurts most first. Each is judged with everything else in FP32."""
    errors = []
    for layer, nodes in tqdm(prepared.layers().items(), "layers", unit="layer", disable=None):
        others = [name for name in prepared.body if name not in nodes]
        errors.append(LayerError(layer, judge.error(quantize(prepared, ranges, others))))
    return sorted(errors, key=lambda one: -one.error)
