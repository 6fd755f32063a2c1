"""A camera module of a Raspberry Pi, through picamera2. Never tried on a real one."""

import time
from collections.abc import Iterator
from typing import Any

from edge.capture.messages import CaptureError, CaptureOptions, Opened, Taken

_DEFAULT_WIDTH, _DEFAULT_HEIGHT, _DEFAULT_FPS = 1280, 720, 30.0


def read_picamera(number: str, options: CaptureOptions) -> Iterator[Opened | Taken]:
    """Camera module `number`, the first one where it is empty.

    Raises:
        CaptureError: there is none, or it stopped.
    """
    from picamera2 import Picamera2  # type: ignore[import-not-found]  # Raspberry Pi OS ships it; it is on no other

    fps = options.fps or _DEFAULT_FPS
    try:
        with Picamera2(int(number or 0)) as camera:
            camera.configure(
                camera.create_video_configuration(
                    # picamera2 names the order of bytes from the last: RGB888 lies in memory as B, G, R
                    main={
                        "size": (options.width or _DEFAULT_WIDTH, options.height or _DEFAULT_HEIGHT),
                        "format": "RGB888",
                    },
                    controls={"FrameRate": fps},
                    queue=False,  # the next picture, not one that waited
                )
            )
            camera.start()
            yield Opened(fps)
            while True:
                yield take(camera)
    except (RuntimeError, IndexError, OSError) as error:
        raise CaptureError(f"picamera2: {type(error).__name__}") from None


def take(camera: Any) -> Taken:
    """The next picture, (H, W, 3) uint8 BGR."""
    image = camera.capture_array("main")
    return Taken(time.monotonic(), time.time(), 0.0, corrupt=False, image=lambda: image[..., :3])
