"""Small videos made by code. Each frame carries its own number as a row of black and white bars."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from edge.records import Frame, Image
from edge.sources import Source, open_source

BITS = 8
BAR_PX = 16
TIME_BASE = Fraction(1, 90_000)
B_FRAMES = {"bf": "3", "b-pyramid": "normal"}
INDEX_FIRST = {"movflags": "faststart"}
QUIET_HEVC = {"x265-params": "log-level=none"}
INTERLACED = {"x264-params": "interlaced=1"}
AV1 = next((codec for codec in ("libsvtav1", "libaom-av1") if codec in av.codecs_available), None)
VARIABLE_STEPS = (3000, 1500, 9000, 4500, 3003, 6100)  # in TIME_BASE: 10 to 60 frames a second


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a test video is encoded."""

    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)
    muxer: dict[str, str] = field(default_factory=dict)
    steps: Sequence[int] = (3000,)
    begins_at: int = 0  # in TIME_BASE
    pixel_aspect: Fraction = Fraction(1)
    title: str = ""


def numbered_image(number: int, width: int = BITS * BAR_PX, height: int = 64) -> Image:
    """A grey picture whose upper half says `number` in bars."""
    image = np.full((height, width, 3), 90, np.uint8)
    for bit in range(BITS):
        image[: height // 2, bit * BAR_PX : (bit + 1) * BAR_PX] = 255 * (number >> bit & 1)
    return image


def number_of(image: Image) -> int:
    """The number that `numbered_image` wrote."""
    row = image[image.shape[0] // 4].mean(axis=1)
    return sum(1 << bit for bit in range(BITS) if row[bit * BAR_PX + BAR_PX // 2] > 128)


def make_video(path: Path, frames: int, recipe: Recipe | None = None) -> list[float]:
    """Write `frames` numbered frames; returns their presentation times in seconds, the first at 0."""
    recipe = recipe or Recipe()
    times_s = []
    with av.open(str(path), "w", options=recipe.muxer) as container:
        container.metadata["title"] = recipe.title
        stream = container.add_stream(recipe.codec, rate=30, options=recipe.options)
        stream.width, stream.height, stream.pix_fmt = BITS * BAR_PX, 64, recipe.pixel_format
        stream.codec_context.time_base = TIME_BASE
        stream.sample_aspect_ratio = recipe.pixel_aspect
        pts = recipe.begins_at
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(numbered_image(number), format="bgr24")
            frame = frame.reformat(format=recipe.pixel_format)
            frame.pts, frame.time_base = pts, TIME_BASE
            container.mux(stream.encode(frame))
            times_s.append(float((pts - recipe.begins_at) * TIME_BASE))
            pts += recipe.steps[number % len(recipe.steps)]
        container.mux(stream.encode(None))
    return times_s


def read(path: Path) -> tuple[Source, list[Frame]]:
    """A video's source, after all of its frames."""
    with open_source(str(path)) as source:
        return source, list(source)


def images_of_opencv(path: Path) -> Iterator[Image]:
    """What OpenCV makes of a video: an authority, but for interlaced ones."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    while (frame := capture.read())[0]:
        yield np.asarray(frame[1], np.uint8)
    capture.release()
