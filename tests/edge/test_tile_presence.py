from dataclasses import replace

import numpy as np
import pytest

from edge.tile_presence import Separation, frame_presence, separation_of
from tests.models import METADATA

SEPARATION = Separation(auroc=0.9, prior=0.6)
ONE = {"AUROC": 0.9, "positives": 30, "negatives": 10}
OTHER = {"AUROC": 0.7, "positives": 5, "negatives": 5}


def presences(with_people: bool, shape, separation=SEPARATION):
    """What an ideally calibrated model with this separation says of pictures."""
    d = separation.distance
    mean = np.log(separation.prior / (1 - separation.prior)) + (d * d / 2 if with_people else -d * d / 2)
    return 1 / (1 + np.exp(-np.random.default_rng(1).normal(mean, d, shape)))


def test_the_model_behind_it_is_calibrated_and_has_its_auroc():
    ups, downs = presences(True, 60_000), presences(False, 40_000)
    everything = np.concatenate([ups, downs])
    around = (everything > 0.65) & (everything < 0.75)
    assert (around[: len(ups)].sum() / around.sum()) == pytest.approx(0.7, abs=0.02)
    assert (ups[:40_000] > downs[np.random.default_rng(2).permutation(40_000)]).mean() == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("tiles", [2, 5, 17])
@pytest.mark.parametrize("enter", [0.5, 0.7, 0.9])
def test_frames_of_many_tiles_raise_no_more_false_alarms_than_one_picture(tiles, enter):
    alarms_of_one = (presences(False, 20_000) >= enter).mean()
    frames = presences(False, (3_000, tiles))
    assert (frames.max(axis=1) >= enter).mean() > 1.5 * alarms_of_one  # what the highest alone would do
    alarms = np.mean([frame_presence(list(pictures), SEPARATION) >= enter for pictures in frames])
    assert alarms == pytest.approx(alarms_of_one, abs=0.02)


@pytest.mark.parametrize(
    ("pictures", "presence"),
    [
        ([0.3], 0.3),  # one picture alone stays as it is
        ([0.0], 0.0),
        ([0.3] * 2, 0.122),
        ([0.999, *[0.1] * 16], 0.996),  # who is plain to see is reported
        ([0.7, *[0.1] * 16], 0.029),  # a doubt in one of many pictures is no alarm
        ([1.0] * 17, 1.0),
        ([0.0] * 17, 0.0),
    ],
)
def test_the_highest_counts_for_less_the_more_pictures_there_are(pictures, presence):
    assert frame_presence(pictures, SEPARATION) == pytest.approx(presence, abs=2e-3)


def test_a_surer_picture_never_lowers_the_frames_presence():
    found = [frame_presence([p, *[0.0] * 16], SEPARATION) for p in np.linspace(0, 1, 200).tolist()]
    assert found == sorted(found)
    assert min(found) >= 0
    assert max(found) <= 1


@pytest.mark.parametrize(
    ("metrics", "settings", "separation"),
    [
        ({}, {}, Separation()),
        ({"val": {"ap50": 0.9}}, {}, Separation()),
        ({"val": {"presence": {"AUROC": 0.9}}}, {}, Separation()),
        ({"val": {"presence": {**ONE, "AUROC": None}}}, {}, Separation()),
        ({"val": {"presence": {**ONE, "positives": 0, "negatives": 0}}}, {}, Separation()),
        ({"val": {"presence": ONE}}, {}, Separation(0.9, 0.75)),
        ({"a": {"presence": OTHER}, "b": {"presence": ONE}}, {"fitted_to": "b"}, Separation(0.9, 0.75)),
        ({"a": {"presence": OTHER}, "b": 7}, {"fitted_to": "b"}, Separation(0.7, 0.5)),
    ],
)
def test_the_model_file_says_how_well_it_parts_pictures(metrics, settings, separation):
    assert separation_of(replace(METADATA, metrics=metrics, settings=settings)) == separation


@pytest.mark.parametrize("auroc", [0.0, 0.5, 1.0])
def test_odd_figures_in_a_model_file_break_nothing(auroc):
    for prior in (0.0, 0.5, 1.0):
        assert 0 <= frame_presence([0.4, 0.6], Separation(auroc, prior)) <= 1
