"""An extra teacher: what any other detector said of the training pictures, as scored COCO predictions.

The file is what COCO calls results, a JSON list of `{"image_id": 7, "category_id": 1, "bbox": [x, y, width, height],
"score": 0.83}` with boxes in pixels of the whole picture: the detector's own boxes after its NMS, with a low threshold
(0.05), since its doubts teach as well. torchvision, MMDetection, Detectron2, YOLOX and others write it; by hand it is

    predictions = [
        {"image_id": image["id"], "category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0], "score": score}
        for image in json.load(open("data/rgb-train/annotations.json"))["images"]
        for x0, y0, x1, y1, score in my_detector(image["file_name"])
    ]
    json.dump(predictions, open("predictions.json", "w"))

`image_id` is the id in the COCO annotation file; for the other formats, and instead of it, the picture's file name with
or without its suffix. A picture without predictions counts as one in which nobody was found.
"""

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge.records import SizeWH
from training.datasets import Dataset, DatasetError, LabelledPicture, ScoredBoxes
from training.datasets.coco import CocoFiles, Entry, find_coco, find_coco_splits, load_document, picture_path
from training.datasets.labels import kind_of_class
from training.datasets.split_choice import choose_split

SCORE_FLOOR = 0.05  # fainter boxes teach nothing
PERSON = 1  # in COCO's own categories
OUTSIDE_SHARE = 0.01  # of boxes wholly outside their picture; more means that they belong to other pictures


@dataclass(frozen=True, slots=True)
class Prediction:
    """One scored box in pixels of its picture."""

    picture: int  # index in the data set
    box_xyxy: tuple[float, float, float, float]
    score: float


@dataclass(frozen=True, slots=True)
class Names:
    """What a predictions file may call a picture, and what it calls a pedestrian."""

    by_id: Mapping[int, int]
    by_name: Mapping[str, int]
    pedestrians: frozenset[int]


def with_predictions(dataset: Dataset, folder: Path, file: Path, category: int | None) -> Dataset:
    """The data set whose pictures carry the boxes of `file`.

    Args:
        dataset: what is learnt from.
        folder: where it was read from; its annotation file knows the ids.
        file: scored COCO predictions.
        category: of pedestrians in `file`; None: those of the annotation file, or 1.

    Raises:
        DatasetError: unreadable, not scored predictions, of other pictures, or without a pedestrian.
    """
    names = _names(dataset, folder, category)
    rows = _rows(file)
    found = [p for place, row in enumerate(rows) if (p := _prediction(Entry(f"{file}[{place}]", row), names))]
    if not found:
        counts = Counter(row.get("category_id") for row in rows)
        raise DatasetError(
            f"{file} must hold boxes of category {' or '.join(map(str, sorted(names.pedestrians)))} with a score of "
            f"{SCORE_FLOOR} and more, got category_id {dict(counts.most_common(5))}; name the category of pedestrians"
        )
    boxes = _by_picture(dataset, found, file)
    pictures = tuple(dataclasses.replace(p, scored=b) for p, b in zip(dataset.pictures, boxes, strict=True))
    without = sum(not len(b.scores) for b in boxes)
    warning = f"{file.name} has no box in {without} of {len(boxes)} pictures; they count as empty of people"
    warnings = (*dataset.warnings, warning) if without else dataset.warnings
    return dataclasses.replace(dataset, pictures=pictures, warnings=warnings)


def _rows(file: Path) -> list[Mapping[str, Any]]:
    try:
        rows = json.loads(file.read_bytes())
    except OSError as error:
        raise DatasetError(f"extra teacher must be a readable file, got {str(file)!r}; {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{file} must be JSON, got something else; {error}") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DatasetError(
            f"{file} must be a list of objects with image_id, category_id, bbox and score (COCO results), got "
            f"{'a list of others' if isinstance(rows, list) else 'an object'}; labels are no predictions"
        )
    if not rows:
        raise DatasetError(f"{file} must hold at least one box, got none; run the detector with a lower threshold")
    return rows


