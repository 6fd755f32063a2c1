"""How good a model is, measured through the runtime that flies.

    evaluation = evaluate_model(Path("kestrel-rgb-small-fp32.onnx"), read_dataset(Path("flights/val")))
    evaluation.boxes.ap50, evaluation.presence.auroc

A teacher in PyTorch is judged by the same rules: `evaluate(recognise, dataset)` takes any function from a picture
(H, W, 3) uint8 BGR to a Recognition.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from edge.contract import MAX_DETECTIONS
from edge.errors import InvalidValueError
from edge.recognizer import Recognizer, RecognizerSettings
from edge.records import Image, Modality, Recognition, SizeWH
from training.coco_scoring import BoxScores, DetectedPicture, PictureMatch, match_pictures, score_ap50, score_boxes
from training.datasets import Dataset, LabelledPicture, load_image
from training.presence_scoring import PresenceScore, score_presence
from training.rounding import rounded

SCORE_FLOOR = 0.02  # below it a detection is not worth counting; AP needs all above

Vector = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class JudgedPicture:
    """One picture: what was said, and what of it was right."""

    detected: DetectedPicture
    match: PictureMatch


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What the detections with a score of at least `threshold` are worth. None: nothing to divide by."""

    threshold: float  # the mean, where each picture has its own
    precision: float | None  # of the detections outside ignore regions, the share that found a pedestrian
    recall: float | None
    f1: float | None
    count_mae: float  # mean over pictures of |detections - pedestrians|; detections in ignore regions count

    def to_json(self) -> dict[str, Any]:
        """Figures to 0.0001."""
        names = ("threshold", "precision", "recall", "f1", "count_mae")
        return {name: rounded(getattr(self, name)) for name in names}


@dataclass(frozen=True, slots=True)
class SourceScore:
    """One collection within the data set."""

    source: str
    pictures: int
    pedestrians: int
    ap50: float | None
    recall: float | None  # at the model's threshold
    false_alarms: int  # at the model's threshold

    def to_json(self) -> dict[str, Any]:
        """Figures to 0.0001."""
        return {
            "source": self.source,
            "pictures": self.pictures,
            "pedestrians": self.pedestrians,
            "AP50": rounded(self.ap50),
            "recall": rounded(self.recall),
            "false_alarms": self.false_alarms,
        }


@dataclass(frozen=True, slots=True)
class Curve:
    """Precision and recall after each counted detection, by descending score; where scores tie, the last of them."""

    scores: Vector  # (K,)
    precision: Vector  # (K,)
    recall: Vector  # (K,)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All figures of one model on one data set. `judged` holds the pictures behind them, for a report."""

    model: str
    dataset: str
    boxes: BoxScores
    presence: PresenceScore
    at_threshold: OperatingPoint  # the model's own threshold
    at_best_f1: OperatingPoint
    sources: tuple[SourceScore, ...]
    judged: tuple[JudgedPicture, ...]
    warnings: tuple[str, ...] = ()

    @property
    def pedestrians(self) -> int:
        """Targets in all pictures."""
        return sum(len(one.match.found_scores) for one in self.judged)

    def to_json(self) -> dict[str, Any]:
        """The figures alone, to 0.0001; the same model, data and threads give the same text."""
        heights = [
            {"low_px": h.low_px, "high_px": h.high_px, "pedestrians": h.pedestrians, "AP50": rounded(h.ap50)}
            for h in self.boxes.by_height
        ]
        return {
            "model": self.model,
            "dataset": self.dataset,
            "pictures": len(self.judged),
            "pedestrians": self.pedestrians,
            "AP50": rounded(self.boxes.ap50),
            "AP50_95": rounded(self.boxes.ap50_95),
            "centre_AP": rounded(self.boxes.centre_ap),
            "max_recall": rounded(self.boxes.max_recall),
            "AP50_by_height": heights,
            "at_threshold": self.at_threshold.to_json(),
            "at_best_F1": self.at_best_f1.to_json(),
            "presence": self.presence.to_json(),
            "sources": [source.to_json() for source in self.sources],
            "warnings": list(self.warnings),
        }


