"""Where something moves on the ground, seen from a camera that moves itself.

The camera's own motion is taken as a shift between two shrunk frames (phase correlation) and undone; what still
differs moves, or stands high above the ground. It decides where to look first, never what is said.
"""

import cv2
import numpy as np
import numpy.typing as npt

from edge.geometry import Mask
from edge.records import Image
from edge.tiles import TilePlan

_LONG_SIDE_PX = 480
_LEAST_DIFFERENCE = 24.0  # grey levels; less is noise and light
_ABOVE_OTHERS = 2.0  # times the median tile's: when the shift does not explain the frame, nothing stands out

Grey = npt.NDArray[np.uint8]  # (H, W)


class MotionWatch:
    """Compares each frame with the one before it."""

    def __init__(self, plan: TilePlan) -> None:
        self._plan = plan
        self._before: Grey | None = None

    def moving(self, shrunk: Image) -> Mask:
        """(K,) in which tiles something moves; `shrunk` is the whole frame at any scale, the same each time."""
        grey = _small_grey(shrunk)
        before, self._before = self._before, grey
        if before is None:
            return np.zeros(len(self._plan.tiles), np.bool_)
        peaks = tile_peaks(difference(before, grey), self._plan)
        return peaks >= max(_LEAST_DIFFERENCE, _ABOVE_OTHERS * float(np.median(peaks)))


def difference(before: Grey, now: Grey) -> Grey:
    """What differs once the camera's shift is undone, (H, W); 0 where the frame before shows nothing."""
    dx, dy = shift_between(before, now)
    size = (now.shape[1], now.shape[0])
    shift = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
    moved = cv2.warpAffine(before, shift, size)
    known = cv2.warpAffine(np.full_like(before, 255), shift, size)
    apart = cv2.blur(cv2.absdiff(moved, now), (3, 3))  # a single pixel is noise
    return np.asarray(cv2.bitwise_and(apart, apart, mask=cv2.erode(cv2.inRange(known, 255, 255), np.ones((3, 3)))))


def shift_between(before: Grey, now: Grey) -> tuple[float, float]:
    """By how many pixels, x and y, the ground has moved. Half the size is enough for it, and a quarter of the work."""
    small_before, small_now = _halved(before), _halved(now)
    (dx, dy), _ = cv2.phaseCorrelate(small_before, small_now, _window(small_now))
    return 2 * dx, 2 * dy


def _halved(grey: Grey) -> npt.NDArray[np.float32]:
    halved = cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return np.asarray(halved.astype(np.float32), np.float32)


def tile_peaks(apart: Grey, plan: TilePlan) -> npt.NDArray[np.float64]:
    """(K,) the greatest difference within each tile."""
    across, down = apart.shape[1] / plan.frame_wh.width, apart.shape[0] / plan.frame_wh.height
    peaks = [
        apart[int(t.y0 * down) : max(int(t.y1 * down), 1), int(t.x0 * across) : max(int(t.x1 * across), 1)].max(
            initial=0
        )
        for t in plan.tiles
    ]
    return np.array(peaks, np.float64)


def _small_grey(shrunk: Image) -> Grey:
    scale = min(1.0, _LONG_SIDE_PX / max(shrunk.shape[:2]))
    grey = cv2.cvtColor(shrunk, cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def _window(grey: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Fades the borders out, where the shift brings new ground into the frame."""
    return np.asarray(cv2.createHanningWindow((grey.shape[1], grey.shape[0]), cv2.CV_32F), np.float32)
