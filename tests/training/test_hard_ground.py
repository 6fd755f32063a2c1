import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import InvalidValueError
from edge.records import SizeWH
from tests.models import write_spot_model
from training.augment import AugmentSettings, random_view
from training.datasets import Dataset, LabelledPicture
from training.hard_ground import STORED, with_hard_ground

SIDE_PX = 128
SPOTS = ((16, 16), (80, 80))  # upper left corners of bright squares that the spot model takes for people
SPOT_PX = 8


@pytest.fixture
def spots(tmp_path: Path) -> Dataset:
    """One picture with two bright spots: the first is labelled, the second is nobody."""
    image = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)
    for x, y in SPOTS:
        image[y : y + SPOT_PX, x : x + SPOT_PX] = 255
    cv2.imwrite(str(tmp_path / "p.png"), image)
    (x, y), nothing = SPOTS[0], np.zeros((0, 4), np.float32)
    person = np.array([[x, y, x + SPOT_PX, y + SPOT_PX]], np.float32)
    picture = LabelledPicture(tmp_path / "p.png", SizeWH(SIDE_PX, SIDE_PX), person, nothing, "s", "o", nothing)
    return Dataset("spots", "rgb", (picture,))


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(write_spot_model(tmp_path / "spots.onnx", modality="rgb", max_enlarge=1.0))


def test_what_is_found_beside_every_label_is_hard_ground(spots, model, tmp_path):
    found = with_hard_ground(spots, model, SIDE_PX, tmp_path / "run").pictures[0].hard_xyxy
    assert len(found)
    for x0, y0, x1, y1 in found:
        assert x0 < SPOTS[1][0] + SPOT_PX and x1 > SPOTS[1][0]  # noqa: PT018
        assert y0 < SPOTS[1][1] + SPOT_PX and y1 > SPOTS[1][1]  # noqa: PT018


def test_an_ignored_region_is_no_mistake(spots, model, tmp_path):
    everywhere = np.array([[0, 0, SIDE_PX, SIDE_PX]], np.float32)
    ignored = dataclasses.replace(spots, pictures=(dataclasses.replace(spots.pictures[0], ignore_xyxy=everywhere),))
    assert with_hard_ground(ignored, model, SIDE_PX, tmp_path / "run").pictures[0].hard_xyxy.shape == (0, 4)


def test_a_resumed_run_takes_what_was_found(spots, model, tmp_path):
    first = with_hard_ground(spots, model, SIDE_PX, tmp_path / "run")
    assert (tmp_path / "run" / STORED).exists()
    Path(model).unlink()
    again = with_hard_ground(spots, model, SIDE_PX, tmp_path / "run")
    np.testing.assert_array_equal(again.pictures[0].hard_xyxy, first.pictures[0].hard_xyxy)


def test_other_pictures_another_size_or_another_model_are_looked_at_anew(spots, model, tmp_path):
    first = with_hard_ground(spots, model, SIDE_PX, tmp_path / "run")
    twice = dataclasses.replace(spots, pictures=(*spots.pictures, *spots.pictures))
    assert len(with_hard_ground(twice, model, SIDE_PX, tmp_path / "run").pictures[1].hard_xyxy)
    blind = str(write_spot_model(tmp_path / "blind.onnx", modality="thermal"))
    for changed in ((spots, blind, SIDE_PX), (spots, str(tmp_path / "gone.onnx"), SIDE_PX)):
        with pytest.raises(InvalidValueError):
            with_hard_ground(*changed, tmp_path / "run")
    again = with_hard_ground(spots, model, 2 * SIDE_PX, tmp_path / "run")
    assert again.pictures[0].hard_xyxy.shape[1] == first.pictures[0].hard_xyxy.shape[1] == 4


def test_a_model_of_the_other_modality_is_refused(spots, tmp_path):
    thermal = str(write_spot_model(tmp_path / "thermal.onnx", modality="thermal"))
    with pytest.raises(InvalidValueError, match="mistakes-of must be a rgb model"):
        with_hard_ground(spots, thermal, SIDE_PX, tmp_path / "run")


def test_crops_are_drawn_around_hard_ground(spots):
    (x, y), image = SPOTS[1], cv2.imread(str(spots.pictures[0].path))
    settings = AugmentSettings(crop_px=32, max_enlarge=1.0, scale_low=1, scale_high=1, on_a_person=0, on_hard_ground=1)
    hard = dataclasses.replace(
        spots.pictures[0],
        hard_xyxy=np.array([[x, y, x + SPOT_PX, y + SPOT_PX]], np.float32),
        ignore_xyxy=np.empty((0, 4)),
    )
    for picture, least in ((hard, 1.0), (spots.pictures[0], 0.0)):
        seen = [
            random_view(picture, image, None, settings, np.random.default_rng(seed)).image.max() > 150
            for seed in range(30)
        ]
        assert np.mean(seen) >= least
        assert (np.mean(seen) < 1) == (least == 0)
