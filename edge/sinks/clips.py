"""Event clips: some seconds before and after the verdict became pedestrian, as video files with a budget.

The seconds before an event wait as JPEGs in bounded memory. A clip is written a few frames at a time, also while new
ones come, so that beginning one takes no longer than going on with it.
"""

from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from edge.errors import InvalidValueError, ProcessingError
from edge.records import Event, Frame, FrameRecord, Image, Record, SizeWH, Summary, size_of
from edge.sinks.own_files import Budget, OwnFiles
from edge.sinks.part import VideoPart, room_for, time_of
from edge.sinks.sink import Sink

MAX_CLIP_S = 600.0  # people who come and go make one clip grow up to this
_MEMORY_BYTES = 64_000_000
_QUALITY = 95  # at 90 a clip of the same frames is a sixth to two fifths larger: it carries JPEG's own noise
_CATCH_UP = 3  # frames written for each new one


@dataclass(frozen=True, slots=True)
class ClipOptions:
    """Where clips go, and how much of each side of an event they hold."""

    folder: Path
    before_s: float = 5.0
    after_s: float = 10.0
    budget: Budget = field(default_factory=lambda: Budget("clips_max_mb", 1000.0))

    def __post_init__(self) -> None:
        if not 0 <= self.before_s <= 60:
            raise InvalidValueError("clip_before_s", "0 to 60", self.before_s)
        if not 0 < self.after_s <= MAX_CLIP_S / 2:
            raise InvalidValueError("clip_after_s", f"more than 0 and at most {MAX_CLIP_S / 2:g}", self.after_s)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A frame that waits: its picture as JPEG, None where there was none."""

    record: FrameRecord
    frame: Frame  # with a dot for a picture
    jpeg: bytes | None
    size_wh: SizeWH | None
    time_s: float


class ClipsSink(Sink):
    """`<name>-<moment>.mp4`, one an event; an event during a clip makes it longer."""

    def __init__(
        self,
        options: ClipOptions,
        name: str,
        fps: float | None,
        fsync_s: float | None = None,
        memory_bytes: int = _MEMORY_BYTES,
    ) -> None:
        """`name` is the source's. Raises InvalidValueError where the folder cannot be created."""
        self.warnings: list[str] = []
        self._options = options
        self._name = name
        self._files = OwnFiles(options.folder, options.budget)
        self._fps = fps
        self._fsync_s = fsync_s
        self._memory_bytes = memory_bytes
        self._kept: deque[_Kept] = deque()
        self._kept_bytes = 0
        self._next = 0  # of the kept ones for the open clip
        self._size_wh: SizeWH | None = None
        self._part: VideoPart | None = None
        self._begins_s = 0.0
        self._ends_s: float | None = None  # None: no clip is open

    def write(self, record: Record, frame: Frame | None) -> None:
        """Keep the frame, begin a clip at an `appeared`, and go on with the open one.

        Raises:
            ProcessingError: a clip cannot be written; what was written of it stays readable.
        """
        if isinstance(record, FrameRecord) and frame is not None:
            self._keep(record, frame)
            self._go_on(_CATCH_UP)
            self._forget()
        elif isinstance(record, Event) and record.event == "appeared" and self._kept:
            self._begin(self._kept[-1].time_s if record.time_s is None else record.time_s)
        elif isinstance(record, Summary):
            self.close()

    def idle(self) -> None:
        """Catch up while nothing comes."""
        self._go_on(_CATCH_UP)

    def settle(self) -> None:
        """Finish the open clip. Raises ProcessingError."""
        self.close()

    def close(self) -> None:
        """Finish the open clip with what there is."""
        self._go_on(len(self._kept))
        self._end()

    def _keep(self, record: FrameRecord, frame: Frame) -> None:
        jpeg, size_wh = None, None
        if frame.image is not None:
            jpeg, size_wh = _encode(frame.image), size_of(frame.image)
            frame = replace(frame, image=_DOT)
        self._kept.append(_Kept(record, frame, jpeg, size_wh, time_of(frame, self._fps)))
        self._kept_bytes += len(jpeg or b"")

    def _forget(self) -> None:
        """Let go of frames that no clip will want, or that memory cannot hold; the open clip gets them first."""
        wanted_s = self._kept[-1].time_s - self._options.before_s
        while len(self._kept) > 1:
            too_many = self._kept_bytes > self._memory_bytes
            if not too_many and self._kept[0].time_s >= wanted_s:
                return
            if self._ends_s is not None and self._next == 0:
                if not too_many:
                    return
                self._go_on(1)
            elif self._kept[0].time_s >= wanted_s:
                self._note(f"clips begin less than {self._options.before_s:g} s before an event: memory is bounded")
            self._kept_bytes -= len(self._kept.popleft().jpeg or b"")
            self._next = max(0, self._next - 1)

    def _begin(self, at_s: float) -> None:
        """A clip around this moment, or a longer one where one is open."""
        if self._ends_s is not None:
            self._ends_s = min(at_s + self._options.after_s, self._begins_s + MAX_CLIP_S)
            return
        full = room_for(self._files)
        if full is not None:
            self._note(f"clips pause: {full}")
            return
        begins_s = at_s - self._options.before_s
        self._next = next((i for i, kept in enumerate(self._kept) if kept.time_s >= begins_s), len(self._kept) - 1)
        self._begins_s, self._ends_s = self._kept[self._next].time_s, at_s + self._options.after_s

    def _go_on(self, at_most: int) -> None:
        """Write so many of the frames that wait into the open clip, and end it where it is complete."""
        for _ in range(at_most):
            if self._ends_s is None or self._next >= len(self._kept):
                return
            kept = self._kept[self._next]
            if kept.time_s > self._ends_s:
                self._end()
                return
            self._next += 1
            self._append(kept)

    def _append(self, kept: _Kept) -> None:
        self._size_wh = kept.size_wh or self._size_wh
        if self._size_wh is None:
            return
        if self._part is None:
            self._part = VideoPart(self._files, self._name, kept.frame, self._size_wh, self._rate(), self._fsync_s)
        self._part.write(
            kept.record, kept.frame if kept.jpeg is None else replace(kept.frame, image=_decode(kept.jpeg))
        )
        full = self._part.keep_house()
        if full is not None:
            self._end()
            self._note(f"clips pause: {full}")

    def _end(self) -> None:
        part, self._part, self._ends_s = self._part, None, None
        if part is not None:
            part.close()

    def _rate(self) -> float | None:
        """Frames a second as they come, which in a live run is less than the camera's."""
        seconds = self._kept[-1].time_s - self._kept[0].time_s
        return (len(self._kept) - 1) / seconds if seconds > 0 else self._fps

    def _note(self, text: str) -> None:
        if not any(warning.partition(":")[0] == text.partition(":")[0] for warning in self.warnings):
            self.warnings.append(text)


_DOT: Image = np.zeros((1, 1, 3), np.uint8)


def _encode(image: Image) -> bytes:
    encoded, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not encoded:
        raise ProcessingError("a frame is too large for JPEG: clips cannot be made of it")
    return jpeg.tobytes()


def _decode(jpeg: bytes) -> Image:
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)
