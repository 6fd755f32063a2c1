"""Detections against targets, by a published evaluator: the only file that knows faster-coco-eval.

COCO's rules (Lin et al., arXiv 1405.0312): detections are matched greedily by descending score, each to the free
pedestrian that it overlaps most; AP is the mean of 101 interpolated precisions. Ignore regions are crowds of the same
class: a detection without a pedestrian of its own, at least half of whose area lies in one, counts neither way. Three
things differ from COCO's defaults: 500 detections a picture instead of 100, size classes by height instead of area, and
for the centre AP the overlap is 1 where a detection's centre lies in the pedestrian's box, else 0.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from faster_coco_eval import COCO, COCOeval_faster  # type: ignore[import-untyped]

from edge.contract import MAX_DETECTIONS
from edge.errors import InvalidValueError
from edge.records import Boxes, Scores
from training.datasets import LabelledPicture

HEIGHT_EDGES_PX = (0.0, 16.0, 32.0, 64.0, 1e5)
MATCH_IOU = 0.5
_IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
_ALL_HEIGHTS = (HEIGHT_EDGES_PX[0], HEIGHT_EDGES_PX[-1])
_CLASS_ID = 1

Mask = npt.NDArray[np.bool_]
Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DetectedPicture:
    """What a model says of a labelled picture: boxes (N, 4) in picture pixels by descending score."""

    picture: LabelledPicture
    presence: float
    boxes_xyxy: Boxes
    scores: Scores

    def __post_init__(self) -> None:
        if self.boxes_xyxy.shape != (len(self.scores), 4):
            raise InvalidValueError("boxes_xyxy", f"of shape ({len(self.scores)}, 4)", self.boxes_xyxy.shape)


@dataclass(frozen=True, slots=True)
class PictureMatch:
    """Who found whom at an IoU of 0.5. Greedy matching keeps these true under any higher score threshold."""

    hit: Mask  # (N,) detections that found a pedestrian
    ignored: Mask  # (N,) detections in an ignore region: neither hit nor false alarm
    found_scores: Scores  # (M,) score of the detection that found each pedestrian, 0 where none did


@dataclass(frozen=True, slots=True)
class HeightScore:
    """AP50 of the pedestrians with low_px <= height < high_px."""

    low_px: float
    high_px: float | None  # None: no upper limit
    pedestrians: int
    ap50: float | None  # None: no such pedestrian


@dataclass(frozen=True, slots=True)
class BoxScores:
    """Average precisions in 0..1; None where there is no pedestrian to find."""

    ap50: float | None
    ap50_95: float | None
    centre_ap: float | None
    max_recall: float | None  # share of pedestrians found by any detection at all, at an IoU of 0.5
    by_height: tuple[HeightScore, ...]


def score_boxes(detected: Sequence[DetectedPicture]) -> BoxScores:
    """All average precisions of a set of pictures."""
    sheets = _Sheets.of(detected)
    plain = _evaluate(_IgnoreByHalf, sheets, _IOU_THRESHOLDS, _ALL_HEIGHTS)
    centre = _evaluate(_CentreEvaluator, sheets, np.array([MATCH_IOU]), _ALL_HEIGHTS)
    return BoxScores(
        ap50=_mean(plain["precision"][0, :, 0, 0, 0]),
        ap50_95=_mean(plain["precision"][:, :, 0, 0, 0]),
        centre_ap=_mean(centre["precision"][0, :, 0, 0, 0]),
        max_recall=_mean(plain["recall"][0, 0, 0, 0]),
        by_height=_score_heights(sheets),
    )


def score_ap50(detected: Sequence[DetectedPicture]) -> float | None:
    """AP50 alone; None where there is no pedestrian to find."""
    sheets = _Sheets.of(detected)
    result = _evaluate(COCOeval_faster, sheets, np.array([MATCH_IOU]), _ALL_HEIGHTS)
    return _mean(result["precision"][0, :, 0, 0, 0])


def match_pictures(detected: Sequence[DetectedPicture]) -> tuple[PictureMatch, ...]:
    """The evaluator's own matches at an IoU of 0.5, picture by picture."""
    sheets = _Sheets.of(detected)
    result = _evaluate(COCOeval_faster, sheets, np.array([MATCH_IOU]), _ALL_HEIGHTS)
    pairs = (pair.split("_") for pair in result["matched"])
    partner = {int(detection): int(target) for detection, target in pairs}  # by the evaluator's ids
    matches = []
    detection_id = target_id = 1
    for one in detected:
        count, pedestrians = len(one.scores), len(one.picture.boxes_xyxy)
        # A picture's pedestrians come before its ignore regions, so the offset tells which of both was met; -1: nobody.
        met = np.array([partner.get(detection_id + k, target_id - 1) - target_id for k in range(count)], dtype=np.int64)
        hit = (met >= 0) & (met < pedestrians)
        found_scores = np.zeros(pedestrians, dtype=np.float32)
        found_scores[met[hit]] = one.scores[hit]
        matches.append(PictureMatch(hit=hit, ignored=met >= pedestrians, found_scores=found_scores))
        detection_id += count
        target_id += pedestrians + len(one.picture.ignore_xyxy)
    return tuple(matches)


