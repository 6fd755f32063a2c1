"""A camera or stream that OpenCV has opened: read in the plain way until it ends."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import cv2
import numpy as np

from edge.errors import BrokenStreamError
from edge.records import Frame, Image, SizeWH, SourceInfo
from edge.sources.source import Source


class LiveSource(Source):
    """Frames as they come. `time_s` counts from the first one; `captured_at` is when it was read."""

    def __init__(self, capture: cv2.VideoCapture, shown: str, still_running: Callable[[], bool]) -> None:
        """Take over an opened capture; `still_running` is asked before each read, False ends the source."""
        width, height = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        fps = capture.get(cv2.CAP_PROP_FPS)
        self._capture = capture
        self._still_running = still_running
        self.warnings: list[str] = []
        self.info = SourceInfo(
            uri=shown,
            size_wh=SizeWH(width, height) if width > 0 and height > 0 else None,
            fps=fps if 0 < fps < 1000 else None,
            frame_count=None,
            live=True,
        )

    def __iter__(self) -> Iterator[Frame]:
        """Frames until `still_running` says no.

        Raises:
            BrokenStreamError: a read failed or timed out; one frame with the signal `no_signal` comes before it.
        """
        seq, start = 0, None
        while self._still_running():
            started = time.perf_counter()
            image = _read(self._capture)
            now = time.perf_counter()
            start = now if start is None else start
            if image is None:
                yield Frame(seq=seq, image=None, time_s=now - start, captured_at=_utc_now(), signal="no_signal")
                raise BrokenStreamError(f"the signal of {self.info.uri} was lost after {seq} frames")
            yield Frame(
                seq=seq, image=image, time_s=now - start, captured_at=_utc_now(), decode_ms=(now - started) * 1e3
            )
            seq += 1

    def close(self) -> None:
        """Let go of the device or connection."""
        self._capture.release()


def _read(capture: cv2.VideoCapture) -> Image | None:
    """The next picture; None where the read failed or timed out."""
    try:
        read, image = capture.read()
    except cv2.error:
        return None
    return np.asarray(image, np.uint8) if read and image is not None else None


def _utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
