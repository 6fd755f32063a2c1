import cv2
import pytest

from edge.errors import ProcessingError
from training.ablation_report import Score, draw, spread, table

ROWS = {"alone": "labels alone", "soft": "+ soft targets", "teacher": "the teacher itself"}


def score(arm: str, seed: int, ap50: float | None) -> Score:
    return Score(arm, seed, ap50, 0.2, 0.7, None, 100, 90.0)


SCORES = [
    *[score("alone", seed, 0.5 + 0.1 * seed) for seed in range(3)],
    *[score("soft", seed, 0.53 + 0.1 * seed) for seed in range(3)],
    score("teacher", 0, 0.8),
]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([], "-"),
        ([None], "-"),
        ([0.5], "0.500"),
        ([0.5, None], "0.500"),
        ([0.4, 0.6], "0.500 ± 0.141"),
    ],
)
def test_the_spread_is_that_of_a_sample(values, text):
    assert spread(values) == text


def test_the_gain_is_seed_by_seed_so_that_what_a_seed_does_to_all_does_not_count():
    lines = table(ROWS, SCORES, "Conditions.").splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:5]]
    assert cells[0] == ["labels alone", "3", "0.600 ± 0.100", "0.200 ± 0.000", "0.700 ± 0.000", "-", "", "100", "1.5"]
    assert cells[1][6] == "+0.030 ± 0.000"
    assert cells[2][:3] == ["the teacher itself", "1", "0.800"]
    assert cells[2][6] == "+0.200 ± 0.100"
    assert lines[-1].startswith("Conditions. Mean ± standard deviation")


def test_arms_that_are_not_done_are_left_out():
    assert "soft" not in table(ROWS, SCORES[:3], "")


def test_the_chart_is_a_picture_and_a_place_that_cannot_be_written_one_error(tmp_path):
    image = cv2.imread(str(draw(ROWS, SCORES, "val", tmp_path / "chart.png")))
    assert image is not None
    assert image.std() > 10
    with pytest.raises(ProcessingError, match="cannot be written"):
        draw(ROWS, SCORES, "val", tmp_path / "nowhere" / "chart.png")
