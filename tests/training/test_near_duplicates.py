import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.records import Image, SizeWH
from tests.training.test_evaluation import boxes
from training.coco_scoring import DetectedPicture
from training.datasets import Dataset, LabelledPicture
from training.evaluation import Evaluation, judge
from training.image_files import save_sheet
from training.near_duplicates import find_near_duplicates, near_pairs, perceptual_hash
from training.pair_sheet import CELL_PX, pair_sheet


def place(seed: int, shift_px: int = 0, noise: float = 0.0) -> Image:
    """Ground of its own for each seed; moved and noisy as a frame a moment later."""
    rng = np.random.default_rng(seed)
    ground = cv2.resize(rng.integers(0, 256, (9, 12)).astype(np.uint8), (220, 160), interpolation=cv2.INTER_CUBIC)
    view = ground[10 : 10 + 128, 10 + shift_px : 10 + shift_px + 160].astype(float)
    noisy = view + np.random.default_rng(seed + 99).normal(0, noise, view.shape)
    return np.stack([np.clip(noisy, 0, 255).astype(np.uint8)] * 3, -1)


def saved(folder: Path, name: str, image: Image, people: int = 1, scene: str = "s") -> LabelledPicture:
    path = folder / name
    assert cv2.imwrite(str(path), image)
    rows = [[10.0, 10.0, 20.0, 30.0]] * people
    return LabelledPicture(path, SizeWH(160, 128), boxes(rows), boxes([]), scene, "made", boxes([]))


def evaluated(*pictures: LabelledPicture, found: bool = True) -> Evaluation:
    one = [
        DetectedPicture(p, 0.9, p.boxes_xyxy[:1], np.full(len(p.boxes_xyxy[:1]), 0.9, np.float32))
        if found or k == 0
        else DetectedPicture(p, 0.1, boxes([]), np.zeros(0, np.float32))
        for k, p in enumerate(pictures)
    ]
    return judge(one, 0.5, model="m", dataset="val")


def test_a_frame_a_moment_later_is_near_and_another_place_is_not() -> None:
    first = perceptual_hash(place(1))
    assert (first != perceptual_hash(place(1, noise=6))).mean() < 0.1
    assert (first != perceptual_hash(place(1, shift_px=3, noise=3))).mean() < 0.2
    for seed in range(2, 20):
        assert (first != perceptual_hash(place(seed))).mean() > 0.25


def test_near_duplicates_are_counted_and_ap50_is_told_without_them(tmp_path: Path) -> None:
    test = [saved(tmp_path, "t1.png", place(1, 2, 4), scene="a"), saved(tmp_path, "t2.png", place(2), scene="b")]
    training = Dataset(
        "train", None, (saved(tmp_path, "n.png", place(7), scene="b"), saved(tmp_path, "r.png", place(1), scene="c"))
    )
    found = find_near_duplicates(evaluated(*test, found=False), training)
    (pair,) = found.pairs
    assert (pair.test.path.name, pair.training.path.name) == ("t1.png", "r.png")
    assert found.same_scene == 1
    assert found.ap50 == pytest.approx(0.505, abs=0.01)
    assert found.ap50_without == 0.0
    assert "1 of 2 pictures nearly repeat one of train" in str(found)
    assert json.dumps(found.to_json())
    assert pair_sheet(found).shape[0] > CELL_PX
    assert save_sheet(pair_sheet(found), tmp_path / "pairs.png").stat().st_size > 1000


def test_where_every_picture_is_repeated_nothing_is_left_to_judge(tmp_path: Path) -> None:
    picture = saved(tmp_path, "t.png", place(1))
    found = find_near_duplicates(evaluated(picture), Dataset("train", None, (picture,)))
    assert (len(found.pairs), found.ap50_without) == (1, None)
    assert "without them -" in str(found)


def test_nothing_is_near_nothing(tmp_path: Path) -> None:
    picture = saved(tmp_path, "t.png", place(1))
    assert near_pairs([], [picture]) == ()
    assert near_pairs([picture], []) == ()
