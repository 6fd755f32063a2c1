import dataclasses
from pathlib import Path

import numpy as np

from edge.records import Boxes
from training.augment import AugmentSettings, random_view
from training.datasets import LabelledPicture, ScoredBoxes

NOTHING = np.zeros((0, 4), np.float32)


def boxes(*rows: tuple[float, ...]) -> Boxes:
    return np.array(rows, np.float32).reshape(-1, 4)


def scored(*rows: tuple[float, float, float, float, float]) -> ScoredBoxes:
    table = np.array(rows, np.float32).reshape(-1, 5)
    return ScoredBoxes(table[:, :4], table[:, 4])


def view(picture: LabelledPicture, seed: int):
    image = np.full((300, 400, 3), 60, np.uint8)
    return random_view(picture, image, None, AugmentSettings(crop_px=160), np.random.default_rng(seed))


def test_scored_boxes_travel_through_the_augmentation_as_the_labels_do():
    person = boxes((150, 100, 190, 180), (20, 30, 60, 110))
    told = ScoredBoxes(person, np.array([0.9, 0.4], np.float32))
    picture = LabelledPicture(Path("p.png"), None, person, NOTHING, "s", "o", NOTHING, told)
    seen = 0
    for seed in range(40):
        targets = view(picture, seed).targets
        assert targets.scored is not None
        np.testing.assert_array_equal(targets.scored.boxes_xyxy, targets.boxes_xyxy)
        assert set(targets.scored.scores.tolist()) <= set(told.scores.tolist())
        seen += len(targets.boxes_xyxy)
    assert seen > 20


def test_a_picture_that_no_extra_teacher_saw_has_no_scored_boxes_and_the_same_view():
    person = boxes((150, 100, 190, 180))
    unseen = LabelledPicture(Path("p.png"), None, person, NOTHING, "s", "o", NOTHING)
    seen = dataclasses.replace(unseen, scored=scored())
    assert view(unseen, 3).targets.scored is None
    assert view(seen, 3).targets.scored is not None
    np.testing.assert_array_equal(view(unseen, 3).image, view(seen, 3).image)
