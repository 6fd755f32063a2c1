"""The annotated video of a live source in files of some minutes: each is whole once the next one begins, and a camera
that comes back with another size gets a new one."""

import time
from pathlib import Path

from edge.errors import InvalidValueError
from edge.records import Frame, FrameRecord, Record, SizeWH, size_of
from edge.results import SEGMENT
from edge.sinks.own_files import Budget, OwnFiles
from edge.sinks.part import VideoPart, room_for, time_of
from edge.sinks.sink import Sink

_LOOK_AGAIN_S = 5.0


class SegmentsSink(Sink):
    """`annotated-<UTC time>.mp4`, one after another, in a folder."""

    def __init__(
        self, folder: Path, segment_s: float, fps: float | None, budget: Budget, fsync_s: float | None = None
    ) -> None:
        """Raises InvalidValueError where the folder cannot be created, or `segment_s` is less than a second."""
        if segment_s < 1:
            raise InvalidValueError("segment_s", "at least 1", segment_s)
        self.warnings: list[str] = []
        self._files = OwnFiles(folder, budget)
        self._segment_s = segment_s
        self._fps = fps
        self._fsync_s = fsync_s
        self._part: VideoPart | None = None
        self._size_wh: SizeWH | None = None
        self._paused_until = 0.0

    def write(self, record: Record, frame: Frame | None) -> None:
        """Append the frame of a frame record.

        Raises:
            ProcessingError: the file cannot be written further; what was written stays readable.
        """
        if isinstance(record, FrameRecord) and frame is not None and (part := self._part_for(frame)) is not None:
            part.write(record, frame)

    def skip(self, frame: Frame) -> None:
        """Append a frame that was not recognised."""
        if (part := self._part_for(frame)) is not None:
            part.skip(frame)

    def idle(self) -> None:
        """Sync the disk where that is due."""
        self._keep_house()

    def settle(self) -> None:
        """Finish the last file. Raises ProcessingError."""
        self.close()

    def close(self) -> None:
        """Finish the last file."""
        part, self._part = self._part, None
        if part is not None:
            self._gather(part)
            part.close()

    def _part_for(self, frame: Frame) -> VideoPart | None:
        """The file that takes the frame, the open one or a new one; None before the first picture, or without room."""
        self._keep_house()
        if frame.image is not None:
            self._size_wh = size_of(frame.image)
        if self._part is not None:
            age_s = time_of(frame, self._fps) - self._part.start_s
            if self._part.size_wh == self._size_wh and 0 <= age_s < self._segment_s:
                return self._part
            self.close()
        if self._size_wh is None or time.monotonic() < self._paused_until:
            return None
        full = room_for(self._files)
        if full is not None:
            self._pause(full)
            return None
        self._part = VideoPart(self._files, SEGMENT, frame, self._size_wh, self._fps, self._fsync_s)
        return self._part

    def _keep_house(self) -> None:
        full = None if self._part is None else self._part.keep_house()
        if full is not None:
            self.close()
            self._pause(full)

    def _pause(self, why: str) -> None:
        self._paused_until = time.monotonic() + _LOOK_AGAIN_S
        note = f"the annotated video pauses: {why}"
        if not any(warning.startswith("the annotated video pauses") for warning in self.warnings):
            self.warnings.append(note)

    def _gather(self, part: VideoPart) -> None:
        self.warnings += [warning for warning in part.warnings if warning not in self.warnings]
