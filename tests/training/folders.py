"""Labelled folders made by code, in every layout that the readers know."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np


def write_picture(path: Path, width: int = 64, height: int = 48) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = np.linspace(0, 200, height, dtype=np.uint8)[:, None, None]
    assert cv2.imwrite(str(path), np.broadcast_to(rows, (height, width, 3)).copy())
    return path


def write_text(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


CATEGORIES = [
    {"id": 1, "name": "pedestrian"},
    {"id": 3, "name": "car"},
    {"id": 5, "name": "ignore"},
    {"id": 6, "name": "rider"},
]


def coco_document(**changes: Any) -> dict[str, Any]:
    """Two pictures: one with a pedestrian, a car, an ignore region and a rider; one of empty ground."""
    boxes = [(1, [10, 10, 8, 16]), (3, [30, 20, 20, 10]), (5, [0, 40, 64, 8]), (6, [50, 4, 6, 9])]
    document = {
        "images": [
            {"id": 7, "file_name": "a.png", "width": 64, "height": 48, "source": "ours", "scene": "flight1"},
            {"id": 9, "file_name": "flight2_00012.png", "width": 64, "height": 48},
        ],
        "annotations": [
            {"id": k, "image_id": 7, "category_id": category, "bbox": box, "iscrowd": 0}
            for k, (category, box) in enumerate(boxes, start=1)
        ],
        "categories": CATEGORIES,
    }
    return document | changes


def write_coco(folder: Path, document: dict[str, Any] | None = None) -> Path:
    document = coco_document() if document is None else document
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for name in ("a.png", "flight2_00012.png"):
        write_picture(folder / "images" / name)
    write_text(folder / "annotations.json", json.dumps(document))
    return folder


def write_visdrone(folder: Path, text: str) -> Path:
    write_picture(folder / "images" / "0000086_00000_d_0000001.png")
    write_text(folder / "annotations" / "0000086_00000_d_0000001.txt", text)
    return folder


def write_yolo(folder: Path, labels: str, description: str = "train: images/train\nnames: [person, car]\n") -> Path:
    write_picture(folder / "images" / "train" / "a_001.png", 100, 50)
    write_picture(folder / "images" / "train" / "b.png", 100, 50)
    write_text(folder / "labels" / "train" / "a_001.txt", labels)
    write_text(folder / "data.yaml", description)
    return folder


def write_hit_uav(folder: Path, split: str = "val") -> Path:
    document = {
        "info": {"description": "PegasusDrone"},
        "images": [{"filename": "1_60.png", "height": 48, "width": 64, "id": 2319, "date_captured": "20210119"}],
        "annotation": [
            {"image_id": 2319, "bbox": [10, 20, 5, 12], "category_id": 0, "id": 1},
            {"image_id": 2319, "bbox": [30, 20, 9, 9], "category_id": 1, "id": 2},
            {"image_id": 2319, "bbox": [40, 30, 9, 9], "category_id": 4, "id": 3},
        ],
    }
    write_picture(folder / "normal_json" / split / "1_60.png")
    write_text(folder / "normal_json" / "annotations" / f"{split}.json", json.dumps(document))
    return folder
