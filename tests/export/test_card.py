import dataclasses

from export.card import model_card
from tests.models import METADATA


def test_a_card_of_a_model_that_was_not_measured_says_so():
    card = model_card(dataclasses.replace(METADATA, metrics={}, data=()), "m.onnx", 1.25)
    assert card.startswith("# bright-spots 1.0\n")
    assert "`m.onnx`, 1.2 MB" in card
    assert "Not measured" in card
    assert "Not stated." in card


def test_a_figure_that_is_undefined_is_a_dash():
    figures = {"pictures": 3, "pedestrians": 0, "AP50": None, "presence": {"AUROC": None}}
    card = model_card(dataclasses.replace(METADATA, metrics={"empty-val": figures}), "m.onnx", 1.0)
    assert "### empty-val: 3 pictures, 0 pedestrians" in card
    assert "| AP50 | - |" in card


def test_a_cell_of_a_table_keeps_its_column():
    data = (dataclasses.replace(METADATA.data[0], attribution="A | B"),)
    assert "| none | CC0 | A \\| B |" in model_card(dataclasses.replace(METADATA, data=data), "m.onnx", 1.0)
