"""`kestrel models`: what a model file says of itself, for a person."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge.contract import ModelMetadata
from edge.recognizer import Recognizer, RecognizerSettings

_HEADLINE_FIGURES = 5


def describe_model(file: Path) -> str:
    """Load the file, which checks it against the contract, and put its metadata in words.

    Raises:
        ModelError: it is no model of ours, or one for other compilers.
    """
    recognizer = Recognizer(file, RecognizerSettings(threads=1))
    model = recognizer.metadata
    lines = [
        str(file.name),
        f"  {model.modality}, {model.size}, {model.precision}, version {model.version}, "
        f"{file.stat().st_size / 1e6:.1f} MB, long side {model.default_long_side} px{_looks(model)}",
        *[f"  {dataset}: {headline(figures)}" for dataset, figures in model.metrics.items()],
        f"  use: {model.intended_use}",
        *[f"  trained on: {data.name} ({data.licence})" for data in model.data],
        f"  sha256: {recognizer.info.sha256}",
    ]
    return "\n".join(lines)


def _looks(model: ModelMetadata) -> str:
    again = "" if model.second_look is None else f", looks once more at {model.second_look:g} of it"
    closer = "" if model.closer_look is None else f", and closer at {model.closer_look:g} of it where people are tiny"
    return again + closer


def headline(figures: Any) -> str:
    """The first few numbers of a data set's figures."""
    if not isinstance(figures, Mapping):
        return str(figures)
    numbers = [
        f"{name} {value:.3f}" if isinstance(value, float) else f"{name} {value}"
        for name, value in figures.items()
        if isinstance(value, int | float)
    ]
    return ", ".join(numbers[:_HEADLINE_FIGURES])
