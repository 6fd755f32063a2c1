"""A contact sheet of pseudo-labelled frames: what the teacher taught, at a glance.

The frames are the user's own, or somebody's: look at them, and publish only what may be published.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from edge.records import Image
from edge.sources.pictures import read_picture
from training.pseudo_labels import PseudoLabelled

COLUMNS, ROWS = 4, 5
TILE_WH = (400, 300)
TITLE_PX = 48

# BGR (Okabe and Ito)
_ORANGE = (0, 159, 230)
_GREY = (170, 170, 170)
_BLACK = (0, 0, 0)
_WHITE = (255, 255, 255)


def label_sheet(labelled: Sequence[PseudoLabelled], title: str) -> Image:
    """Twenty frames, evenly taken, those with people first; BGR."""
    people = [one for one in labelled if len(one.scores)]
    empty = [one for one in labelled if not len(one.scores)]
    most = COLUMNS * ROWS
    shown = [*_few(people, most - min(len(empty), COLUMNS)), *_few(empty, COLUMNS)]
    rows = max(1, -(-len(shown) // COLUMNS))
    sheet = np.full((TITLE_PX + rows * TILE_WH[1], COLUMNS * TILE_WH[0], 3), 255, np.uint8)
    _write(sheet, title, (6, 17), _BLACK)
    for k, (text, colour) in enumerate((("taught as a pedestrian", _ORANGE), ("doubtful, ignored", _GREY))):
        cv2.rectangle(sheet, (6 + 220 * k, 26), (20 + 220 * k, 40), colour, -1)
        _write(sheet, text, (26 + 220 * k, 38), _BLACK)
    for k, one in enumerate(shown):
        top, left = TITLE_PX + k // COLUMNS * TILE_WH[1], k % COLUMNS * TILE_WH[0]
        sheet[top : top + TILE_WH[1], left : left + TILE_WH[0]] = _tile(one)
    return sheet


def _few(labelled: Sequence[PseudoLabelled], most: int) -> list[PseudoLabelled]:
    return [labelled[i] for i in np.linspace(0, len(labelled) - 1, min(most, len(labelled))).round().astype(int)]


def _tile(one: PseudoLabelled) -> Image:
    tile = np.full((TILE_WH[1], TILE_WH[0], 3), 60, np.uint8)
    image = read_picture(one.picture.path).image
    if image is None:
        return tile
    scale = min(TILE_WH[0] / image.shape[1], (TILE_WH[1] - 16) / image.shape[0])
    shrunk = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    for boxes, colour in ((one.picture.ignore_xyxy, _GREY), (one.picture.boxes_xyxy, _ORANGE)):
        for x0, y0, x1, y1 in np.round(boxes * scale).astype(int).tolist():
            cv2.rectangle(shrunk, (x0 - 1, y0 - 1), (x1 + 1, y1 + 1), colour, 1)
    tile[: shrunk.shape[0], : shrunk.shape[1]] = shrunk
    lowest = f", lowest score {one.scores.min():.2f}" if len(one.scores) else ""
    tile[-16:] = 0
    _write(tile, f"{one.picture.path.stem[-28:]}: {len(one.scores)}{lowest}", (4, TILE_WH[1] - 4), _WHITE)
    tile[:, -1] = 255
    return tile


def _write(image: Image, text: str, at: tuple[int, int], colour: tuple[int, int, int]) -> None:
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1, cv2.LINE_AA)
