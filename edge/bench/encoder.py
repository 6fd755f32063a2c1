"""Draws and encodes as `kestrel watch` does, into files that nobody keeps, and times it."""

import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from edge.bench.meter import Meter
from edge.drawing import draw
from edge.errors import ProcessingError
from edge.records import Frame, FrameRecord, Image, Record, SourceInfo
from edge.sinks import Sink, VideoSink

_FRAMES_A_FILE = 300  # then the encoder starts a new file, so that a run of hours does not fill the disk


class EncodingSink(Sink):
    """A video to H.264, pictures to JPEG; the meter is told what it took."""

    def __init__(self, scratch: Path, info: SourceInfo, meter: Meter) -> None:
        self.warnings: list[str] = []
        self._scratch = scratch
        self._info = info
        self._meter = meter
        self._drawn: Image | None = None
        self._sink: VideoSink | None = None
        self._encoded = 0

    def write(self, record: Record, frame: Frame | None) -> None:
        """Draw and encode one frame."""
        if not isinstance(record, FrameRecord) or frame is None or frame.image is None:
            return
        if self._drawn is None or self._drawn.shape != frame.image.shape:
            self._drawn = np.empty_like(frame.image)
        started = time.perf_counter()
        image = draw(frame.image, record, into=self._drawn)
        drawn = time.perf_counter()
        self._encode(frame, image)
        encoded = time.perf_counter()
        self._meter.add_stages({"draw": 1000 * (drawn - started), "encode": 1000 * (encoded - drawn)})
        if self._encoded >= _FRAMES_A_FILE:
            self.close()

    def skip(self, frame: Frame) -> None:
        """Nothing is skipped."""

    def close(self) -> None:
        """Finish the file."""
        if self._sink is not None:
            self._sink.close()
        self._sink, self._encoded = None, 0

    def _encode(self, frame: Frame, image: Image) -> None:
        """Encode one picture that is drawn already."""
        if self._info.size_wh is None:
            encode_jpeg(image)
            return
        if self._sink is None:
            self._sink = VideoSink(self._scratch / "scratch.mp4", self._info.size_wh, self._info.fps)
        # A frame that was not recognised is encoded as it is: nothing is drawn twice.
        self._sink.skip(replace(frame, image=image))
        self._encoded += 1


def encode_jpeg(image: Image) -> None:
    """Encode and forget.

    Raises:
        ProcessingError: the picture is too large for JPEG.
    """
    try:
        cv2.imencode(".jpg", image)
    except cv2.error as error:
        raise ProcessingError(f"a picture of {image.shape[1]}x{image.shape[0]} cannot be a JPEG: {error.err}") from None
