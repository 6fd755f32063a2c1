import numpy as np
import pytest

from edge.contract import Calibration
from edge.raw_head import decode_raw_head

PLAIN = Calibration(1.0, 0.0)
NOBODY = np.full((4, 6), -20.0, np.float32)


def decode(cells: dict[tuple[int, int], float], log_distances: float = 0.0):
    logits = NOBODY - np.arange(24, dtype=np.float32).reshape(4, 6) / 10
    for (row, column), logit in cells.items():
        logits[row, column] = logit
    return decode_raw_head(logits, np.full((4, 4, 6), log_distances, np.float32), 4, PLAIN)


def test_a_peak_is_read_at_its_cell():
    found = decode({(1, 2): 2.0}, np.log(3))
    assert found.boxes_xyxy[0] == pytest.approx([10 - 12, 6 - 12, 10 + 12, 6 + 12])
    assert found.scores[0] == pytest.approx(1 / (1 + np.exp(-2)))
    assert found.presence == pytest.approx(found.scores[0])


@pytest.mark.parametrize(
    ("cells", "peaks"),
    [
        ({}, 0),
        ({(0, 0): 1.0}, 1),
        ({(0, 0): 1.0, (0, 1): 2.0}, 1),
        ({(0, 0): 1.0, (3, 5): 2.0}, 2),
        ({(1, 1): 1.0, (2, 2): 1.0}, 1),  # equals: the lower index wins
        ({(1, 1): 1.0, (1, 3): 1.0}, 2),
    ],
)
def test_neighbours_compete_and_others_do_not(cells, peaks):
    found = decode(cells)
    assert int((found.scores > 0.5).sum()) == peaks
    assert (np.diff(found.scores) <= 0).all()
    assert found.boxes_xyxy.shape == (500, 4)
    assert not found.boxes_xyxy[found.scores == 0].any()


@pytest.mark.parametrize("logit", [-110.0, -800.0])
def test_a_peak_without_a_score_has_no_box(logit):
    found = decode_raw_head(np.full((1, 1), logit, np.float32), np.zeros((4, 1, 1), np.float32), 4, PLAIN)
    assert not found.scores.any()
    assert not found.boxes_xyxy.any()


def test_sides_are_limited_and_calibration_is_applied():
    found = decode_raw_head(np.ones((1, 1), np.float32), np.full((4, 1, 1), 99, np.float32), 8, Calibration(2.0, -1.0))
    assert found.boxes_xyxy[0, 2] == pytest.approx(4 + 8 * np.exp(6), rel=1e-5)
    assert found.presence == pytest.approx(1 / (1 + np.exp(-1)))
