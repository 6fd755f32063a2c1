import numpy as np
import pytest

from tests.training.test_evaluation import FAR, PERSON, detected, judged
from training.coco_scoring import DetectedPicture
from training.mistakes import MistakeCounts, count_mistakes, find_mistakes

LOOSE = [0.0, 0.0, 40.0, 60.0]  # centred in PERSON, three times as large
NEIGHBOUR = [12.0, 10.0, 32.0, 50.0]


@pytest.mark.parametrize(
    ("one", "counts"),
    [
        (detected([], [], []), MistakeCounts(0, 0, 0, 0, 0)),
        (detected([PERSON], [PERSON], [0.9]), MistakeCounts(0, 0, 0, 0, 0)),
        (detected([PERSON], [PERSON], [0.4]), MistakeCounts(1, 0, 0, 0, 0)),  # too weak
        (detected([PERSON], [FAR], [0.9]), MistakeCounts(1, 0, 1, 0, 0)),
        (detected([PERSON], [LOOSE], [0.9]), MistakeCounts(0, 1, 0, 0, 1)),
        (detected([PERSON], [LOOSE], [0.4]), MistakeCounts(1, 0, 0, 0, 0)),
        (detected([PERSON], [PERSON, LOOSE], [0.9, 0.8]), MistakeCounts(0, 0, 0, 1, 0)),
        (detected([PERSON, NEIGHBOUR], [LOOSE], [0.9]), MistakeCounts(0, 2, 0, 0, 1)),  # one box for two
        (detected([], [FAR], [0.9], ignore=[[290, 290, 330, 350]]), MistakeCounts(0, 0, 0, 0, 0)),
    ],
    ids=["nothing", "found", "weak", "elsewhere", "loose", "weak and loose", "double", "one for two", "ignored"],
)
def test_mistakes_are_told_apart(one: DetectedPicture, counts: MistakeCounts) -> None:
    assert count_mistakes(judged([one]), 0.5) == counts


def test_a_mistake_shows_the_box_that_it_is_about() -> None:
    unseen, nobody = find_mistakes(judged([detected([PERSON], [PERSON, FAR], [0.4, 0.9])]), 0.5)
    np.testing.assert_array_equal(unseen.box_xyxy, PERSON)
    np.testing.assert_array_equal(nobody.box_xyxy, FAR)
    assert (unseen.kind, nobody.kind) == ("unseen", "nobody")
    assert (unseen.score, nobody.score) == (pytest.approx(0.4), pytest.approx(0.9))
