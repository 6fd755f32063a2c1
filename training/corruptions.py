"""What drones meet, done to a picture: eight corruptions of one stated severity each; and three thermal looks.

After Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions", arXiv 1903.12261, with
kinds and severities chosen for drones: lengths are shares of the picture's long side, as a camera's blur grows with its
resolution. The same picture is always corrupted in the same way.
"""

import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import av
import cv2
import numpy as np
import numpy.typing as npt

from edge.contract import PAD_VALUE
from edge.records import Image
from edge.thermal import IRON, RAINBOW

MOTION_SHARE, DEFOCUS_SHARE, SHAKE_SHARE, WOBBLE_SHARE = 0.01, 0.004, 0.01, 0.003  # of the long side
NOISE_LEVELS = 15.0
EXPOSURE, READ_NOISE_LEVELS = 0.25, 3.0
CRF = 38
HAZE, AIR_LIGHT = 0.55, 200.0
SMALLER = 0.5

Levels = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to change a picture without moving its people, except that all may become smaller by `scale`."""

    name: str
    severity: str  # in words
    change: Callable[[Image, np.random.Generator], Image]
    scale: float = 1.0  # a place (x, y) comes to (scale x, scale y)

    def of(self, image: Image, picture_name: str) -> Image:
        """The changed picture; chance depends on the name of the picture and of the variant alone."""
        seed = zlib.crc32(f"{self.name}/{picture_name}".encode())
        return self.change(image, np.random.default_rng(seed))


def motion_blur(image: Image, rng: np.random.Generator) -> Image:
    """A straight smear in some direction."""
    length = max(3, round(MOTION_SHARE * max(image.shape[:2])))
    angle = rng.uniform(0, np.pi)
    steps = np.linspace(-length / 2, length / 2, 4 * length)
    return _smeared(image, np.stack((steps * np.cos(angle), steps * np.sin(angle)), 1))


def defocus(image: Image, rng: np.random.Generator) -> Image:
    """A disc instead of a point."""
    del rng
    radius = max(1.5, DEFOCUS_SHARE * max(image.shape[:2]))
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return _filtered(image, np.clip(radius + 0.5 - np.hypot(x, y), 0, 1))


def noise(image: Image, rng: np.random.Generator) -> Image:
    """Gaussian noise, each pixel and channel for itself; grey pictures stay grey."""
    return _to_levels(image.astype(np.float32) + _noise_like(image, NOISE_LEVELS, rng))


def low_light(image: Image, rng: np.random.Generator) -> Image:
    """A quarter of the light, and the noise of reading it out; nobody turns up the gain."""
    return _to_levels(EXPOSURE * image.astype(np.float32) + _noise_like(image, READ_NOISE_LEVELS, rng))


def compression(image: Image, rng: np.random.Generator) -> Image:
    """One frame of H.264, as a thin radio link carries it."""
    del rng
    height, width = image.shape[:2]
    even = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(25), options={"crf": str(CRF), "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = even.shape[1], even.shape[0], "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(even, np.uint8), format="bgr24")))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r") as container:
        decoded = next(container.decode(video=0)).to_ndarray(format="bgr24")
    return np.ascontiguousarray(decoded[:height, :width], np.uint8)


def haze(image: Image, rng: np.random.Generator) -> Image:
    """Light from the air over all, thicker towards the top, where the ground is farther away."""
    del rng
    thickness = HAZE * np.linspace(1.2, 0.8, image.shape[0], dtype=np.float32)[:, None, None]
    return _to_levels(image.astype(np.float32) * (1 - thickness) + AIR_LIGHT * thickness)


def shake(image: Image, rng: np.random.Generator) -> Image:
    """Rows displaced by a rolling shutter, then a smear along a crooked path."""
    height, width = image.shape[:2]
    long_side = max(height, width)
    rows = np.arange(height, dtype=np.float32)
    wobble = WOBBLE_SHARE * long_side * np.sin(2 * np.pi * (2 * rows / height + rng.uniform()))
    columns = np.arange(width, dtype=np.float32)[None] + wobble[:, None].astype(np.float32)
    moved = cv2.remap(
        image,
        columns.astype(np.float32),
        np.repeat(rows[:, None], width, 1),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    turns = np.cumsum(rng.normal(0, 0.35, 64)) + rng.uniform(0, 2 * np.pi)
    path = np.cumsum(np.stack((np.cos(turns), np.sin(turns)), 1), 0)
    path -= path.mean(0)
    length = max(3.0, SHAKE_SHARE * long_side)
    return _smeared(np.asarray(moved, np.uint8), path * length / max(float(np.ptp(path, axis=0).max()), 1e-6))


def smaller(image: Image, rng: np.random.Generator) -> Image:
    """As from twice as high: everything half as large in a frame of the same size, the rest grey."""
    del rng
    height, width = image.shape[:2]
    frame = np.full_like(image, PAD_VALUE)
    size = (max(1, round(SMALLER * width)), max(1, round(SMALLER * height)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    frame[: small.shape[0], : small.shape[1]] = small
    return frame


def inverted(image: Image, rng: np.random.Generator) -> Image:
    """Black-hot."""
    del rng
    return np.asarray(255 - image, np.uint8)


def iron(image: Image, rng: np.random.Generator) -> Image:
    """The palette of most thermal cameras: black, purple, orange, white."""
    del rng
    return IRON.colours[image[..., 1]]


def rainbow(image: Image, rng: np.random.Generator) -> Image:
    """Blue, green, yellow, red."""
    del rng
    return RAINBOW.colours[image[..., 1]]


CORRUPTIONS = (
    Variant("motion blur", f"straight, {MOTION_SHARE:.0%} of the long side", motion_blur),
    Variant("defocus", f"disc, radius {DEFOCUS_SHARE:.1%} of the long side", defocus),
    Variant("noise", f"Gaussian, sigma {NOISE_LEVELS:.0f} of 255", noise),
    Variant("low light", f"{EXPOSURE:g} of the light, noise of {READ_NOISE_LEVELS:.0f} of 255", low_light),
    Variant("compression", f"H.264, one frame, CRF {CRF}", compression),
    Variant("haze", f"{HAZE:.0%} air light of {AIR_LIGHT:.0f}", haze),
    Variant("shake", f"crooked smear of {SHAKE_SHARE:.0%}, rows displaced by {WOBBLE_SHARE:.1%}", shake),
    Variant("scale", f"everything {SMALLER:g} as large in the same frame", smaller, SMALLER),
)
LOOKS = (
    Variant("inverted", "black-hot", inverted),
    Variant("iron", "false colours, turned to grey where the runtime knows the palette", iron),
    Variant("rainbow", "false colours, turned to grey where the runtime knows the palette", rainbow),
)


def _smeared(image: Image, path_xy: npt.NDArray[np.float64]) -> Image:
    """Mean of the picture along a path (N, 2) of displacements in pixels, centred on 0."""
    reach = int(np.ceil(np.abs(path_xy).max())) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    whole = np.floor(path_xy).astype(int)
    x, y = (path_xy - whole).T
    for dx, dy, weight in ((0, 0, (1 - x) * (1 - y)), (1, 0, x * (1 - y)), (0, 1, (1 - x) * y), (1, 1, x * y)):
        np.add.at(kernel, (whole[:, 1] + dy + reach, whole[:, 0] + dx + reach), weight)
    return _filtered(image, kernel)


def _filtered(image: Image, kernel: npt.NDArray[np.float64]) -> Image:
    blurred = cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred, np.uint8)


def _noise_like(image: Image, levels: float, rng: np.random.Generator) -> Levels:
    grey = bool((image[..., 0] == image[..., 1]).all() and (image[..., 1] == image[..., 2]).all())
    shape = (*image.shape[:2], 1) if grey else image.shape
    return rng.normal(0, levels, shape).astype(np.float32)


def _to_levels(values: npt.NDArray[np.float32]) -> Image:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)
