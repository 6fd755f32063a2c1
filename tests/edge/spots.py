"""Pictures and videos of bright spots on dark ground, for the model of tests/models.py."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from edge.records import Image

WIDTH, HEIGHT = 320, 192  # what the model takes one to one
FPS = 10
GROUND = 20  # its score stays far below any threshold that is used


def spots(*corners: tuple[int, int], width: int = WIDTH, height: int = HEIGHT, side: int = 12) -> Image:
    """A picture with a white square at each upper left corner (x, y)."""
    image = np.full((height, width, 3), GROUND, np.uint8)
    for x, y in corners:
        image[y : y + side, x : x + side] = 255
    return image


def write_pictures(folder: Path, images: Iterable[Image]) -> Path:
    """`000.png`, `001.png`, ... in a new folder."""
    folder.mkdir()
    for index, image in enumerate(images):
        cv2.imwrite(str(folder / f"{index:03d}.png"), image)
    return folder


def write_video(path: Path, images: Iterable[Image], movflags: str = "faststart") -> Path:
    """An MP4 of 10 frames a second; its index is at the front, so that it can be cut."""
    with av.open(str(path), "w", options={"movflags": movflags}) as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "1", "preset": "ultrafast", "g": "5"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.thread_count = 1
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def crossing(frames: int = 20, first: int = 5, last: int = 11) -> list[Image]:
    """A spot that walks 4 px a frame from frame `first` to frame `last`; nobody before and after."""
    return [spots((40 + 4 * index, 80)) if first <= index <= last else spots() for index in range(frames)]