def _prediction(entry: Entry, names: Names) -> Prediction | None:
    """None for other classes, for faint boxes and for boxes without a side."""
    if entry.integer("category_id") not in names.pedestrians:
        return None
    score = entry.values.get("score")
    if not isinstance(score, int | float) or not 0 <= score <= 1:
        raise DatasetError(f"{entry.place}: score must be in 0..1, got {score!r}; labels have none, predictions do")
    x, y, width, height = entry.box()
    if not all(map(math.isfinite, (x, y, width, height))):
        raise DatasetError(f"{entry.place}: bbox must be finite, got {[x, y, width, height]}")
    if score < SCORE_FLOOR or width <= 0 or height <= 0:
        return None
    return Prediction(_picture(entry, names), (x, y, x + width, y + height), float(score))


def _picture(entry: Entry, names: Names) -> int:
    image_id = entry.values.get("image_id")
    index = names.by_name.get(image_id) if isinstance(image_id, str) else names.by_id.get(entry.integer("image_id"))
    if index is None:
        raise DatasetError(
            f"{entry.place}: image_id must be the id or file name of a picture of the data set, got {image_id!r}; "
            "run the detector on these very pictures"
        )
    return index


def _names(dataset: Dataset, folder: Path, category: int | None) -> Names:
    """A file's name, with or without its ending, stands for a picture where no other has it; a path always does."""
    counts = Counter(name for picture in dataset.pictures for name in {picture.path.name, picture.path.stem})
    by_name: dict[str, int] = {}
    for index, picture in enumerate(dataset.pictures):
        path = picture.path
        by_name |= {name: index for name in (path.name, path.stem) if counts[name] == 1}
        if path.is_relative_to(folder):
            by_name[path.relative_to(folder).as_posix()] = index
    by_id = {int(name): index for name, index in by_name.items() if name.isdecimal()}
    pedestrians = {PERSON}
    files = _coco_files(folder)
    if files is not None:
        document = load_document(files.annotations)
        places = {picture.path: index for index, picture in enumerate(dataset.pictures)}
        paths = {entry.integer("id"): picture_path(entry, files) for entry in document.entries("images")}
        by_id = {image_id: places[path] for image_id, path in paths.items() if path in places}
        below = {path: i for path, i in places.items() if path.is_relative_to(files.images)}
        by_name |= {path.relative_to(files.images).as_posix(): index for path, index in below.items()}
        categories = document.entries("categories")
        pedestrians = {e.integer("id") for e in categories if kind_of_class(e.text("name")) == "pedestrian"}
    return Names(by_id, by_name, frozenset(pedestrians if category is None else {category}))


def _coco_files(folder: Path) -> CocoFiles | None:
    """Those that `read_dataset` reads to learn from; None for a data set of another format."""
    splits = find_coco_splits(folder)
    return find_coco(folder) or (splits[choose_split(folder, tuple(splits), None, "train")] if splits else None)


def _by_picture(dataset: Dataset, found: Sequence[Prediction], file: Path) -> list[ScoredBoxes]:
    """Boxes of each picture, clipped to it."""
    rows: list[list[Prediction]] = [[] for _ in dataset.pictures]
    for prediction in found:
        rows[prediction.picture].append(prediction)
    boxes = [_clipped(picture, part) for picture, part in zip(dataset.pictures, rows, strict=True)]
    lost = len(found) - sum(len(b.scores) for b in boxes)
    if lost > OUTSIDE_SHARE * len(found):
        raise DatasetError(
            f"{file}: boxes must lie in their pictures, got {lost} of {len(found)} outside; "
            "write pixels of the whole picture, not of the detector's input"
        )
    return boxes


def _clipped(picture: LabelledPicture, found: Sequence[Prediction]) -> ScoredBoxes:
    size: SizeWH = picture.size_wh
    boxes = np.array([p.box_xyxy for p in found], np.float32).reshape(-1, 4)
    boxes = np.clip(boxes, 0, np.array([size.width, size.height] * 2, np.float32))
    inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return ScoredBoxes(boxes[inside], np.array([p.score for p in found], np.float32)[inside])