def _score_heights(sheets: "_Sheets") -> tuple[HeightScore, ...]:
    result = _evaluate(COCOeval_faster, sheets, np.array([MATCH_IOU]), HEIGHT_EDGES_PX)
    heights = np.array([row["area"] for row in sheets.targets.dataset["annotations"] if not row["iscrowd"]])
    scores = []
    for k, (low, high) in enumerate(itertools.pairwise(HEIGHT_EDGES_PX)):
        last = high == HEIGHT_EDGES_PX[-1]
        ap50 = _mean(result["precision"][0, :, 0, k, 0])
        inside = int(((heights >= low) & (heights < high)).sum())
        scores.append(HeightScore(low, None if last else high, inside, ap50))
    return tuple(scores)


def _evaluate(evaluator: Any, sheets: "_Sheets", iou_thresholds: Matrix, height_edges: tuple[float, ...]) -> Any:
    """Run the evaluator; `precision` (T, 101, 1, heights, 1), `recall` (T, 1, heights, 1), -1 where undefined."""
    run = evaluator(sheets.targets, sheets.detections, iouType="bbox", print_function=_silent)
    run.params.maxDets = [MAX_DETECTIONS]
    run.params.iouThrs = iou_thresholds
    # The evaluator's ranges include both ends.
    ranges = [[low, float(np.nextafter(high, low))] for low, high in itertools.pairwise(height_edges)]
    run.params.areaRng = ranges
    run.params.areaRngLbl = [f"{low:g}" for low, _ in ranges]
    run.evaluate()
    run.accumulate()
    return run.eval


class _IgnoreByHalf(COCOeval_faster):  # type: ignore[misc]  # the library has no types
    """The published evaluator, but half of a detection in an ignore region is enough at every threshold.

    Else one that lies in it by nine tenths would be a false alarm where an IoU of 0.95 is asked of pedestrians.
    """

    def computeIoU(self, imgId: int, catId: int) -> Any:  # noqa: N802, N803  # the library's names
        overlap = np.asarray(super().computeIoU(imgId, catId), dtype=np.float64)  # (detections, targets)
        if not overlap.size:
            return []
        rows = self.gt_dataset.get_instances([imgId], [catId], True)[0][0]
        crowd = np.array([bool(row["iscrowd"]) for row in rows])
        return np.where(crowd[None, :], overlap >= MATCH_IOU, overlap)


