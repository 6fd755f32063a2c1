"""OpenCV and FFmpeg print their own chatter to standard error; what matters is said by us in one line."""

import os

# Read by OpenCV when it first opens a video; -8 is FFmpeg's AV_LOG_QUIET. A user's own setting wins.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")

import av.logging
import cv2


def silence() -> None:
    """Turn the libraries' own messages off, also where they were imported before."""
    if os.environ["OPENCV_LOG_LEVEL"] == "SILENT":
        # OpenCV 5 moved the setter; the level 0 is silence in both.
        holder = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging
        holder.setLogLevel(0)
    # No level at all: with one, PyAV's callback waits in the decoder's threads for Python's lock, which is held by
    # whoever closes the file and waits for these threads. That is a deadlock.
    av.logging.set_level(None)
