"""JSON of a model file's metadata, and rules for its values: whoever made the file may be anybody. Standard library."""

import json
import math
import unicodedata
from typing import Any

from edge.errors import InvalidValueError

MOST_NESTED = 32
_MOST_DIGITS = 18  # a whole number of more is no figure of ours, and converting it may take for ever


def parse(text: str) -> Any:
    """The value of a field: finite numbers, no control characters, not nested without end.

    Raises:
        ValueError: it is none; the text says what.
    """
    try:
        value = json.loads(text, parse_constant=_refuse, parse_int=_whole, parse_float=_finite)
    except RecursionError:
        raise ValueError(f"nested more than {MOST_NESTED} deep") from None
    _walk(value, MOST_NESTED)
    return value


def require_text(name: str, value: object) -> None:
    """Raises InvalidValueError for anything but a str without control characters."""
    if not isinstance(value, str):
        raise InvalidValueError(name, "a text", value)
    if _controls(value):
        raise InvalidValueError(name, "a text without control characters", value)


def require_whole(name: str, value: object, low: int, high: int) -> None:
    """Raises InvalidValueError for anything but an int in low..high."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidValueError(name, f"a whole number in {low}..{high}", value)


def require_number(name: str, value: object) -> None:
    """Raises InvalidValueError for anything but a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidValueError(name, "a finite number", value)


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number")


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"a whole number of {len(text)} digits")
    return int(text)


def _finite(text: str) -> float:
    if not math.isfinite(float(text)):
        raise ValueError("a number beyond all bounds")
    return float(text)


def _walk(value: object, levels: int) -> None:
    if isinstance(value, str):
        if _controls(value):
            raise ValueError("a text with control characters")
    elif isinstance(value, dict | list):
        if levels == 0:
            raise ValueError(f"nested more than {MOST_NESTED} deep")
        inner = [*value, *value.values()] if isinstance(value, dict) else value
        for one in inner:
            _walk(one, levels - 1)


def _controls(text: str) -> bool:
    """Whether a terminal would obey some of it, or no file could hold it in UTF-8."""
    return any(unicodedata.category(letter) in ("Cc", "Cs") and letter not in "\n\t" for letter in text)
