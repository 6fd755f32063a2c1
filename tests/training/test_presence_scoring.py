import numpy as np
import pytest

from training.presence_scoring import auroc, calibration_bins, calibration_error, error_by_chance, score_presence


@pytest.mark.parametrize(
    ("positives", "negatives", "expected"),
    [
        ([], [], None),
        ([0.5], [], None),
        ([], [0.5], None),
        ([0.9, 0.8], [0.1, 0.2], 1.0),
        ([0.1], [0.9], 0.0),
        ([0.5, 0.5], [0.5], 0.5),
        ([0.9, 0.3, 0.5], [0.5, 0.1], (2 + 1 + 1.5) / 6),
    ],
)
def test_auroc_is_the_chance_that_a_positive_ranks_higher(
    positives: list[float], negatives: list[float], expected: float | None
) -> None:
    assert auroc(np.array(positives), np.array(negatives)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("presences", "positive", "expected"),
    [
        ([], [], None),
        ([1.0, 1.0, 0.0], [True, True, False], 0.0),
        ([1.0, 0.0], [False, True], 1.0),
        ([0.8] * 5, [True, True, True, True, False], 0.0),
        ([0.8] * 4, [True, True, False, False], 0.3),
        ([0.9, 0.9, 0.1, 0.1], [True, False, False, False], (2 * 0.4 + 2 * 0.1) / 4),
    ],
)
def test_calibration_error_is_the_mean_gap_between_word_and_deed(
    presences: list[float], positive: list[bool], expected: float | None
) -> None:
    bins = calibration_bins(np.array(presences), np.array(positive, dtype=bool))
    assert len(bins) == 15
    assert sum(one.pictures for one in bins) == len(presences)
    assert calibration_error(bins) == pytest.approx(expected)


def test_a_calibrated_model_has_little_error_and_an_overconfident_one_much() -> None:
    rng = np.random.default_rng(0)
    presences = rng.uniform(0, 1, 20_000)
    truth = rng.uniform(0, 1, 20_000) < presences
    assert score_presence(presences, truth).calibration_error == pytest.approx(0.0, abs=0.02)
    overconfident = np.where(presences > 0.5, 1.0, 0.0)
    assert score_presence(overconfident, truth).calibration_error == pytest.approx(0.25, abs=0.02)


def test_presence_figures_are_rounded_for_json() -> None:
    score = score_presence(np.array([0.9, 0.2, 0.4]), np.array([True, False, True]))
    figures = score.to_json()
    assert 0.1 < figures.pop("ECE_by_chance") < 0.5
    assert figures == {"positives": 2, "negatives": 1, "AUROC": 1.0, "ECE": 0.3}
    assert score.bins_to_json()[-1] == {"said": 0.9, "true": 1.0, "pictures": 1}


def test_chance_alone_explains_less_of_the_error_the_more_pictures_there_are() -> None:
    rng = np.random.default_rng(1)
    few, many = (error_by_chance(rng.uniform(0, 1, count)) for count in (50, 5000))
    assert few is not None
    assert many is not None
    assert 0.08 < few < 0.2
    assert many < few / 4
    assert error_by_chance(np.ones(10)) == 0.0
    assert error_by_chance(np.zeros(0)) is None
