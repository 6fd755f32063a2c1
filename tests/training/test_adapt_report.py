import dataclasses

import cv2
import pytest
from matplotlib.figure import Figure

from edge.contract import Calibration
from edge.errors import ProcessingError
from tests.training.test_snapshots import answer
from training.adapt_report import Comparison, Figures, doubts, draw, figures_of, regressions, table

GOOD = Figures(0.8, 0.4, 0.9, 0.95, 0.05, 0.5, 0.8, 0.7, 0.2, 100)
PICTURES = [
    answer(True, "a", "s1"),
    answer(True, "b", "s2", empty=True),
    answer(False, "c", "s3"),
    answer(True, "d", "s4"),
]


def comparison(after: Figures) -> Comparison:
    return Comparison(GOOD, after, 0.4, Calibration(2.0, 0.1), (0, 25, 50), (0.7, 0.8, 0.75), 25)


@pytest.mark.parametrize(
    ("changes", "lost"),
    [
        ({}, ()),
        ({"ap50": 0.797}, ()),  # rounding
        ({"ap50": 0.7}, ("AP50 0.800 -> 0.700",)),
        ({"auroc": 0.9}, ("presence AUROC 0.950 -> 0.900",)),
        ({"auroc": 0.9, "pairs": 10}, ()),  # one pair of pictures in another order
        ({"ap50": None, "auroc": None}, ()),
        ({"ap50": 0.9, "auroc": 0.9, "count_mae": 9.0}, ("presence AUROC 0.950 -> 0.900",)),
    ],
)
def test_worse_is_less_than_rounding_or_chance_explain(changes, lost):
    assert regressions(GOOD, dataclasses.replace(GOOD, **changes)) == lost


def test_a_model_is_judged_at_its_own_threshold_where_it_has_one():
    strict = figures_of(PICTURES, 0.95, Calibration(1.0, 0.0))
    assert (strict.threshold, strict.recall, strict.precision) == (0.95, 0.0, None)
    assert strict.count_mae == pytest.approx(0.75)
    assert strict.calibration_error == pytest.approx(
        0.075, abs=1e-3
    )  # 0.9 said of three pictures, all true; 0 of one, true
    fitted = figures_of(PICTURES)
    assert fitted.threshold == pytest.approx(0.9)
    assert fitted.recall == pytest.approx(2 / 3)
    assert (fitted.pairs, fitted.auroc) == (3, 1.0)


def test_the_table_has_a_dash_where_the_pictures_cannot_tell():
    lines = table(comparison(dataclasses.replace(GOOD, auroc=None))).splitlines()
    assert lines[1].split() == ["AP50", "0.800", "0.800"]
    assert lines[4].split() == ["presence", "AUROC", "0.950", "-"]


def test_the_chart_is_a_picture_and_a_place_that_cannot_be_written_one_error(tmp_path):
    drawn = comparison(dataclasses.replace(GOOD, auroc=None))
    image = cv2.imread(str(draw(drawn, "a place", tmp_path / "chart.png")))
    assert image is not None
    assert image.std() > 10
    with pytest.raises(ProcessingError, match="cannot be written"):
        draw(drawn, "a place", tmp_path / "nowhere" / "chart.png")


@pytest.mark.parametrize(("auroc", "label"), [(0.9, "mean of AP50 and presence AUROC"), (None, "AP50")])
def test_the_course_is_named_after_what_the_pictures_can_tell(tmp_path, monkeypatch, auroc, label):
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    both = comparison(dataclasses.replace(GOOD, auroc=auroc))
    draw(dataclasses.replace(both, before=both.after), "a place", tmp_path / "chart.png")
    assert drawn[0].axes[1].get_ylabel() == label


def test_what_else_got_clearly_worse_is_told():
    assert doubts(GOOD, GOOD) == ()
    worse = dataclasses.replace(GOOD, count_mae=GOOD.count_mae + 2, precision=GOOD.precision - 0.2)
    assert [doubt.partition(" went")[0] for doubt in doubts(GOOD, worse)] == [
        "the error of the count",
        "precision at the threshold",
    ]
