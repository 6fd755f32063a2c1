"""Pictures that show nothing at all: of a covered lens, or of a camera that has failed and goes on sending."""

from edge.records import Image

SAMPLE = (slice(None, None, 16), slice(None, None, 16))  # most pictures are told apart by these pixels
_BLACK_BELOW = 8


def is_black(image: Image) -> bool:
    """Whether every value of the picture is below 8."""
    return bool(image[SAMPLE].max() < _BLACK_BELOW) and bool(image.max() < _BLACK_BELOW)
