"""`test:`, a moving test pattern: somebody walks over rough ground.

    test:                  1280x720 at 30 frames a second
    test:640x360@15        another size and rate; rates up to 1000 serve soak tests

The same number of frame is the same picture on every machine. The first pixels of the top row say it in bits.
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from edge.capture.messages import MAX_FPS, CaptureError, Opened, Taken
from edge.errors import InvalidValueError
from edge.records import Image, SizeWH

_SPEC = re.compile(r"(?:(\d{1,5})[xX](\d{1,5}))?(?:@(\d{1,4}(?:\.\d{1,3})?))?")
_MARGIN_PX = 64  # how far the ground moves under the camera
_GROUND_STEPS = 256
_CROSSING_FRAMES = 300
_BITS = 32
_MIN_SIDE_PX = 32
_MAX_SIDE_PX = 8192
_DEFAULT_WH = SizeWH(1280, 720)


@dataclass(frozen=True, slots=True)
class Pattern:
    """Size and rate of a test pattern."""

    size_wh: SizeWH = _DEFAULT_WH
    fps: float = 30.0

    def __post_init__(self) -> None:
        if not _MIN_SIDE_PX <= min(self.size_wh.to_json()) <= max(self.size_wh.to_json()) <= _MAX_SIDE_PX:
            raise InvalidValueError("test", f"of sides of {_MIN_SIDE_PX} to {_MAX_SIDE_PX} px", str(self.size_wh))
        if not 0.0 < self.fps <= MAX_FPS:
            raise InvalidValueError("test", f"above 0 and at most {MAX_FPS:.0f} frames a second", self.fps)


def parse_pattern(text: str) -> Pattern:
    """`WxH@FPS`, both parts optional.

    Raises:
        InvalidValueError: it is no such text, or out of range.
    """
    match = _SPEC.fullmatch(text)
    if match is None:
        raise InvalidValueError("test", "followed by WxH@FPS or a part of it", text, "for example test:1280x720@30")
    width, height, fps = match.groups()
    default = Pattern()
    size_wh = SizeWH(int(width), int(height)) if width else default.size_wh
    return Pattern(size_wh, float(fps) if fps else default.fps)


def read_pattern(text: str) -> Iterator[Opened | Taken]:
    """Frames at their rate, for ever. Where the machine cannot keep up, the pattern slows down."""
    try:
        pattern = parse_pattern(text)
    except InvalidValueError as error:
        raise CaptureError(str(error), hopeless=True) from None
    yield Opened(pattern.fps)
    ground = paint_ground(pattern.size_wh)
    due_s, number = time.monotonic(), 0
    while True:
        started_s = time.monotonic()
        image = paint(ground, pattern.size_wh, number)
        now_s = time.monotonic()
        yield Taken(now_s, time.time(), 1e3 * (now_s - started_s), corrupt=False, image=partial(np.asarray, image))
        number += 1
        due_s = max(due_s + 1.0 / pattern.fps, now_s - 1.0 / pattern.fps)
        time.sleep(max(0.0, due_s - time.monotonic()))


def paint_ground(size_wh: SizeWH) -> Image:
    """Grass and stones, larger than the picture by the margin."""
    random = np.random.default_rng(3)
    height, width = size_wh.height + _MARGIN_PX, size_wh.width + _MARGIN_PX
    patches = random.integers(70, 130, (height // 8 + 1, width // 8 + 1, 1), np.uint8)
    ground = np.repeat(np.repeat(patches, 8, 0), 8, 1)[:height, :width]
    grains = random.integers(0, 16, (height, width, 1), np.uint8)
    return np.asarray((ground + grains) * np.array([0.75, 1.0, 0.85]), np.uint8)


def paint(ground: Image, size_wh: SizeWH, number: int) -> Image:
    """Frame `number`: a view of the ground, and a walker of about a twelfth of its height."""
    left, top = _drift(number), _drift(number + _GROUND_STEPS // 4)
    image = ground[top : top + size_wh.height, left : left + size_wh.width].copy()
    tall = max(12, size_wh.height // 12)
    wide = max(4, tall // 3)
    x = round((number % _CROSSING_FRAMES) / _CROSSING_FRAMES * (size_wh.width - wide))
    y = size_wh.height // 2 - tall // 2
    step = wide // 2 if number // 5 % 2 else 0
    parts = (
        (y, y + tall // 5, x + wide // 4, x + wide - wide // 4, (140, 170, 215)),  # head
        (y + tall // 5, y + tall * 3 // 5, x, x + wide, (40, 40, 190)),  # jacket
        (y + tall * 3 // 5, y + tall, x + step, x + step + max(1, wide // 2), (70, 45, 35)),  # legs
    )
    for upper, lower, start, end, colour in parts:
        image[upper:lower, start:end] = colour
    image[0, :_BITS] = 255 * (number >> np.arange(_BITS)[:, None] & 1)
    return image


def number_in(image: Image) -> int:
    """The number of a frame of the pattern."""
    return sum(1 << bit for bit in range(_BITS) if image[0, bit, 0] > 127)


def _drift(number: int) -> int:
    """There and back over the margin."""
    step = number % _GROUND_STEPS
    return _MARGIN_PX * min(step, _GROUND_STEPS - step) * 2 // _GROUND_STEPS
