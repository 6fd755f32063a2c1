"""Charts and contact sheets as PNG files."""

from pathlib import Path

import cv2
from matplotlib.figure import Figure

from edge.errors import ProcessingError
from edge.records import Image


def save_figure(figure: Figure, file: Path, dpi: int = 110) -> Path:
    """Write a chart.

    Raises:
        ProcessingError: the file cannot be written.
    """
    try:
        figure.savefig(file, dpi=dpi)
    except OSError as error:
        raise _unwritable(file, error) from None
    return file


def save_sheet(image: Image, file: Path) -> Path:
    """Write a picture (H, W, 3) BGR. Raises as `save_figure`."""
    try:
        file.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    except OSError as error:
        raise _unwritable(file, error) from None
    return file


def _unwritable(file: Path, error: OSError) -> ProcessingError:
    return ProcessingError(f"{file} cannot be written: {error.strerror}")
