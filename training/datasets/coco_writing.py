"""A COCO-format annotation file that `read_coco` reads back: pedestrians, ignore regions, all else as `other`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge.errors import ProcessingError
from edge.records import Boxes, Modality, Scores
from training.datasets.records import LabelledPicture
from training.write_aside import write_aside

PEDESTRIAN_ID, IGNORE_ID, OTHER_ID = 1, 2, 3
CATEGORIES = [
    {"id": PEDESTRIAN_ID, "name": "pedestrian"},
    {"id": IGNORE_ID, "name": "ignore"},
    {"id": OTHER_ID, "name": "other"},
]


def write_coco(
    file: Path,
    pictures: Sequence[LabelledPicture],
    modality: Modality | None,
    scores: Mapping[Path, Scores] | None = None,
) -> Path:
    """Write `file`; the folder `images` beside it is made, and pictures outside it are named by their full path.

    Links are named, not what they lead to: two may lead to one picture, and a file name stands in COCO but once.

    `scores` are those of a picture's pedestrians, where they are a network's and no labels. The file is written aside,
    then renamed.

    Raises:
        ProcessingError: it cannot be written.
    """
    folder = file.parent / "images"
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, picture in enumerate(pictures, start=1):
        images.append(_image(picture, image_id, folder))
        people_scores = (scores or {}).get(picture.path)
        for category, boxes in (
            (PEDESTRIAN_ID, picture.boxes_xyxy),
            (IGNORE_ID, picture.ignore_xyxy),
            (OTHER_ID, picture.others_xyxy),
        ):
            for k, bbox in enumerate(_xywh(boxes)):
                entry = {"id": len(annotations) + 1, "image_id": image_id, "category_id": category, "bbox": bbox}
                if category == PEDESTRIAN_ID and people_scores is not None:
                    entry["score"] = round(float(people_scores[k]), 4)
                annotations.append(entry | {"iscrowd": 0})
    info = {"modality": modality} if modality else {}
    document = {"info": info, "images": images, "annotations": annotations, "categories": CATEGORIES}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ProcessingError(f"{folder} must be a folder, got {error}; move what is there") from None
    write_aside(file, lambda aside: aside.write(json.dumps(document).encode()))
    return file


def _image(picture: LabelledPicture, image_id: int, folder: Path) -> dict[str, Any]:
    inside = picture.path.is_relative_to(folder)
    return {
        "id": image_id,
        "file_name": picture.path.relative_to(folder).as_posix() if inside else str(picture.path.absolute()),
        "width": picture.size_wh.width,
        "height": picture.size_wh.height,
        "scene": picture.scene,
        "source": picture.source,
    }


def _xywh(boxes_xyxy: Boxes) -> list[list[float]]:
    return [[round(float(v), 3) for v in (x0, y0, x1 - x0, y1 - y0)] for x0, y0, x1, y1 in boxes_xyxy]
