import numpy as np
import pytest

from edge.tile_presence import frame_presence

DISTANCE = 2.5  # between the log-odds of pictures with and without people, in standard deviations: AUROC 0.96


def presences(with_people):
    """What an ideally calibrated model says of pictures; normal log-odds are calibrated with these means alone."""
    mean = np.where(with_people, 1, -1) * DISTANCE**2 / 2
    return 1 / (1 + np.exp(-np.random.default_rng(1).normal(mean, DISTANCE)))


@pytest.mark.parametrize("tiles", [2, 9, 37])
def test_frames_with_somebody_in_one_of_many_tiles_are_calibrated(tiles):
    """Of the frames that say 0.7, seven in ten show somebody; the highest tile alone would promise far more."""
    frames = 60_000
    with_people = np.random.default_rng(2).random(frames) < 0.5
    somebody = np.zeros((frames, tiles), np.bool_)
    somebody[with_people, np.random.default_rng(3).integers(tiles, size=with_people.sum())] = True
    seen = presences(somebody)
    said = np.array([frame_presence(pictures, 0.5) for pictures in seen.tolist()])
    for low, high in ((0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 0.9)):
        among = (said >= low) & (said < high)
        assert with_people[among].mean() == pytest.approx(said[among].mean(), abs=0.04)
    surest = seen.max(axis=1)
    among = (surest >= 0.6) & (surest < 0.8)
    assert with_people[among].mean() < surest[among].mean() - 0.06


@pytest.mark.parametrize(
    ("pictures", "presence"),
    [
        ([0.0] * 2, 0.0),
        ([0.3] * 2, 0.3),  # all say the same
        ([0.999, *[0.1] * 36], 0.964),  # who is plain to see is reported
        ([0.95, *[0.1] * 36], 0.383),
        ([0.7, *[0.1] * 36], 0.146),  # a doubt in one of many pictures is no alarm
        ([0.95, 0.95, 0.95, *[0.1] * 34], 0.622),  # several that are rather sure are surer together
        ([1.0] * 17, 1.0),
        ([1.0, *[0.0] * 16], 1.0),
        ([0.0] * 17, 0.0),
    ],
)
def test_the_odds_of_a_frame_are_the_mean_of_its_pictures(pictures, presence):
    assert frame_presence(pictures, 0.5) == pytest.approx(presence, abs=1e-3)


def test_tiles_that_know_nothing_leave_a_frame_undecided():
    """Calibrated on pictures most of which show somebody, a picture that knows nothing says just their share."""
    assert frame_presence([0.75] * 37, share_with_people=0.75) == pytest.approx(0.5)
    assert frame_presence([0.75] * 37, share_with_people=0.9) < 0.3


def test_a_surer_picture_never_lowers_the_frames_presence():
    found = [frame_presence([p, *[0.0] * 16], 0.75) for p in np.linspace(0, 1, 200).tolist()]
    assert found == sorted(found)
    assert min(found) >= 0
    assert max(found) <= 1