class _CentreEvaluator(COCOeval_faster):  # type: ignore[misc]  # the library has no types
    """The published evaluator with another overlap: 1 where the detection's centre lies in the pedestrian's box."""

    def computeIoU(self, imgId: int, catId: int) -> Any:  # noqa: N802, N803  # the library's names
        rows = self.gt_dataset.get_instances([imgId], [catId], True)[0][0]
        if not rows:
            return []
        coverage = np.asarray(super().computeIoU(imgId, catId), dtype=np.float64)  # (detections, targets)
        if not coverage.size:
            return []
        found = self.dt_dataset.get_instances([imgId], [catId], True)[0][0]
        order = np.argsort([-row["score"] for row in found], kind="mergesort")[:MAX_DETECTIONS]
        centres = _xywh_to_xyxy([found[k]["bbox"] for k in order])
        targets = _xywh_to_xyxy([row["bbox"] for row in rows])
        inside = _centre_inside(centres, targets)
        # Of several boxes around one centre the first listed is taken: the evaluator takes the highest overlap.
        inside *= 1.0 - 1e-9 * np.arange(len(rows))
        crowd = np.array([bool(row["iscrowd"]) for row in rows])
        return np.where(crowd[None, :], coverage, inside)


def _centre_inside(boxes_xyxy: Matrix, targets_xyxy: Matrix) -> Matrix:
    """(N, M): 1.0 where the centre of box n lies in target m, its border included."""
    x, y = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]).T[:, :, None] / 2  # two of (N, 1)
    x0, y0, x1, y1 = targets_xyxy.T
    inside: Matrix = ((x0 <= x) & (x <= x1) & (y0 <= y) & (y <= y1)).astype(np.float64)
    return inside


def _xywh_to_xyxy(rows: Sequence[Sequence[float]]) -> Matrix:
    boxes = np.array(rows, dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


@dataclass(frozen=True, slots=True)
class _Sheets:
    """Targets and detections in the evaluator's own form. `area` holds the height: sizes go by height here."""

    targets: Any
    detections: Any

    @classmethod
    def of(cls, detected: Sequence[DetectedPicture]) -> "_Sheets":
        images: list[dict[str, Any]] = []
        targets: list[dict[str, Any]] = []
        detections: list[dict[str, Any]] = []
        for image_id, one in enumerate(detected, start=1):
            size_wh = one.picture.size_wh
            images.append({"id": image_id, "width": size_wh.width, "height": size_wh.height})
            for boxes_xyxy, iscrowd in ((one.picture.boxes_xyxy, 0), (one.picture.ignore_xyxy, 1)):
                targets += [row | {"iscrowd": iscrowd} for row in _rows(boxes_xyxy, image_id, len(targets) + 1)]
            found = _rows(one.boxes_xyxy, image_id, len(detections) + 1)
            detections += [row | {"score": float(score)} for row, score in zip(found, one.scores, strict=True)]
        return cls(_sheet(images, targets), _sheet(images, detections))


def _rows(boxes_xyxy: Boxes, image_id: int, first_id: int) -> list[dict[str, Any]]:
    # Rounded, because float32 makes 16.000001 of a height of 16, and the ends of the size classes are whole numbers.
    corners = np.round(boxes_xyxy.astype(np.float64), 3)
    sides = np.round(corners[:, 2:] - corners[:, :2], 3)
    return [
        {
            "id": first_id + k,
            "image_id": image_id,
            "category_id": _CLASS_ID,
            "bbox": [x, y, width, height],
            "area": height,
        }
        for k, ((x, y), (width, height)) in enumerate(zip(corners[:, :2].tolist(), sides.tolist(), strict=True))
    ]


def _sheet(images: list[dict[str, Any]], rows: list[dict[str, Any]]) -> Any:
    sheet = COCO()
    sheet.dataset = {"images": images, "annotations": rows, "categories": [{"id": _CLASS_ID, "name": "pedestrian"}]}
    sheet.createIndex()
    return sheet


def _mean(values: Any) -> float | None:
    mean = float(np.mean(values))
    return None if mean < 0 else mean


def _silent(*_: object) -> None:
    """The evaluator reports its progress here."""
