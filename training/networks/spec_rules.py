"""What any architecture of ours keeps to: a file may ask for one, and its word is not trusted with memory."""

from collections.abc import Sequence

from edge.errors import InvalidValueError
from edge.metadata_json import require_number, require_text, require_whole

MOST_CHANNELS, MOST_LAYERS, MOST_STAGES = 1024, 32, 64


def require_texts(**texts: object) -> None:
    """Raises InvalidValueError for anything but text."""
    for name, value in texts.items():
        require_text(name, value)


def require_sizes(width: object, class_depth: object, box_depth: object, frozen_stages: object) -> None:
    """Raises InvalidValueError for what is no whole number, or more than any network of ours has."""
    require_whole("width", width, 1, MOST_CHANNELS)
    require_whole("class_depth", class_depth, 0, MOST_LAYERS)
    require_whole("box_depth", box_depth, 0, MOST_LAYERS)
    require_whole("frozen_stages", frozen_stages, 0, MOST_STAGES)


def require_normalization(mean: Sequence[float], std: Sequence[float]) -> None:
    """Raises InvalidValueError unless both are three numbers, those of `std` above 0."""
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != 3:
            raise InvalidValueError(name, "three numbers, of red, green and blue", values)
        for value in values:
            require_number(name, value)
    if min(std) <= 0:
        raise InvalidValueError("std", "above 0", std)
