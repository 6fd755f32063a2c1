from pathlib import Path

import numpy as np
import pytest

from edge.contract import Calibration
from edge.records import SizeWH
from training.calibration import (
    FOLDS,
    Fit,
    fit,
    fit_platt,
    folds_by_scene,
    logit,
    presence_of,
    sigmoid,
    verdict_rule,
)
from training.coco_scoring import DetectedPicture
from training.datasets import LabelledPicture
from training.evaluation import judge
from training.presence_scoring import auroc

BOX = np.array([[10, 10, 20, 30]], np.float32)
NO_BOX = np.zeros((0, 4), np.float32)


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (2.5, -1.0), (0.5, 1.5)])
def test_platt_finds_the_slope_and_intercept_that_made_the_data(slope, intercept):
    rng = np.random.default_rng(0)
    scores = sigmoid(rng.normal(0, 2, 20000))
    positive = rng.random(len(scores)) < sigmoid(slope * logit(scores) + intercept)
    found = fit_platt(scores, positive)
    assert found.slope == pytest.approx(slope, rel=0.07)
    assert found.intercept == pytest.approx(intercept, abs=0.08)


def test_perfectly_separable_scores_stay_finite_and_keep_their_order():
    scores = np.array([0.02, 0.1, 0.2, 0.8, 0.9, 0.98])
    found = fit_platt(scores, scores > 0.5)
    presences = presence_of(scores, found)
    assert np.isfinite([found.slope, found.intercept]).all()
    assert (np.diff(presences) >= 0).all()
    assert presences[2] < 0.5 < presences[3]
    assert presences[0] > 0
    assert presences[-1] < 1


@pytest.mark.parametrize(
    ("scores", "positive"),
    [
        ([0.711, 0.617, 0.395, 0.02], [True, True, True, False]),  # Newton's method alone jumps to and fro here
        ([0.0, 0.1, 0.2, 0.8, 0.9, 1.0], [False, False, False, True, True, True]),
        ([0.3, 0.4, 0.5, 0.6, 0.7], [False, True, False, True, True]),
    ],
)
def test_the_fit_cannot_be_improved_by_moving_either_number(scores, positive):
    tops, truths = np.array(scores), np.array(positive)
    ups, downs = truths.sum(), (~truths).sum()
    targets = np.where(truths, (ups + 1) / (ups + 2), 1 / (downs + 2))

    def loss(slope: float, intercept: float) -> float:
        p = presence_of(tops, Calibration(slope, intercept))
        return float(-(targets * np.log(p) + (1 - targets) * np.log(1 - p)).sum())

    found = fit_platt(tops, truths)
    best = loss(found.slope, found.intercept)
    for nudge in (-1e-3, 1e-3):
        assert best <= loss(found.slope + nudge, found.intercept)
        assert best <= loss(found.slope, found.intercept + nudge)


@pytest.mark.parametrize("positive", [True, False])
def test_with_one_kind_of_picture_there_is_nothing_to_fit(positive):
    assert fit_platt(np.array([0.2, 0.9]), np.array([positive] * 2)) == Calibration(1.0, 0.0)
    assert fit_platt(np.zeros(0), np.zeros(0, bool)) == Calibration(1.0, 0.0)


@pytest.mark.parametrize(
    ("scores", "positive"),
    [
        ([0.9, 0.9, 0.9, 0.9], [True, True, True, False]),  # scores that say nothing
        ([0.1, 0.2, 0.8, 0.9] * 5, [True, True, True, False] * 5),  # higher scores, fewer people
    ],
)
def test_scores_without_meaning_give_the_share_of_positives(scores, positive):
    found = fit_platt(np.array(scores), np.array(positive))
    assert found.slope > 0
    assert presence_of(np.array(scores), found) == pytest.approx(np.mean(positive), abs=0.12)


@pytest.mark.parametrize(
    "scenes",
    [
        [],
        ["a"],
        ["a"] * 7 + ["b"],
        [f"s{k % 23}" for k in range(100)],
        [f"s{min(k, 3)}" for k in range(40)],
    ],
)
def test_no_scene_lies_in_two_folds(scenes):
    folds = folds_by_scene(scenes, np.arange(len(scenes)) % 3 == 0)
    assert len(folds) == len(scenes)
    assert len(set(zip(scenes, folds.tolist(), strict=True))) == len(set(scenes))


@pytest.mark.parametrize("scene_has_people", [lambda k: k % 2 == 0, lambda k: k % 23 < 5, lambda k: True])
def test_folds_have_about_their_share_of_either_kind(scene_has_people):
    positive = np.array([scene_has_people(k) for k in range(230)])
    folds = folds_by_scene([f"s{k % 23}" for k in range(230)], positive)
    for kind in (positive, ~positive):
        counts = np.bincount(folds[kind], minlength=FOLDS)
        assert counts.sum() == kind.sum()
        assert counts.max() - counts.min() <= 10


