"""Frames for as long as a measurement lasts: a recording over and over, a live source, or pictures made by code."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from edge.errors import ProcessingError
from edge.records import Frame, Image, SizeWH, SourceInfo
from edge.sources import Source, open_source
from edge.sources.shrink import Fit
from edge.sources.signal import OPENING_PATIENCE_S

MADE_WH = SizeWH(1920, 1080)
MADE_FPS = 30.0
_MARGIN_WH = SizeWH(480, 270)  # how far the made camera wanders
_LOOP_S = 8.0


class MadeFrames(Source):
    """A textured ground under a wandering camera, 1080p. It is painted once, and every frame is a view into it, so
    neither its time nor its memory adds to what is measured. The texture is the same on every machine."""

    def __init__(self, *, grey: bool = False) -> None:
        """`grey`: as a thermal camera shows it."""
        self.warnings: list[str] = []
        self.info = SourceInfo("made 1080p frames", MADE_WH, MADE_FPS, None, live=False)
        self._ground = paint_ground(
            SizeWH(MADE_WH.width + _MARGIN_WH.width, MADE_WH.height + _MARGIN_WH.height), grey=grey
        )

    def __iter__(self) -> Iterator[Frame]:
        seq = 0
        while True:
            time_s = seq / MADE_FPS
            angle = 2 * np.pi * time_s / _LOOP_S
            left = round(_MARGIN_WH.width * (1 + np.sin(angle)) / 2)
            top = round(_MARGIN_WH.height * (1 + np.cos(angle)) / 2)
            view = self._ground[top : top + MADE_WH.height, left : left + MADE_WH.width]
            yield Frame(seq=seq, image=view, time_s=time_s)
            seq += 1

    def close(self) -> None:
        """Nothing is open."""


def paint_ground(size_wh: SizeWH, *, grey: bool) -> Image:
    """Noise in patches of 240 px down to single pixels, about as busy as ground from above.

    Plane by plane, since what is needed meanwhile would show in the peak memory of a run.
    """
    random = np.random.default_rng(7)
    ground = np.empty((size_wh.height, size_wh.width, 3), np.uint8)
    ground[..., 0] = _plane(size_wh, random)
    for channel in (1, 2):
        ground[..., channel] = ground[..., 0] if grey else _plane(size_wh, random)
    return ground


def _plane(size_wh: SizeWH, random: np.random.Generator) -> npt.NDArray[np.uint8]:
    """One channel (H, W)."""
    plane = np.full((size_wh.height, size_wh.width), 118, np.float32)
    for patch_px, strength in ((240, 30.0), (60, 18.0), (12, 10.0), (1, 4.0)):
        shape = (size_wh.height // patch_px + 2, size_wh.width // patch_px + 2)
        noise = random.standard_normal(shape, np.float32) * np.float32(strength)
        plane += cv2.resize(noise, (size_wh.width, size_wh.height), interpolation=cv2.INTER_LINEAR)
    return np.clip(plane, 0, 255, out=plane).astype(np.uint8)


class EndlessSource(Source):
    """A source that goes on until `enough()`: a recording starts again at its end, as if it were one long one.

    It gives up where no picture comes: a recording at its end, a live source after `patience_s`.
    """

    def __init__(
        self,
        uri: str | None,
        enough: Callable[[], bool],
        *,
        grey: bool = False,
        fit: Fit | None = None,
        patience_s: float = OPENING_PATIENCE_S,
    ) -> None:
        """Open `uri`, or make frames where it is None. `grey` is for made frames, `fit` as in `open_source`.

        Raises:
            SourceError: it cannot be opened.
        """
        self._uri = uri
        self._enough = enough
        self._fit = fit
        self._patience_s = patience_s
        self._source: Source = MadeFrames(grey=grey) if uri is None else self._open(uri)
        self.info = self._known()
        self.warnings: list[str] = []

    def __iter__(self) -> Iterator[Frame]:
        """Frames until it is enough.

        Raises:
            ProcessingError: no picture came.
        """
        seq, shift_s, alone, reopened = 0, 0.0, False, False
        pictures, picture_at = 0, time.monotonic()
        while True:
            first, end_s = seq, shift_s
            for frame in self._source:
                if self._enough():
                    return
                self.info = self._known()  # a live source learns its size with the first picture
                if frame.image is not None:
                    pictures, picture_at = pictures + 1, time.monotonic()
                elif self.info.live and time.monotonic() - picture_at >= self._patience_s:
                    note = f"no picture of {self.info.uri} came for {self._patience_s:g} s: {frame.reason or 'unknown'}"
                    if not pictures:
                        raise ProcessingError(note)
                    self.warnings.append(f"{note}; the run ends there")
                    return
                time_s = None if frame.time_s is None else frame.time_s + shift_s
                # The first frame of a video has the opening of the file in its time; one that is alone always will.
                opening = reopened and frame.seq == 0 and frame.name is None and not alone
                decode_ms = None if opening else frame.decode_ms
                yield replace(frame, seq=seq, time_s=time_s, decode_ms=decode_ms)
                seq, end_s = seq + 1, end_s if time_s is None else time_s
            if self.info.live or self._uri is None:
                return
            if not pictures:
                raise ProcessingError(f"not one picture of {self.info.uri} could be decoded")
            alone, reopened = seq - first == 1, True
            shift_s = end_s + 1 / (self.info.fps or MADE_FPS)
            self._source.close()
            self._source = self._open(self._uri)

    def close(self) -> None:
        """Close what is open."""
        self._source.close()

    def _known(self) -> SourceInfo:
        return replace(self._source.info, frame_count=None)

    def _open(self, uri: str) -> Source:
        return open_source(uri, still_running=lambda: not self._enough(), fit=self._fit)