def evaluate_model(
    model_file: Path, dataset: Dataset, *, threads: int | None = None, input_wh: SizeWH | None = None
) -> Evaluation:
    """Judge an exported model.

    Raises:
        ModelError: no Kestrel model.
        DatasetError: a picture that cannot be decoded, or has another size than its annotation says.
    """
    recognizer = Recognizer(model_file, RecognizerSettings(threads, threshold=SCORE_FLOOR, input_wh=input_wh))
    warnings = (*dataset.warnings, *modality_warning(dataset, recognizer.metadata.modality))
    threshold = recognizer.metadata.score_threshold
    detected = detect(recognizer.recognise, dataset.pictures)
    return judge(detected, threshold, model=recognizer.info.name, dataset=dataset.name, warnings=warnings)


def modality_warning(dataset: Dataset, modality: Modality) -> tuple[str, ...]:
    """What to say of a data set that is not what the model is for."""
    if dataset.modality in (None, modality):
        return ()
    return (f"{dataset.name} is {dataset.modality} footage, the model is for {modality}",)


def evaluate(
    recognise: Callable[[Image], Recognition], dataset: Dataset, *, threshold: float = 0.5, model: str = "model"
) -> Evaluation:
    """Judge any function from a picture to a Recognition; its scores should reach down to `SCORE_FLOOR`.

    Raises:
        DatasetError: a picture that cannot be decoded, or has another size than its annotation says.
    """
    detected = detect(recognise, dataset.pictures)
    return judge(detected, threshold, model=model, dataset=dataset.name, warnings=dataset.warnings)


def detect(
    recognise: Callable[[Image], Recognition], pictures: Sequence[LabelledPicture]
) -> tuple[DetectedPicture, ...]:
    """Ask for every picture."""
    # disable=None: a progress bar on a terminal, none when piped
    shown = tqdm(pictures, desc="evaluate", unit="picture", disable=None)
    return tuple(as_detected(picture, recognise(load_image(picture))) for picture in shown)


def as_detected(picture: LabelledPicture, recognition: Recognition) -> DetectedPicture:
    """What is judged of an answer: at most 500 detections, with a score of at least `SCORE_FLOOR`."""
    order = np.argsort(-recognition.scores, kind="stable")[:MAX_DETECTIONS]
    order = order[recognition.scores[order] >= SCORE_FLOOR]
    return DetectedPicture(picture, recognition.presence, recognition.boxes_xyxy[order], recognition.scores[order])


def judge(
    detected: Sequence[DetectedPicture],
    threshold: float,
    *,
    model: str,
    dataset: str,
    warnings: tuple[str, ...] = (),
) -> Evaluation:
    """All figures of what was detected; `threshold` is the score from which the model says pedestrian."""
    if not detected:
        raise InvalidValueError("detected", "at least one picture", len(detected))
    judged = tuple(JudgedPicture(one, match) for one, match in zip(detected, match_pictures(detected), strict=True))
    return Evaluation(
        model=model,
        dataset=dataset,
        boxes=score_boxes(detected),
        presence=score_known_presence(judged, np.array([one.presence for one in detected], np.float64)),
        at_threshold=operating_point(judged, threshold),
        at_best_f1=operating_point(judged, best_f1_threshold(judged)),
        sources=score_sources(judged, threshold),
        judged=judged,
        warnings=warnings,
    )


def precision_recall(judged: Sequence[JudgedPicture]) -> Curve:
    """The raw curve at an IoU of 0.5: no interpolation, detections in ignore regions left out."""
    scores = _joined([one.detected.scores[~one.match.ignored] for one in judged])
    hits = _joined([one.match.hit[~one.match.ignored] for one in judged])
    order = np.argsort(-scores, kind="stable")
    scores, found = scores[order], np.cumsum(hits[order])
    last = np.flatnonzero(np.diff(scores, append=-1.0))  # no threshold can part detections of one score
    pedestrians = sum(len(one.match.found_scores) for one in judged)
    return Curve(scores[last], found[last] / (last + 1), found[last] / max(pedestrians, 1))


