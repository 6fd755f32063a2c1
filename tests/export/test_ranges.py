import numpy as np
import pytest

from edge.errors import InvalidValueError
from export.ranges import BINS, Histogram, Range, choose_range


def histogram(*frames: object) -> Histogram:
    made = Histogram()
    for frame in frames:
        made.add(np.asarray(frame, np.float32))
    return made


def test_a_histogram_counts_every_frame_however_far_its_values_reach():
    made = histogram([0.1, -0.1], [4.87], [-40.03])
    assert made.counts.sum() == 4
    assert len(made.counts) == BINS
    assert made.reach >= 40
    edges = made.edges()
    for value in (4.87, -40.03):
        assert made.counts[np.searchsorted(edges, value, side="right") - 1] == 1


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ([[]], (0, 0)),
        ([[0.0, 0.0]], (0, 0)),
        ([[1.0, 2.0]], (0, 2)),  # 0 is always within: padding and ReLU must be exact
        ([[-3.0, -1.0]], (-3, 0)),
        ([[-3.0], [7.0]], (-3, 7)),
    ],
)
def test_minmax_spans_all_that_was_seen(frames, expected):
    assert choose_range(histogram(*frames), "minmax") == Range(*expected)


def test_percentile_leaves_a_single_outlier_out():
    rng = np.random.default_rng(0)
    values = np.concatenate((rng.uniform(0, 1, 500_000), [100.0]))
    made = Histogram()
    for part in np.array_split(values, 20):
        made.add(part.astype(np.float32))
    assert choose_range(made, "minmax").high == 100
    assert choose_range(made, "percentile").high == pytest.approx(1, abs=0.2)
    assert choose_range(made, "percentile").low == 0


def test_entropy_draws_in_long_tails_and_keeps_an_even_spread():
    rng = np.random.default_rng(0)
    made = histogram(rng.laplace(0, 1, 50_000))
    tailed = choose_range(made, "entropy")
    assert 3 < tailed.high < 0.95 * made.high
    even = choose_range(histogram(rng.uniform(0, 1, 50_000)), "entropy")
    assert even.high == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("method", ["percentile", "entropy", "minmax"])
@pytest.mark.parametrize("frames", [[[]], [[0.0]], [[1.0, 2.0, 3.0]], [[-2.0, -1.0]], [[1e-9]]])
def test_a_range_holds_0_and_is_never_wider_than_what_was_seen(method, frames):
    made = histogram(*frames)
    chosen = choose_range(made, method)
    assert made.low <= chosen.low <= 0 <= chosen.high <= made.high


def test_large_frames_are_sampled_but_their_extremes_are_exact():
    values = np.zeros(1_000_000, np.float32)
    values[12_345] = 9.0
    made = histogram(values)
    assert made.high == 9
    assert made.counts.sum() < 200_000


def test_an_unknown_rule_is_refused():
    with pytest.raises(InvalidValueError, match="calibration must be one of percentile, entropy, minmax, got 'guess'"):
        choose_range(Histogram(), "guess")
