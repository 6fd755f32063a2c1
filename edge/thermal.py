"""Thermal footage as the networks have learnt it: grey, 8 bit, the hot side bright unless the camera says otherwise.

    grey = PaletteReader()          # one for each source: it remembers the palette
    image = grey.to_grey(image)     # (H, W, 3) BGR; false colours become grey, all else is handed back as it is

    rolling = RollingStretch()      # one for each source: it remembers the range
    image = rolling.to_8_bit(raw)   # (H, W) uint16 or float -> (H, W) uint8

A palette is a curve through colour space: the place of a pixel's colour along the curve is its temperature. Known
palettes are told by how close to their curve the colours of a picture lie; what lies on no known curve stays as it is.
"""

import math
import re
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from edge.records import Image

Colours = npt.NDArray[np.uint8]  # (256, 3) BGR from cold to hot
Raw = npt.NDArray[np.generic]  # (H, W) of any numbers: counts or degrees
Grey = npt.NDArray[np.uint8]  # (H, W)

_RAW = re.compile(r"gray(9|1\d)(le|be)")

STRETCH_PERCENTILES = (0.5, 99.5)
_STRETCH_SAMPLES = 40_000  # percentiles of a large picture are taken from every n-th pixel

_SAMPLE_SIDE_PX = 32
_BLACK = 32.0
_GREY_PERCENTILE, _GREY_CHROMA = 95, 5.0
_CLOSE = 20.0  # a colour at most so far from a palette's curve, in levels of 0..255, lies on it: codecs blur colours
_CLOSE_SHARE = 0.8  # of the pixels that must lie on it; text over the picture does not
_FARTHEST = 60.0  # what is farther off counts no more than this
_EVERY = 4  # distances are measured to every fourth colour of a curve: those between lie closer than codecs blur
_BITS = 5  # of each channel, in the table from colour to grey
_CHUNK = 1 << 14

_MOST_STEP = 0.1  # of its width: how far the range moves from frame to frame
_SAME_SCENE = 0.3  # of the range before, that the picture's own has in common with it; else the camera cut, or
# calibrated itself anew
_BAD_PIXEL = 0.3  # of the range: a pixel that sticks out of all its neighbours by more is broken


@dataclass(frozen=True, slots=True)
class Palette:
    """How a camera colours temperatures."""

    name: str
    colours: Colours


def _between(name: str, *stops_rgb: int) -> Palette:
    """Colours 0xRRGGBB at equal distances, those between them in equal steps."""
    stops = np.array([[stop & 255, stop >> 8 & 255, stop >> 16] for stop in stops_rgb], np.float64)  # BGR
    places = np.linspace(0, len(stops) - 1, 256)
    columns = [np.interp(places, np.arange(len(stops)), stops[:, channel]) for channel in range(3)]
    return Palette(name, np.stack(columns, 1).round().astype(np.uint8))


def _of_opencv(name: str, number: int) -> Palette:
    ramp = np.arange(256, dtype=np.uint8)[:, None]
    return Palette(name, np.asarray(cv2.applyColorMap(ramp, number), np.uint8)[:, 0])


IRON = _between("iron", 0x000000, 0x200060, 0x70009B, 0xB8207C, 0xE45018, 0xFA9400, 0xFFCF20, 0xFFF6A0, 0xFFFFFF)
RAINBOW = _between("rainbow", 0x000050, 0x0000FF, 0x00A0FF, 0x00FF90, 0x60FF00, 0xFFE000, 0xFF7000, 0xFF0000, 0xFFC0C0)
PALETTES = (
    IRON,
    RAINBOW,
    _between("arctic", 0x000020, 0x0000FF, 0x00C0FF, 0x808080, 0xFF8000, 0xFFFF00, 0xFFFFFF),
    _between("lava", 0x000020, 0x0060C0, 0x4000A0, 0xC00040, 0xFF4000, 0xFFC000, 0xFFFFC0),
    *(
        _of_opencv(name, number)
        for name, number in (
            ("inferno", cv2.COLORMAP_INFERNO),
            ("jet", cv2.COLORMAP_JET),
            ("opencv-rainbow", cv2.COLORMAP_RAINBOW),
            ("turbo", cv2.COLORMAP_TURBO),
            ("hot", cv2.COLORMAP_HOT),
            ("plasma", cv2.COLORMAP_PLASMA),
            ("magma", cv2.COLORMAP_MAGMA),
            ("viridis", cv2.COLORMAP_VIRIDIS),
            ("bone", cv2.COLORMAP_BONE),
        )
    ),
)


