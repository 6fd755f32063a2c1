from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import ProcessingError
from edge.recognizer import Recognizer, RecognizerSettings
from edge.records import SizeWH
from tests.models import write_spot_model
from tests.training.test_evaluation import spot_dataset
from training.corruptions import CORRUPTIONS, LOOKS
from training.evaluation import Evaluation, evaluate
from training.report import variants_table, write_variants
from training.robustness import VariantScore, measure_variants


@pytest.fixture
def recognizer(tmp_path: Path) -> Recognizer:
    model = write_spot_model(tmp_path / "spots.onnx")
    return Recognizer(model, RecognizerSettings(threads=1, threshold=0.02, input_wh=SizeWH(160, 128)))


@pytest.fixture
def clean(recognizer: Recognizer, tmp_path: Path) -> Evaluation:
    return evaluate(recognizer.recognise, spot_dataset(tmp_path, "thermal"), threshold=0.6, model="spots")


def test_accuracy_under_each_corruption_is_a_share_of_that_on_the_pictures_as_they_are(recognizer, clean) -> None:
    rows = {row.name: row for row in measure_variants(recognizer.recognise, clean, CORRUPTIONS)}
    assert set(rows) == {variant.name for variant in CORRUPTIONS}
    assert clean.boxes.ap50 == pytest.approx(1.0)
    for row in rows.values():
        assert row.share_of_clean == pytest.approx(row.ap50)
    assert rows["noise"].share_of_clean > 0.9  # spots as bright as these do not drown
    assert rows["scale"].share_of_clean < 0.5  # the model knows spots of 12 px alone
    again = measure_variants(recognizer.recognise, clean, CORRUPTIONS)
    assert again == tuple(rows.values())


def test_false_colours_cost_nothing_and_black_hot_blinds_a_model_that_looks_for_bright_spots(recognizer, clean) -> None:
    rows = {row.name: row.share_of_clean for row in measure_variants(recognizer.recognise, clean, LOOKS)}
    assert rows["iron"] == rows["rainbow"] == pytest.approx(1.0)
    assert rows["inverted"] < 0.2


def test_what_cannot_be_measured_is_a_dash(clean) -> None:
    text = variants_table([VariantScore("haze", "some", None, None, None)], clean)
    assert "haze                 -         -        -  some" in text
    assert "mean" not in text
    assert variants_table([], clean).count("\n") == 1


def test_the_table_and_the_chart_are_written(clean, tmp_path: Path) -> None:
    rows = [VariantScore("noise", "sigma 15", 0.5, 0.5, 0.9), VariantScore("haze", "some", None, None, None)]
    text, chart = write_variants(rows, clean, tmp_path, "robustness")
    assert "noise            0.500       50%    0.900  sigma 15" in text.read_text()
    image = cv2.imread(str(chart))
    assert image is not None
    assert np.std(image) > 1
    with pytest.raises(ProcessingError, match="cannot be written"):
        write_variants(rows, clean, tmp_path / "gone", "robustness")
