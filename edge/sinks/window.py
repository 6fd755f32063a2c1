"""`--show`: the annotated frames in a window; q or Esc ends the run."""

import subprocess
import sys

import cv2

from edge.drawing import draw
from edge.errors import ProcessingError, UnusableInputError
from edge.interruption import Stop
from edge.records import Frame, FrameRecord, Record
from edge.sinks.sink import Sink

_QUIT_KEYS = (ord("q"), 27)
_TITLE = "Kestrel"


def can_open_windows() -> bool:
    """Tried out in a process of its own, since Qt ends the whole process where it finds no display."""
    trial = [sys.executable, "-c", "import cv2; cv2.namedWindow('trial')"]
    return subprocess.run(trial, capture_output=True, check=False).returncode == 0


class WindowSink(Sink):
    """Shows every record's frame as soon as it is known."""

    def __init__(self, stop: Stop) -> None:
        """`stop` is asked when the user quits.

        Raises:
            UnusableInputError: there is no display, or OpenCV was built without windows.
        """
        self.warnings: list[str] = []
        self._stop = stop
        if not can_open_windows():
            raise UnusableInputError(
                "--show cannot open a window: there is no display here, or OpenCV is the opencv-python-headless wheel"
            )
        cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)

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

    def close(self) -> None:
        """Close the window."""
        cv2.destroyAllWindows()