class PaletteReader:
    """Turns false colours back to grey. Keeps the palette of the last picture, as long as the colours lie on it."""

    def __init__(self) -> None:
        self._last: _Known | None = None

    def to_grey(self, image: Image) -> Image:
        """(H, W, 3) BGR -> the same with three equal channels where it is in a known palette; else `image` itself."""
        if self._last is None or fit_of(self._last.palette, _some_pixels(image)).share < _CLOSE_SHARE:
            palette = recognise_palette(image)
            if palette is None:
                return image
            self._last = _Known(palette, grey_table(palette))
        return np.asarray(cv2.merge([read_colours(image, self._last.table)] * 3), np.uint8)


@dataclass(frozen=True, slots=True)
class _Known:
    """A palette and its `grey_table`."""

    palette: Palette
    table: Grey


@dataclass(frozen=True, slots=True)
class PaletteFit:
    """How well pixels lie on a palette's curve."""

    share: float  # of the pixels that are close to it
    distance: float  # mean, in levels; what is far off counts as far off, and no more


def fit_of(palette: Palette, pixels: npt.NDArray[np.float32]) -> PaletteFit:
    """Of pixels (N, 3) BGR."""
    distances = np.sqrt(_squared_distances(pixels, palette.colours[::_EVERY]).min(1).clip(0))
    return PaletteFit(float((distances < _CLOSE).mean()), float(distances.clip(max=_FARTHEST).mean()))


def recognise_palette(image: Image) -> Palette | None:
    """The known palette that a picture (H, W, 3) BGR is coloured in; None for grey, colour, or an unknown palette."""
    pixels = _some_pixels(image)
    if _is_grey(pixels):
        return None
    fits = [(fit_of(palette, pixels), palette) for palette in PALETTES]
    fit, palette = min(fits, key=lambda pair: pair[0].distance)
    return palette if fit.share >= _CLOSE_SHARE else None


def grey_table(palette: Palette) -> Grey:
    """(2^15,) grey level of every colour of 5 bits a channel, B highest: the place on the palette closest to it.

    Between two places that are equally close the warmer wins: a person must not be lost.
    """
    side = 1 << _BITS
    levels = (np.arange(side, dtype=np.float32) + 0.5) * (256 / side) - 0.5
    blue, green, red = np.meshgrid(levels, levels, levels, indexing="ij")
    cells = np.stack((blue, green, red), -1).reshape(-1, 3)  # (2^15, 3)
    last = len(palette.colours) - 1
    nearest = [
        last - _squared_distances(cells[start : start + _CHUNK], palette.colours[::-1]).argmin(1)
        for start in range(0, len(cells), _CHUNK)
    ]
    return np.concatenate(nearest).astype(np.uint8)


def read_colours(image: Image, table: Grey) -> Grey:
    """(H, W, 3) BGR -> (H, W) by `grey_table`'s table."""
    blue, green, red = (np.asarray(channel, np.uint16) for channel in cv2.split(image))
    return np.asarray(table[((blue & 0xF8) << 7) | ((green & 0xF8) << 2) | (red >> 3)])


def _some_pixels(image: Image) -> npt.NDArray[np.float32]:
    """(N, 3) from all over the picture, none of them mixed from several."""
    side = (_SAMPLE_SIDE_PX, _SAMPLE_SIDE_PX)
    return cv2.resize(image, side, interpolation=cv2.INTER_NEAREST).reshape(-1, 3).astype(np.float32)


