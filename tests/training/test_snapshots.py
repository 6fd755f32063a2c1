from pathlib import Path

import numpy as np
import pytest

from edge.records import SizeWH
from training.coco_scoring import DetectedPicture
from training.datasets import LabelledPicture
from training.snapshots import Snapshot, best, cross_fitted, quality_of, stale

NONE = np.zeros((0, 4), np.float32)
PERSON = np.array([[10, 10, 20, 40]], np.float32)
ELSEWHERE = PERSON + 30


def answer(right: bool, name: str = "a", scene: str = "s", empty: bool = False, score: float = 0.9) -> DetectedPicture:
    """One picture, and one detection in it: on the person, or beside it; none of an empty picture that is answered."""
    people = NONE if empty else PERSON
    picture = LabelledPicture(Path(f"{name}.png"), SizeWH(96, 96), people, NONE, scene, "ours", NONE)
    boxes = (NONE if right else PERSON) if empty else (PERSON if right else ELSEWHERE)
    scores = np.full(len(boxes), score, np.float32)
    return DetectedPicture(picture, float(scores.max(initial=0.0)), boxes, scores)


def snapshot(step: int, *right: bool, scenes: str = "") -> Snapshot:
    """Answers to as many pictures with one person each."""
    names = scenes or "".join(chr(97 + k) for k in range(len(right)))
    pairs = zip(right, names, strict=True)
    return Snapshot(step, {}, tuple(answer(r, f"{k}", scene) for k, (r, scene) in enumerate(pairs)))


@pytest.mark.parametrize(
    ("detected", "quality"),
    [
        ([], 0.0),
        ([answer(True)], 1.0),  # nobody knows about empty pictures
        ([answer(False)], 0.0),
        ([answer(True), answer(True, empty=True)], 1.0),
        ([answer(True), answer(False, empty=True)], 0.75),  # as sure of nobody as of somebody: AUROC 0.5
        ([answer(True, empty=True)], 0.0),
    ],
)
def test_quality_is_the_mean_of_what_the_pictures_can_tell(detected, quality):
    assert quality_of(detected) == pytest.approx(quality, abs=0.01)


def test_the_best_is_the_earliest_of_equals():
    first, second = snapshot(10, True, True), snapshot(20, True, True)
    assert best([snapshot(5, True, False), first, second]) is first


def test_a_run_is_stale_when_the_best_is_long_ago():
    good, bad = snapshot(1, True), [snapshot(k, False) for k in range(2, 6)]
    assert not stale([], 3)
    assert not stale([good, *bad[:2]], 3)
    assert stale([good, *bad[:3]], 3)


def test_every_picture_is_answered_by_the_snapshot_that_is_best_on_the_others():
    one, other = snapshot(1, True, True, True, False), snapshot(2, False, False, False, True)
    answers = cross_fitted([one, other])
    assert [a.picture.path for a in answers] == [d.picture.path for d in one.detected]
    # Whoever is chosen without looking at the fourth picture answers it wrongly: no flattery.
    assert np.array_equal(answers[3].boxes_xyxy, ELSEWHERE)
    assert np.array_equal(answers[0].boxes_xyxy, PERSON)


def test_pictures_of_one_scene_are_cut_apart_and_a_single_picture_answers_for_itself():
    alike = [snapshot(1, True, True, True, scenes="sss"), snapshot(2, False, False, False, scenes="sss")]
    assert quality_of(cross_fitted(alike)) == pytest.approx(1.0)
    assert quality_of(cross_fitted([snapshot(1, False), snapshot(2, True)])) == pytest.approx(1.0)
