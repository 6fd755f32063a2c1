"""Test-time averaging: a picture is looked at in several scales, mirrored, and by each network of an ensemble.

What the views agree on counts more. For a teacher, who has time. Detections are fused by weighted boxes (Solovyev et
al., arXiv 1910.13302).
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.errors import InvalidValueError
from edge.records import Boxes, Image, Modality, Recognition, Scores
from training.augment import InputRule
from training.networks.ensemble import Ensemble
from training.torch_recognizer import TorchRecognizer

SCALES: Mapping[Modality, tuple[float, ...]] = {  # a look at less costs little and contradicts most false alarms
    "rgb": (0.55, 0.75, 1.0),
    "thermal": (0.625, 0.833, 1.0),  # people are small there: at much less they are gone
}
FUSE_IOU = 0.5
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class AveragedRecognizer:
    """A `TorchRecognizer` that asks itself once a view, and each network of an ensemble by itself.

    Presence is the highest score after averaging, since a false alarm is seldom raised by every view.
    """

    recognizer: TorchRecognizer
    scales: tuple[float, ...]  # of the network's input, relative to the recognizer's own
    flip: bool = True

    def __post_init__(self) -> None:
        if not self.scales or not all(0.1 <= scale <= 10 for scale in self.scales):
            raise InvalidValueError("scales", "one at least, each in 0.1..10", self.scales)

    def recognise(self, image: Image) -> Recognition:
        """(H, W, 3) uint8 BGR -> detections in its pixels; the times are those of all views together."""
        network, usual, views = self.recognizer.network, self.recognizer.input_rule, []
        asked = network.networks if isinstance(network, Ensemble) else (network,)
        for scale, one in itertools.product(self.scales, asked):
            scaled = dataclasses.replace(
                self.recognizer,
                network=one,
                input_rule=InputRule(round(usual.default_long_side * scale), usual.max_enlarge * scale),
            )
            views.append(scaled.recognise(image))
            if self.flip:
                mirrored = scaled.recognise(np.ascontiguousarray(image[:, ::-1]))
                views.append(dataclasses.replace(mirrored, boxes_xyxy=mirror(mirrored.boxes_xyxy, image.shape[1])))
        return fuse(views, FUSE_IOU)


def mirror(boxes_xyxy: Boxes, width: int) -> Boxes:
    """(N, 4) boxes of a picture of that width -> those of its mirror image."""
    x0, y0, x1, y1 = boxes_xyxy.T
    return np.stack((width - x1, y0, width - x0, y1), axis=1).astype(np.float32)


def fuse(views: Sequence[Recognition], min_iou: float) -> Recognition:
    """One answer from several to the same picture.

    Boxes that overlap by `min_iou` and more are one person: its box is their mean weighted by score, its score the mean
    over the views, where a view that did not see it says 0, and one that saw it twice says the higher score.
    """
    boxes = np.concatenate([v.boxes_xyxy for v in views]).astype(np.float64)
    scores = np.concatenate([v.scores for v in views]).astype(np.float64)
    origin = np.repeat(np.arange(len(views)), [len(v.scores) for v in views])
    fused: list[Vector] = []  # of each person: the mean box so far
    members: list[list[int]] = []
    for index in np.argsort(-scores, kind="stable"):
        overlaps = _iou(boxes[index], np.array(fused).reshape(-1, 4))
        if overlaps.max(initial=0.0) >= min_iou:
            person = int(overlaps.argmax())
            members[person].append(int(index))
            fused[person] = np.average(boxes[members[person]], axis=0, weights=scores[members[person]] + 1e-9)
        else:
            members.append([int(index)])
            fused.append(boxes[index])
    agreed = np.array([_agreed(scores[m], origin[m], len(views)) for m in members])
    order = np.argsort(-agreed, kind="stable")
    found: Boxes = np.array(fused, np.float32).reshape(-1, 4)[order]
    kept: Scores = agreed.astype(np.float32)[order]
    return Recognition(
        presence=float(kept.max(initial=0.0)),
        boxes_xyxy=found,
        scores=kept,
        preprocess_ms=sum(v.preprocess_ms for v in views),
        infer_ms=sum(v.infer_ms for v in views),
        postprocess_ms=sum(v.postprocess_ms for v in views),
    )


def _agreed(scores: Vector, origin: npt.NDArray[np.int64], views: int) -> float:
    best = np.zeros(views)
    np.maximum.at(best, origin, scores)
    return float(best.mean())


def _iou(box: Vector, others: Vector) -> Vector:
    """(4,) and (N, 4) -> (N,)."""
    corner, opposite = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.clip(opposite - corner, 0, None).prod(1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - shared
    overlaps: Vector = shared / np.maximum(union, 1e-9)
    return overlaps
