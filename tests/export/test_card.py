import dataclasses

import cv2
import numpy as np
import pytest

from edge.errors import UnusableInputError
from export.card import model_card
from export.card_chart import draw_card_chart
from export.card_examples import draw_examples, read_examples
from tests.export.test_proof import PROOF
from tests.models import METADATA, write_spot_model

HEIGHTS = [
    {"low_px": 0.0, "high_px": 16.0, "pedestrians": 26, "AP50": 0.097},
    {"low_px": 16.0, "high_px": 32.0, "pedestrians": 9, "AP50": 0.2},
    {"low_px": 32.0, "high_px": None, "pedestrians": 0, "AP50": None},
]
FIGURES = {
    "pictures": 30,
    "pedestrians": 35,
    "AP50": 0.5,
    "AP50_by_height": HEIGHTS,
    "at_threshold": {"threshold": 0.4, "precision": 0.66, "recall": 0.6, "f1": 0.63, "count_mae": 0.9},
    "presence": {
        "positives": 20,
        "negatives": 10,
        "AUROC": 0.9,
        "ECE": 0.07,
        "ECE_by_chance": 0.06,
        "bins": [{"said": 0.1, "true": 0.0, "pictures": 10}, {"said": 0.9, "true": 1.0, "pictures": 20}],
    },
    "sources": [
        {"source": "beach", "pictures": 20, "pedestrians": 35, "AP50": 0.5, "recall": 0.6, "false_alarms": 4},
        {"source": "empty", "pictures": 10, "pedestrians": 0, "AP50": None, "recall": None, "false_alarms": 13},
    ],
}
MEASURED = dataclasses.replace(METADATA, metrics={"flights-val": FIGURES}, settings={"fitted_to": "flights-val"})


def with_presence(**changes: object) -> str:
    figures = {**FIGURES, "presence": {**FIGURES["presence"], **changes}}  # type: ignore[dict-item]
    return model_card(dataclasses.replace(MEASURED, metrics={"flights-val": figures}), "m.onnx", 1.0)


def test_a_card_of_a_model_that_was_not_measured_says_so():
    card = model_card(dataclasses.replace(METADATA, metrics={}, data=()), "m.onnx", 1.25)
    assert card.startswith("# bright-spots 1.0\n")
    assert "`m.onnx`, 1.2 MB" in card
    assert "Not measured" in card
    assert "Not stated." in card
    assert "INT8 against" not in card
    assert "![" not in card


def test_a_figure_that_is_undefined_is_a_dash():
    figures = {"pictures": 3, "pedestrians": 0, "AP50": None, "presence": {"AUROC": None}}
    card = model_card(dataclasses.replace(METADATA, metrics={"empty-val": figures}), "m.onnx", 1.0)
    assert "### empty-val: 3 pictures, 0 pedestrians" in card
    assert "| AP50 | - |" in card


def test_a_cell_of_a_table_keeps_its_column():
    data = (dataclasses.replace(METADATA.data[0], attribution="A | B"),)
    assert "| none | CC0 | A \\| B |" in model_card(dataclasses.replace(METADATA, data=data), "m.onnx", 1.0)


def test_a_card_has_the_error_of_count_and_presence_and_says_what_was_cross_fitted():
    card = model_card(MEASURED, "m.onnx", 1.0, ["m.png", "m-example.jpg"])
    assert "| error of the count (mean absolute) | 0.900 |" in card
    assert "| presence AUROC (20 pictures with, 10 without pedestrians) | 0.900 |" in card
    assert "| presence calibration error (ECE) | 0.070 |" in card
    assert "| presence calibration error by chance alone | 0.060 |" in card
    assert "fitted on flights-val; there, every figure that depends on what is fitted is cross-fitted" in card
    assert "| empty | 10 | 0 | - | - | 13 |" in card
    assert "![AP50 by height, and how far presence can be trusted](m.png)" in card
    assert "(m-example.jpg)" in card
    assert "kestrel-train evaluate m.onnx flights-val" in card