def _is_grey(pixels: npt.NDArray[np.float32]) -> bool:
    """As in `edge.modality`, a small coloured overlay does not count; nor do black pixels, which are in any palette."""
    bright = pixels[pixels.max(1) >= _BLACK]
    return not len(bright) or float(np.percentile(bright.max(1) - bright.min(1), _GREY_PERCENTILE)) < _GREY_CHROMA


def _squared_distances(pixels: npt.NDArray[np.float32], colours: Colours) -> npt.NDArray[np.float32]:
    """(N, 3), (M, 3) -> (N, M)."""
    others = colours.astype(np.float32)
    squares = (pixels**2).sum(1)[:, None] + (others**2).sum(1)[None]
    return np.asarray(squares - 2 * pixels @ others.T, np.float32)


def is_raw(pixel_format: str | None) -> bool:
    """Whether FFmpeg's pixel format is grey of more than 8 bit, such as gray16le: to be stretched, not cut to 8 bit."""
    return pixel_format is not None and _RAW.fullmatch(pixel_format) is not None


class RollingStretch:
    """Turns raw thermal frames of one source to 8 bit by percentiles that move slowly, so that brightness does not
    flicker with what crosses the picture. Where the scene jumps, so does the range."""

    def __init__(self) -> None:
        self._low_high: tuple[float, float] | None = None

    def to_8_bit(self, raw: Raw) -> Grey:
        """(H, W) or (H, W, C) of any numbers -> the same shape, uint8. Broken pixels are mended, not finite ones become
        black, a picture of one single value, too."""
        with np.errstate(invalid="ignore", over="ignore"):  # what is infinite, or too large for float32, is an end
            values = np.asarray(raw, np.float32)
            own = own_spread(values)
            if own is None:
                return np.zeros(values.shape, np.uint8)
            self._low_high = next_range(self._low_high, own)
            low, high = self._low_high
            values = mend_bad_pixels(values, _BAD_PIXEL * (high - low))
            scale = 255.0 / (high - low) if high > low else 0.0
            stretched = np.nan_to_num((values - low) * scale, nan=0.0, posinf=255.0, neginf=0.0)
        return np.asarray(np.clip(np.rint(stretched), 0, 255), np.uint8)


class Spread(NamedTuple):
    """Percentiles of one picture's values; with the outer two a hot spot does not darken the rest."""

    low: float
    median: float
    high: float


def own_spread(values: npt.NDArray[np.float32]) -> Spread | None:
    """Of a picture (H, W) or (H, W, C); None: nothing in it is finite."""
    step = max(1, values.size // _STRETCH_SAMPLES)
    while math.gcd(step, math.prod(values.shape[1:])) > 1:  # else it would meet some columns alone
        step += 1
    sample = values.ravel()[::step]
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return None
    low, high = STRETCH_PERCENTILES
    return Spread(*np.percentile(sample, (low, 50, high)).tolist())


def next_range(before: tuple[float, float] | None, own: Spread) -> tuple[float, float]:
    """The range to stretch by: a small step from the one before towards the picture's own, or the latter itself at the
    beginning and after a jump. Where one hot thing widens it while the rest stays, that is no jump."""
    if before is None:
        return own.low, own.high
    width = before[1] - before[0]
    common = min(before[1], own.high) - max(before[0], own.low)
    if common <= _SAME_SCENE * width or not before[0] <= own.median <= before[1]:
        return own.low, own.high
    low, high = (
        old + min(max(new - old, -_MOST_STEP * width), _MOST_STEP * width)
        for old, new in zip(before, (own.low, own.high), strict=True)
    )
    return low, high


def mend_bad_pixels(values: npt.NDArray[np.float32], limit: float) -> npt.NDArray[np.float32]:
    """Pixels that stick out of all eight neighbours by more than `limit` become their median; else one would look like
    a tiny person. Two hot pixels side by side stay."""
    if limit <= 0 or min(values.shape[:2]) < 3 or values.ndim != 2:
        return values
    around = np.ones((3, 3), np.uint8)
    around[1, 1] = 0
    broken = (values > cv2.dilate(values, around) + limit) | (values < cv2.erode(values, around) - limit)
    if not broken.any():
        return values
    return np.where(broken, cv2.medianBlur(values, 3), values)
