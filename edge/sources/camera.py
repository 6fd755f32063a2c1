"""A camera at this machine, by index or device file."""

import sys
from collections.abc import Callable

import cv2

from edge.sources.live import LiveSource
from edge.sources.quiet import silence
from edge.sources.source import unusable


def open_camera(index: int, shown: str, still_running: Callable[[], bool]) -> LiveSource:
    """Open camera `index` (N of /dev/videoN).

    Raises:
        SourceError: there is no such camera, or it is in use.
    """
    silence()
    # The backend is named, since the automatic choice tries several with a time-out each.
    backend = cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY
    capture = cv2.VideoCapture(index, backend)
    if not capture.isOpened():
        capture.release()
        raise unusable(shown, "a camera that can be opened", "check that it is plugged in and not in use")
    return LiveSource(capture, shown, still_running)