def test_a_presence_that_no_data_could_teach_is_called_a_guess():
    assert "a guess" not in model_card(MEASURED, "m.onnx", 1.0)
    said = "cross-fitted by scene. It has no picture without pedestrians: presence is the highest score, a guess."
    assert said in with_presence(negatives=0)
    assert "It has no picture with pedestrians: presence" in with_presence(positives=0)


def test_the_card_says_where_the_settings_are():
    assert "the entry `settings` of the ONNX model's `metadata_props`" in model_card(MEASURED, "m.onnx", 1.0)


def test_an_auroc_on_a_handful_of_empty_pictures_is_left_out():
    assert "| presence AUROC (20 pictures with, 1 without pedestrians) | - |" in with_presence(negatives=1)


def test_what_the_figures_say_of_its_weaknesses_is_a_known_failure():
    failures = model_card(MEASURED, "m.onnx", 1.0).split("## Known failures")[1]
    assert "- People of 0 to 16 px on flights-val: AP50 0.10 of 26." in failures
    assert "16 to 32" not in failures  # nine people prove nothing
    assert "misses 40% of the people, and 34% of its detections are wrong" in failures
    assert "Most false alarms on flights-val: `empty`, 1.3 a picture." in failures


@pytest.mark.parametrize(("kept", "said"), [(("stem", "head"), "`stem`, `head`."), ((), "none.")])
def test_the_card_of_an_int8_model_says_what_int8_lost_gained_and_spared(kept, said):
    proof = dataclasses.replace(PROOF, kept_fp32=kept).to_json()
    card = model_card(dataclasses.replace(MEASURED, precision="int8", settings={"int8": proof}), "m-int8.onnx", 1.0)
    section = card.split("## INT8 against FP32")[1].split("\n## ")[0]
    assert "AP50 drops by 0.0050 (allowed 0.01)" in section
    assert "takes 0.45 of FP32's time (allowed 0.75), measured in turn at 960x544 with 2 threads on a board" in section
    assert "| presence AUROC | 0.950 | 0.940 |" in section
    assert f"Layers kept in FP32 beyond the head's last convolutions: {said}" in section


def test_examples_are_drawn_with_what_the_model_says_of_them(tmp_path):
    model = write_spot_model(tmp_path / "m.onnx")
    image = np.zeros((128, 160, 3), np.uint8)
    image[40:52, 40:52] = 255
    assert cv2.imwrite(str(tmp_path / "a.png"), image)
    content = draw_examples(model, read_examples([tmp_path / "a.png", tmp_path / "a.png"]))
    assert content is not None
    sheet = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert sheet is not None
    assert sheet.shape == (2 * 768, 960, 3)
    assert draw_examples(model, []) is None


def test_an_example_that_is_no_picture_is_refused(tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(UnusableInputError, match=r"--show must be a picture that OpenCV can decode, got .*a\.png"):
        read_examples([tmp_path / "a.png"])


def test_examples_that_are_too_high_for_a_jpeg_are_refused_before_the_work(tmp_path):
    assert cv2.imwrite(str(tmp_path / "a.png"), np.zeros((700, 10, 3), np.uint8))
    with pytest.raises(UnusableInputError, match=r"--show must fit into a JPEG file, got 960x67200 px; name fewer"):
        read_examples([tmp_path / "a.png"])


@pytest.mark.parametrize("name", ["a$_$b", "_val"])
def test_the_picture_names_a_data_set_as_it_is_called(name):
    assert draw_card_chart(dataclasses.replace(MEASURED, metrics={name: FIGURES}))


def test_the_picture_of_a_card_is_drawn_from_the_metadata_alone_and_always_the_same():
    chart = draw_card_chart(MEASURED)
    assert chart is not None
    assert chart == draw_card_chart(MEASURED)
    image = cv2.imdecode(np.frombuffer(chart, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.std() > 10
    assert draw_card_chart(METADATA) is None  # nothing measured by height
