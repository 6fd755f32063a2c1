"""What the parent and its capture process say to each other, pickled over a pipe: one question, one answer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from edge.errors import InvalidValueError
from edge.records import Image, SizeWH

Kind = Literal["stream", "camera", "gstreamer", "picamera", "pattern"]
TRANSPORTS = ("tcp", "udp")
FLIPS = ("none", "horizontal", "vertical", "both")
ROTATIONS = (0, 90, 180, 270)

MAX_SIDE_PX = 16_384
MAX_FPS = 1_000.0


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """How to open a live source. What is None is left to the camera.

    `rtsp_transport` and the time-outs concern streams; width, height and fps cameras; flip and rotate both. A picture
    is turned first (clockwise, in degrees), then flipped.
    """

    rtsp_transport: str = "tcp"
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    flip: str = "none"
    rotate: int = 0
    open_timeout_s: float = 10.0
    read_timeout_s: float = 10.0

    def __post_init__(self) -> None:
        _check_choice("rtsp-transport", self.rtsp_transport, TRANSPORTS)
        _check_choice("flip", self.flip, FLIPS)
        _check_choice("rotate", self.rotate, ROTATIONS)
        for name in ("width", "height"):
            side = getattr(self, name)
            if side is not None and not 1 <= side <= MAX_SIDE_PX:
                raise InvalidValueError(name, f"in 1 to {MAX_SIDE_PX} px", side)
        if self.fps is not None and not 0.0 < self.fps <= MAX_FPS:
            raise InvalidValueError("fps", f"above 0 and at most {MAX_FPS:.0f}", self.fps)
        for name in ("open_timeout_s", "read_timeout_s"):
            if not getattr(self, name) > 0:
                raise InvalidValueError(name, "above 0 s", getattr(self, name))


def _check_choice(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        raise InvalidValueError(name, f"one of {', '.join(map(str, allowed))}", value)


@dataclass(frozen=True, slots=True)
class Target:
    """Parent to child, once: what to open. `address` may hold credentials: it travels through the pipe alone."""

    kind: Kind
    address: str
    options: CaptureOptions


@dataclass(frozen=True, slots=True)
class Wanted:
    """Parent to child, the question: whatever is new since the last answer."""


@dataclass(frozen=True, slots=True)
class Opened:
    """Child to parent: the source is open; None where it does not say how fast it is."""

    fps: float | None


@dataclass(frozen=True, slots=True)
class Taken:
    """Within the child: one picture of the camera. `image` makes the pixels, for those that are asked for alone."""

    captured_s: float  # time.monotonic(), which all processes of a machine share
    captured_at_s: float  # seconds since 1970
    decode_ms: float
    corrupt: bool
    image: Callable[[], Image]
    skipped: int = 0  # pictures before it that were not even decoded


@dataclass(frozen=True, slots=True)
class Handed:
    """Child to parent: the newest picture lies in the shared memory, (H, W, 3) uint8 BGR."""

    number: int  # counts from 1 what this process captured: a gap of n means that n were dropped
    size_wh: SizeWH
    captured_s: float
    captured_at_s: float
    decode_ms: float
    corrupt: bool


@dataclass(frozen=True, slots=True)
class Failed:
    """Child to parent: nothing more will come. `hopeless`: nor will it at another attempt."""

    reason: str
    hopeless: bool = False


class CaptureError(Exception):
    """Within the child: the source failed, in words without credentials."""

    def __init__(self, reason: str, *, hopeless: bool = False) -> None:
        super().__init__(reason)
        self.failed = Failed(reason, hopeless)
