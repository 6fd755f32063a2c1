"""Draws and encodes as `kestrel watch` does, into files that nobody keeps, and times it."""

import time
from pathlib import Path

import cv2

from edge.bench.meter import Meter
from edge.drawing import draw
from edge.errors import ProcessingError
from edge.records import Frame, FrameRecord, Header, Image, Record, SizeWH
from edge.sinks import Sink, VideoSink

_FRAMES_A_FILE = 300  # then the encoder starts a new file, so that a run of hours does not fill the disk


class EncodingSink(Sink):
    """A video to H.264, pictures to JPEG; the meter is told what it took."""

    def __init__(self, scratch: Path, meter: Meter) -> None:
        self.warnings: list[str] = []
        self._scratch = scratch
        self._fps: float | None = None
        self._meter = meter
        self._video: VideoSink | None = None
        self._encoded = 0

    def write(self, record: Record, frame: Frame | None) -> None:
        """Draw and encode one frame."""
        if isinstance(record, Header):
            self._fps = record.fps
        if not isinstance(record, FrameRecord) or frame is None or frame.image is None:
            return
        video = None if frame.name is not None or frame.size_wh is None else self._opened(frame.size_wh)
        started = time.perf_counter()
        image = draw(frame.image, record) if video is None else video.draw(frame, record)
        drawn = time.perf_counter()
        if video is None:
            encode_jpeg(image)
        else:
            video.append(frame, image)
        encoded = time.perf_counter()
        self._meter.add_stages({"draw": 1000 * (drawn - started), "encode": 1000 * (encoded - drawn)})

    def close(self) -> None:
        """Finish the file."""
        if self._video is not None:
            self._video.close()
        self._video, self._encoded = None, 0

    def _opened(self, size_wh: SizeWH) -> VideoSink:
        """The file that the next frame goes into."""
        if self._encoded == _FRAMES_A_FILE:
            self.close()
        if self._video is None:
            self._video = VideoSink(self._scratch / "scratch.mp4", size_wh, self._fps)
        self._encoded += 1
        return self._video


def encode_jpeg(image: Image) -> None:
    """Encode and forget.

    Raises:
        ProcessingError: the picture is too large for JPEG.
    """
    try:
        cv2.imencode(".jpg", image)
    except cv2.error as error:
        raise ProcessingError(f"a picture of {image.shape[1]}x{image.shape[0]} cannot be a JPEG: {error.err}") from None
