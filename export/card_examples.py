"""Example pictures of a card: what the finished model says of pictures whose licence its author vouches for."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edge.drawing import draw
from edge.errors import UnusableInputError
from edge.recognizer import Recognizer
from edge.records import Frame, Image
from edge.reports import make_frame_record
from edge.sources.pictures import read_picture
from edge.verdict import Judge

WIDTH_PX = 960
_JPEG_QUALITY = 85
_MOST_PX = 65_500  # of a side of a JPEG file, as OpenCV's library has it


def read_examples(files: Sequence[Path]) -> tuple[Image, ...]:
    """The pictures, decoded.

    Raises:
        UnusableInputError: one of them cannot be, or all together are too high for one sheet.
    """
    images = []
    for file in files:
        image = read_picture(file).image
        if image is None:
            raise UnusableInputError(
                f"--show must be a picture that OpenCV can decode, got {str(file)!r}; name a JPEG or PNG file"
            )
        images.append(image)
    height_px = sum(map(_shown_height, images))
    if height_px > _MOST_PX:
        raise UnusableInputError(
            f"--show must fit into a JPEG file, got {WIDTH_PX}x{height_px} px; name fewer, or others"
        )
    return tuple(images)


def draw_examples(model_file: Path, images: Sequence[Image]) -> bytes | None:
    """A JPEG file: the pictures with their boxes, one below the other; None where there is none."""
    if not images:
        return None
    recognizer = Recognizer(model_file)
    sheet = np.vstack([_shown(recognizer, image, k) for k, image in enumerate(images)])
    _, content = cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return content.tobytes()


def _shown(recognizer: Recognizer, image: Image, seq: int) -> Image:
    frame = Frame(seq=seq, image=image)
    recognition = recognizer.recognise(image)
    verdict = Judge(recognizer.metadata.verdict).judge(frame, recognition).verdict
    drawn = draw(image, make_frame_record(frame, recognition, verdict))
    return np.asarray(cv2.resize(drawn, (WIDTH_PX, _shown_height(drawn)), interpolation=cv2.INTER_AREA), np.uint8)


def _shown_height(image: Image) -> int:
    """In pixels, at the sheet's width."""
    height, width = image.shape[:2]
    return max(1, round(int(height) * WIDTH_PX / int(width)))
