"""One video file out of many, as segments and clips are: its time begins at its first frame, and it is ours."""

import time
from dataclasses import replace
from pathlib import Path

from edge.records import Frame, FrameRecord, SizeWH
from edge.sinks.own_files import OwnFiles, moment_of
from edge.sinks.sink import broken_off
from edge.sinks.textfile import sync_file
from edge.sinks.video import VideoSink

_LOOK_EVERY_S = 1.0  # at the disk


class VideoPart:
    """A video file that grows until it is closed, or until there is no room for it."""

    def __init__(
        self, files: OwnFiles, kind: str, first: Frame, size_wh: SizeWH, fps: float | None, fsync_s: float | None
    ) -> None:
        """Create the file, named after the moment of its `first` frame.

        Raises:
            KestrelError: it cannot be created.
        """
        self.size_wh = size_wh
        self.start_s = time_of(first, fps)
        self._files = files
        self._fsync_s = fsync_s
        self._fps = fps
        self._looked_at = self._synced_at = time.monotonic()
        try:
            self.path: Path = files.begin(kind, moment_of(first, self.start_s))
        except OSError as error:
            raise broken_off(files.folder, error) from None
        self._video = VideoSink(self.path, size_wh, fps)

    @property
    def warnings(self) -> list[str]:
        """Those of the video."""
        return self._video.warnings

    def write(self, record: FrameRecord, frame: Frame) -> None:
        """Append a frame with its boxes. Raises ProcessingError."""
        self._video.write(record, self._shifted(frame))

    def skip(self, frame: Frame) -> None:
        """Append a frame that was not recognised. Raises ProcessingError."""
        self._video.skip(self._shifted(frame))

    def keep_house(self) -> str | None:
        """Sync and look at the disk where it is time: why the file cannot grow on, or None. Raises ProcessingError."""
        now = time.monotonic()
        try:
            if self._fsync_s is not None and now - self._synced_at >= self._fsync_s:
                self._synced_at = now
                sync_file(self.path)
            if now - self._looked_at >= _LOOK_EVERY_S:
                self._looked_at = now
                return self._files.make_room(self.path)
        except OSError as error:
            raise broken_off(self.path, error) from None
        return None

    def close(self) -> None:
        """Finish the file. Raises ProcessingError; what was written stays readable."""
        try:
            self._video.close()
        finally:
            try:
                self._files.finish(self.path)
                if self._fsync_s is not None and self.path.exists():
                    sync_file(self.path)
            except OSError as error:
                raise broken_off(self.path, error) from None

    def _shifted(self, frame: Frame) -> Frame:
        return replace(frame, time_s=max(0.0, time_of(frame, self._fps) - self.start_s))


def time_of(frame: Frame | FrameRecord, fps: float | None) -> float:
    """Seconds in the source; where frames have none, as many as their number says."""
    return frame.time_s if frame.time_s is not None else frame.seq / (fps or 25.0)


def room_for(files: OwnFiles) -> str | None:
    """Why there is no room for a new file; None where there is. Raises ProcessingError."""
    try:
        return files.make_room()
    except OSError as error:
        raise broken_off(files.folder, error) from None
