from pathlib import Path

import pytest

import export
from edge.contract import TrainingData
from edge.errors import UnusableInputError
from training.data_card import UNSTATED, DataCard, read_data_card


def test_a_data_card_says_the_use_and_every_data_set(tmp_path):
    text = 'intended_use = "Día y noche."\n[[data]]\nname = "A"\nlicence = "CC0"\n[[data]]\nname = "B"\nlicence = "?"\n'
    (tmp_path / "card.toml").write_text(text + 'attribution = "C et al."\n', encoding="utf-8")
    card = read_data_card(tmp_path / "card.toml")
    assert card.intended_use == "Día y noche."
    assert card.data == (TrainingData("A", "CC0"), TrainingData("B", "?", "C et al."))


def test_without_a_data_card_nothing_is_stated():
    assert read_data_card(None) == DataCard(UNSTATED, ())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"intended_use = ", "Invalid value"),
        (b"data = []", "intended_use"),
        (b'intended_use = "x"', "data"),
        (b'intended_use = "x"\ndata = 3', "not iterable"),
        (b"intended_use = 3\ndata = []", "3 where text is due"),
        (b'intended_use = "x"\n[[data]]\nname = "A"', "licence"),
        (b'intended_use = "x"\n[[data]]\nname = "A"\nlicence = 1', "1 where text is due"),
        (b'intended_use = "x"\n[[data]]\nname = "A"\nlicence = "B"\nlicense = "B"', "license"),
        (b'intended_use = "x"\ndata = ["A"]', "'A' where a table is due"),
        (b"\xff\xfe", "decode"),
    ],
)
def test_a_card_that_breaks_a_rule_is_refused_with_the_reason(tmp_path, content, reason):
    (tmp_path / "card.toml").write_bytes(content)
    with pytest.raises(UnusableInputError, match=rf"--data-card must hold .* got card\.toml: .*{reason}"):
        read_data_card(tmp_path / "card.toml")


def test_a_card_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UnusableInputError, match=r"--data-card must be a readable file, .*No such file"):
        read_data_card(tmp_path / "card.toml")


@pytest.mark.parametrize("modality", ["rgb", "thermal"])
def test_the_cards_of_the_shipped_models_can_be_read(modality):
    card = read_data_card(Path(export.__file__).parent / "cards" / f"{modality}.toml")
    assert all(d.name and d.licence for d in card.data)
