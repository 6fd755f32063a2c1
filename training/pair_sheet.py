"""A contact sheet of test pictures beside the training pictures that they repeat, for eyes to judge."""

import cv2
import numpy as np

from edge.records import Image
from training.datasets import LabelledPicture, load_image
from training.near_duplicates import NearDuplicates

CELL_PX, COLUMNS, MOST_PAIRS = 200, 3, 12
_TITLE_PX, _CAPTION_PX, _GAP_PX = 44, 32, 16


def pair_sheet(found: NearDuplicates) -> Image:
    """Three pairs in a row, evenly taken from the most alike to the least; test on the left. The data sets' licences
    hold for the sheet."""
    chosen = np.linspace(0, len(found.pairs) - 1, min(MOST_PAIRS, len(found.pairs))).round().astype(int)
    rows = max(1, -(-len(chosen) // COLUMNS))
    width = 2 * CELL_PX + _GAP_PX
    sheet = np.full((_TITLE_PX + rows * (CELL_PX + _CAPTION_PX), COLUMNS * width, 3), 255, np.uint8)
    _write(sheet, f"{len(found.pairs)} of {found.pictures} pictures nearly repeat one of {found.training_set}", 17)
    _write(sheet, "left: test; right: training; from the most alike to the least; the data sets' licences hold", 35)
    for place, k in enumerate(chosen):
        pair = found.pairs[k]
        top = _TITLE_PX + place // COLUMNS * (CELL_PX + _CAPTION_PX)
        left = place % COLUMNS * width
        for side, picture in enumerate((pair.test, pair.training)):
            x = left + side * CELL_PX
            sheet[top : top + CELL_PX, x : x + CELL_PX - 2] = _cell(picture)
            _write(sheet, picture.path.stem[-26:], top + CELL_PX + 12, x)
        _write(sheet, f"{pair.distance:.0%} of the bits differ", top + CELL_PX + 26, left)
    return sheet


def _cell(picture: LabelledPicture) -> Image:
    """The picture in its own proportions on grey."""
    image = load_image(picture)
    scale = min((CELL_PX - 2) / image.shape[1], CELL_PX / image.shape[0])
    size = (max(1, int(image.shape[1] * scale)), max(1, int(image.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    cell = np.full((CELL_PX, CELL_PX - 2, 3), 60, np.uint8)
    cell[: small.shape[0], : small.shape[1]] = small
    return cell


def _write(sheet: Image, text: str, y: int, x: int = 4) -> None:
    cv2.putText(sheet, text, (x + 2, y), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (0, 0, 0), 1, cv2.LINE_AA)
