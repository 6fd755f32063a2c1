"""A world that a tiny network learns in seconds: bright upright people on dark ground, and a backbone to match."""

import json
from pathlib import Path

import cv2
import numpy as np

from edge.records import Image
from training.engine import TrainSettings
from training.networks.student import StudentSpec
from training.networks.teacher import TeacherSpec
from training.run import RunSettings

BACKBONE = "test_efficientnet"  # 80,000 parameters; timm has it for tests such as these
SIDE_PX = 96
PERSON_WH = (12, 24)
STUDENT = StudentSpec(backbone=BACKBONE, width=16, class_depth=1, box_depth=1, frozen_stages=0)
TEACHER = TeacherSpec(backbone=BACKBONE, width=16, class_depth=1, box_depth=1, frozen_stages=0)


def draw_people(corners: list[tuple[int, int]], seed: int = 0) -> Image:
    """(96, 96, 3) ground with noise, and a person at every upper left corner."""
    image = np.random.default_rng(seed).integers(20, 60, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    for x, y in corners:
        image[y : y + PERSON_WH[1], x : x + PERSON_WH[0]] = (200, 220, 240)
    return image


def write_people(folder: Path, pictures: int = 2) -> Path:
    """A COCO folder; odd pictures hold two people, even ones (from the second on) one, every fourth none."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    images, annotations = [], []
    for k in range(pictures):
        people = 0 if k % 4 == 3 else 2 - k % 2
        corners = [(int(rng.integers(4, 32)) + 44 * n, int(rng.integers(4, 68))) for n in range(people)]
        assert cv2.imwrite(str(folder / "images" / f"{k}.png"), draw_people(corners, seed=k))
        images.append({"id": k, "file_name": f"{k}.png", "width": SIDE_PX, "height": SIDE_PX, "scene": f"s{k // 2}"})
        annotations += [{"image_id": k, "category_id": 1, "bbox": [*corner, *PERSON_WH]} for corner in corners]
    document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "pedestrian"}]}
    (folder / "annotations.json").write_text(json.dumps(document))
    return folder


def run_settings(
    dataset: Path, out: Path, kind: str = "student", steps: int = 3, epoch_steps: int = 2, **changes: object
) -> RunSettings:
    """A run of seconds."""
    values: dict[str, object] = {
        "kind": kind,
        "dataset": dataset,
        "out": out,
        "spec": (STUDENT if kind == "student" else TEACHER).to_json(),
        "train": TrainSettings(
            steps=steps, batch_size=4, learning_rate=3e-3, warmup_steps=5, flat_share=0.7, epoch_steps=epoch_steps
        ),
        "weights": "none",
        "crop_px": 64,
        **changes,
    }
    return RunSettings(**values)  # type: ignore[arg-type]
