"""`--show`: the annotated frames in a window; q or Esc ends the run."""

import os
import sys

import cv2

from edge.drawing import draw
from edge.errors import ProcessingError, UnusableInputError
from edge.interruption import Stop
from edge.records import Frame, FrameRecord, Record
from edge.sinks.sink import Sink

_QUIT_KEYS = (ord("q"), 27)
_TITLE = "Kestrel"


class WindowSink(Sink):
    """Shows every record's frame as soon as it is known."""

    def __init__(self, stop: Stop) -> None:
        """`stop` is asked when the user quits.

        Raises:
            UnusableInputError: there is no display, or OpenCV was built without windows.
        """
        self.warnings: list[str] = []
        self._stop = stop
        # Without a display Qt ends the whole process, so this is asked before OpenCV is.
        if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise UnusableInputError("--show needs a display, and neither DISPLAY nor WAYLAND_DISPLAY names one")
        try:
            cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        except cv2.error:
            raise UnusableInputError(
                "--show needs an OpenCV with windows; opencv-python-headless has none, opencv-python has"
            ) from None

    def write(self, record: Record, frame: Frame | None) -> None:
        """Show the frame and look for a key."""
        if not isinstance(record, FrameRecord) or frame is None or frame.image is None:
            return
        try:
            cv2.imshow(_TITLE, draw(frame.image, record))
            if cv2.waitKey(1) & 0xFF in _QUIT_KEYS:
                self._stop.request()
        except cv2.error as error:
            raise ProcessingError(f"the window failed: {error.err}") from None

    def skip(self, frame: Frame) -> None:
        """The window keeps the last recognised frame."""

    def close(self) -> None:
        """Close the window."""
        cv2.destroyAllWindows()
