"""What a model was trained on, as its author states it: a small TOML file beside the training data.

intended_use = "..."
[[data]]
name = "HIT-UAV"
licence = "CC BY 4.0"
attribution = "Suo et al., Scientific Data 10, 227 (2023)"
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge.contract import TrainingData
from edge.errors import UnusableInputError

UNSTATED = "Not stated by its author; find out what it was trained on before you rely on it."


@dataclass(frozen=True, slots=True)
class DataCard:
    """Intended use, and every data set that shaped the weights with its licence."""

    intended_use: str
    data: tuple[TrainingData, ...]


def read_data_card(path: Path | None) -> DataCard:
    """Read the file; without one the card says that nothing is stated.

    Raises:
        UnusableInputError: missing, not TOML, or a field is missing or unknown.
    """
    if path is None:
        return DataCard(UNSTATED, ())
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        return DataCard(_text(values["intended_use"]), tuple(_training_data(entry) for entry in values["data"]))
    except OSError as error:
        raise UnusableInputError(f"--data-card must be a readable file, got {str(path)!r}; {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:  # no text, no TOML, a field that is missing or of another kind
        raise UnusableInputError(
            f"--data-card must hold intended_use and [[data]] with name and licence, got {path.name}: {error}; "
            "see training/data_card.py for an example"
        ) from None


def _training_data(entry: object) -> TrainingData:
    if not isinstance(entry, Mapping):
        raise TypeError(f"{entry!r} where a table is due")
    return TrainingData(**{name: _text(value) for name, value in entry.items()})


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} where text is due")
    return value