def best_f1_threshold(judged: Sequence[JudgedPicture]) -> float:
    """The score with the highest F1, the highest such score; 1 where nothing was found."""
    curve = precision_recall(judged)
    if not len(curve.scores):
        return 1.0
    f1 = 2 * curve.precision * curve.recall / np.maximum(curve.precision + curve.recall, 1e-12)
    return float(curve.scores[f1.argmax()])


def operating_point(judged: Sequence[JudgedPicture], threshold: float | Vector) -> OperatingPoint:
    """Precision, recall, F1 at an IoU of 0.5 and the error of the count, at one score threshold, or at one a picture.

    `threshold` (N,) has one for each of N pictures, as cross-fitting gives them.
    """
    thresholds = np.broadcast_to(np.asarray(threshold, np.float64), len(judged))
    hits = _hits(judged, thresholds)
    counted = sum(int(_counted(one, t).sum()) for one, t in zip(judged, thresholds, strict=True))
    pedestrians = sum(len(one.match.found_scores) for one in judged)
    errors = [
        abs(int((one.detected.scores >= t).sum()) - len(one.match.found_scores))
        for one, t in zip(judged, thresholds, strict=True)
    ]
    return OperatingPoint(
        threshold=float(thresholds.mean()),
        precision=hits / counted if counted else None,
        recall=hits / pedestrians if pedestrians else None,
        f1=2 * hits / (counted + pedestrians) if counted + pedestrians else None,
        count_mae=float(np.mean(errors)),
    )


def score_sources(judged: Sequence[JudgedPicture], threshold: float | Vector) -> tuple[SourceScore, ...]:
    """Each collection apart, by name; `threshold` as for `operating_point`."""
    thresholds = np.broadcast_to(np.asarray(threshold, np.float64), len(judged))
    rows = []
    for source in sorted({one.detected.picture.source for one in judged}):
        chosen = np.array([one.detected.picture.source == source for one in judged])
        part = [one for one, there in zip(judged, chosen, strict=True) if there]
        hits = _hits(part, thresholds[chosen])
        pedestrians = sum(len(one.match.found_scores) for one in part)
        counted = sum(int(_counted(one, t).sum()) for one, t in zip(part, thresholds[chosen], strict=True))
        rows.append(
            SourceScore(
                source=source,
                pictures=len(part),
                pedestrians=pedestrians,
                ap50=score_ap50([one.detected for one in part]),
                recall=hits / pedestrians if pedestrians else None,
                false_alarms=counted - hits,
            )
        )
    return tuple(rows)


def _hits(judged: Sequence[JudgedPicture], thresholds: Vector) -> int:
    return sum(int((one.match.found_scores >= t).sum()) for one, t in zip(judged, thresholds, strict=True))


def _counted(one: JudgedPicture, threshold: float) -> Mask:
    """Detections that are right or wrong, not ignored."""
    counted: Mask = ~one.match.ignored & (one.detected.scores >= threshold)
    return counted


def score_known_presence(judged: Sequence[JudgedPicture], presences: Vector) -> PresenceScore:
    """Judge `presences` (N,) of N pictures.

    Pictures that hold ignore regions alone are left out: nobody knows whether a pedestrian is in them.
    """
    pictures = [one.detected.picture for one in judged]
    positive = np.array([picture.shows_pedestrian is True for picture in pictures])
    known = np.array([picture.shows_pedestrian is not None for picture in pictures])
    return score_presence(presences[known], positive[known])


def _joined(parts: list[npt.NDArray[Any]]) -> Vector:
    return np.concatenate([np.zeros(0), *parts]).astype(np.float64)