def picture(scene: str, people: bool, ignored: bool = False) -> LabelledPicture:
    boxes, regions = BOX if people else NO_BOX, BOX if ignored else NO_BOX
    return LabelledPicture(Path(f"{scene}.png"), SizeWH(64, 64), boxes, regions, scene, "o", NO_BOX)


def fitted(*told: tuple[str, bool, float], ignored: bool = False) -> Fit:
    """Of pictures (scene, people, score of the one detection on the person)."""
    detected = [
        DetectedPicture(picture(scene, people, ignored), score, BOX, np.array([score], np.float32))
        for scene, people, score in told
    ]
    return fit(judge(detected, 0.5, model="m", dataset="d").judged, [one.presence for one in detected])


def test_a_good_model_gets_a_threshold_between_people_and_empty_ground():
    rng = np.random.default_rng(0)
    told = [(f"s{k % 10}", k % 2 == 0, float(0.7 + 0.2 * rng.random() - 0.5 * (k % 2))) for k in range(60)]
    found = fitted(*told)
    assert found.threshold == pytest.approx(min(score for _, people, score in told if people), abs=1e-6)
    assert found.presence.auroc == 1.0
    assert found.at_threshold.f1 is not None
    assert found.at_threshold.f1 > 0.9
    assert found.calibration.error == found.presence.calibration_error


def test_figures_come_from_scenes_that_the_fit_did_not_see():
    """Each scene has a threshold of its own; fitted to the other it fails, which the fit on both would hide."""
    found = fitted(*[("low", True, 0.2), ("low", False, 0.1)] * 5, *[("high", True, 0.9), ("high", False, 0.8)] * 5)
    at_once = fitted(*[(f"s{k}", k % 2 == 0, 0.9 - 0.8 * (k % 2)) for k in range(20)])
    assert found.at_threshold.f1 is not None
    assert at_once.at_threshold.f1 == 1.0
    assert found.at_threshold.f1 < 0.8


def test_folds_of_different_scale_do_not_blur_how_presence_ranks_pictures():
    """Every fold ranks perfectly by the score, but each fold's own calibration moves its pictures up or down."""
    rng = np.random.default_rng(3)
    told = [
        (f"s{k % 5}", k % 3 == 0, float(0.1 + 0.15 * (k % 5) * (k % 3 == 0) + 0.05 * rng.random())) for k in range(60)
    ]
    expected = auroc(np.array([s for _, p, s in told if p]), np.array([s for _, p, s in told if not p]))
    assert fitted(*told).presence.auroc == pytest.approx(expected)


def test_pictures_with_ignored_regions_alone_do_not_count_as_empty():
    told = [(f"s{k}", k % 2 == 0, 0.9 - 0.6 * (k % 2)) for k in range(10)]
    assert fitted(*told, ignored=True).presence.negatives == 0
    assert fitted(*told).presence.negatives == 5


def test_one_scene_and_one_picture_are_enough_to_go_on():
    found = fitted(("only", True, 0.6))
    assert found.calibration.slope == 1.0
    assert found.threshold == pytest.approx(0.6)


def test_of_one_scene_each_picture_is_judged_by_a_fit_to_others_and_the_fit_says_so():
    """The scores are far from chances: figures of no fit at all would be those of the scores themselves."""
    told = [("only", k % 2 == 0, float(0.3 - 0.2 * (k % 2) + 0.001 * k)) for k in range(40)]
    found = fitted(*told)
    assert (found.by_scene, fitted(*told, ("other", True, 0.3)).by_scene) == (False, True)
    assert found.calibration.error is not None
    assert found.calibration.error < 0.15  # 0.5 without a fit
    assert found.calibration.error == found.presence.calibration_error


def test_the_verdict_enters_where_the_count_becomes_one():
    calibration = Calibration(2.0, 0.5)
    rule = verdict_rule(0.4, calibration)
    assert rule.enter == pytest.approx(presence_of(np.array([0.4]), calibration)[0])
    assert 0 < rule.leave < rule.enter
    odds = [p / (1 - p) for p in (rule.leave, rule.enter)]  # however steep the calibration: else it sticks
    assert np.log(odds[1] / odds[0]) == pytest.approx(1.5)


@pytest.mark.parametrize("threshold", [1e-9, 0.02, 0.999, 1.0])
def test_the_verdict_rule_holds_at_the_ends_too(threshold):
    rule = verdict_rule(threshold, Calibration(3.0, -2.0))
    assert 0 <= rule.leave <= rule.enter <= 1
