"""A camera at this machine, or a GStreamer pipeline, through OpenCV."""

import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge.capture.messages import CaptureError, CaptureOptions, Opened, Taken
from edge.records import Image
from edge.thermal import RollingStretch

_MJPEG_FROM_WIDTH = 641  # USB 2 carries larger pictures at full rate compressed only
# A consumer that is too slow loses pictures instead of falling behind.
_APPSINK = "videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false"


def read_camera_device(index: int, options: CaptureOptions) -> Iterator[Opened | Taken]:
    """Camera `index` (N of /dev/videoN).

    Raises:
        CaptureError: there is no such camera, it is in use, or it was pulled out.
    """
    # The backend is named, since the automatic choice tries several with a time-out each.
    capture = cv2.VideoCapture(index, cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY)
    if not capture.isOpened():
        raise CaptureError("there is no such camera, or it is in use")
    ask_for(capture, options)
    return read_capture(capture)


def ask_for(capture: cv2.VideoCapture, options: CaptureOptions) -> None:
    """Ask for size and rate. The driver takes the nearest that it can, and says nothing of it."""
    if (options.width or 0) >= _MJPEG_FROM_WIDTH:
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    for name, value in (
        (cv2.CAP_PROP_FRAME_WIDTH, options.width),
        (cv2.CAP_PROP_FRAME_HEIGHT, options.height),
        (cv2.CAP_PROP_FPS, options.fps),
    ):
        if value is not None:
            capture.set(name, value)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)


def read_pipeline(pipeline: str) -> Iterator[Opened | Taken]:
    """A GStreamer pipeline; where it has no appsink, one is added.

    Raises:
        CaptureError: GStreamer refuses it, or it ended.
    """
    capture = cv2.VideoCapture(with_appsink(pipeline), cv2.CAP_GSTREAMER)
    if not capture.isOpened():
        raise CaptureError("GStreamer cannot start the pipeline")
    return read_capture(capture)


def with_appsink(pipeline: str) -> str:
    """The pipeline with an end that OpenCV can read."""
    return pipeline if "appsink" in pipeline else f"{pipeline.rstrip(' !')} ! {_APPSINK}"


def read_capture(capture: cv2.VideoCapture) -> Iterator[Opened | Taken]:
    """Every picture of an open capture."""
    fps = capture.get(cv2.CAP_PROP_FPS)
    yield Opened(fps if 0 < fps < 1000 else None)
    stretch = RollingStretch()
    while True:
        try:
            grabbed = capture.grab()
            captured_s, captured_at_s = time.monotonic(), time.time()
            read, image = capture.retrieve() if grabbed else (False, None)
        except cv2.error:
            read, image = False, None
        if not read or image is None:
            raise CaptureError("the camera gave no more pictures")
        yield Taken(
            captured_s=captured_s,
            captured_at_s=captured_at_s,
            decode_ms=1e3 * (time.monotonic() - captured_s),
            corrupt=False,
            image=partial(to_bgr, image, stretch),
        )


def to_bgr(image: npt.NDArray[Any], stretch: RollingStretch) -> Image:
    """(H, W, 3) uint8 of what a driver gave: grey cameras give (H, W), thermal ones 16 bit.

    Raises:
        CaptureError: the pixels are of another kind, as where a pipeline has an appsink of its own: BGRx, YUY2.
    """
    if image.dtype != np.uint8:
        image = stretch.to_8_bit(image)
    pixels = image[..., None] if image.ndim == 2 else image  # (H, W, channels)
    if pixels.shape[2] not in (1, 3):
        kind = f"its pictures have {pixels.shape[2]} channels, where BGR has 3 and grey 1"
        raise CaptureError(f"{kind}; end the pipeline with `{_APPSINK}`, or without an appsink", hopeless=True)
    return np.asarray(np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels, np.uint8)
