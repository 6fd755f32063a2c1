"""Pictures: one file, the pictures of a folder, or those of a glob.

A folder is not searched recursively; a glob such as 'folder/**/*.jpg' is. The EXIF orientation is honoured, as by every
viewer: boxes are in pixels of the upright picture. Whatever the file holds becomes BGR of 8 bit: grey is repeated,
alpha is left out, 16 bit and float (thermal) are stretched by percentiles, which roll where pictures follow each other.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edge.jpeg import is_cut_short
from edge.records import Frame, Image, SourceInfo, size_of
from edge.sources.black import is_black
from edge.sources.quiet import silence
from edge.sources.source import Source, unusable
from edge.thermal import STRETCH_PERCENTILES, RollingStretch

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
_TINY_PX = 16
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class NamedPicture:
    """A file and the name that its record carries: relative to the folder, with forward slashes."""

    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class DecodedPicture:
    """A picture as the network wants it, and what had to be done for that; no image where it cannot be decoded."""

    image: Image | None
    oddities: tuple[str, ...] = ()


class PicturesSource(Source):
    """Pictures in natural order of their names; one that cannot be decoded becomes a frame without image."""

    def __init__(self, pictures: Sequence[NamedPicture], shown: str) -> None:
        """Nothing is read yet, except where there is only one picture.

        Raises:
            SourceError: there is no picture, or the only one cannot be decoded.
        """
        silence()
        if not pictures:
            raise unusable(shown, "a folder with pictures or videos", "it has none")
        self.warnings: list[str] = []
        self._pictures = pictures
        self._said: set[str] = set()
        size_wh = None
        if len(pictures) == 1:
            only = read_picture(pictures[0].path).image
            if only is None:
                raise unusable(shown, "a picture that can be decoded", "the file is empty, damaged, or no picture")
            size_wh = size_of(only)
        self.info = SourceInfo(uri=shown, size_wh=size_wh, fps=None, frame_count=len(pictures), live=False)

    def __iter__(self) -> Iterator[Frame]:
        for seq, picture in enumerate(self._pictures):
            started = time.perf_counter()
            decoded = read_picture(picture.path)
            decode_ms = (time.perf_counter() - started) * 1e3
            for oddity in decoded.oddities:
                self._say_once(oddity, picture.name)
            if decoded.image is None:
                self.warnings.append(f"{picture.name} could not be decoded; its verdict is unknown")
                yield Frame(seq=seq, image=None, name=picture.name, signal="bad_frame", decode_ms=decode_ms)
            else:
                yield Frame(seq=seq, image=decoded.image, name=picture.name, decode_ms=decode_ms)

    def _say_once(self, oddity: str, name: str) -> None:
        if oddity not in self._said:
            self._said.add(oddity)
            self.warnings.append(f"{oddity} (first: {name})")

    def close(self) -> None:
        """Nothing stays open between two pictures."""


def read_picture(path: Path) -> DecodedPicture:
    """Read and decode one file; without an image where it is missing, unreadable, empty or no picture."""
    try:
        return decode_picture(path.read_bytes())
    except OSError:
        return DecodedPicture(None)


def decode_picture(content: bytes) -> DecodedPicture:
    """The bytes of a picture file as BGR of 8 bit."""
    if is_cut_short(content):
        return DecodedPicture(None)
    try:
        array = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
    except cv2.error:  # empty, or larger than OpenCV's limit of pixels
        return DecodedPicture(None)
    if array is None:
        return DecodedPicture(None)
    oddities = []
    if array.dtype != np.uint8:
        if not np.isfinite(array).any():
            return DecodedPicture(None)
        low, high = STRETCH_PERCENTILES
        oddities.append(
            f"pictures of {array.dtype.itemsize * 8} bit are stretched to 8 bit, "
            f"from percentile {low} to {high} of their values"
        )
        array = RollingStretch().to_8_bit(array)  # by itself: it is judged by itself, too
    if array.ndim == 2:
        oddities.append("grey pictures are read as three equal channels")
        array = cv2.cvtColor(array, cv2.COLOR_GRAY2BGR)
    if has_alpha(content):
        oddities.append("the alpha channel of pictures is left out")
    if holds_several(content):
        oddities.append("of files that hold several pictures only the first is looked at")
    image = np.asarray(array, np.uint8)
    if is_black(image):
        oddities.append("black pictures show nothing: clear does not mean that nobody is there")
    if min(array.shape[:2]) < _TINY_PX:
        oddities.append(f"pictures with a side below {_TINY_PX} pixels can hardly show a pedestrian")
    return DecodedPicture(image, tuple(oddities))


def has_alpha(content: bytes) -> bool:
    """Whether a PNG, WebP or BMP file holds transparency, from its head alone (OpenCV leaves it out silently)."""
    if content.startswith(_PNG):
        return content[25:26] in (b"\x04", b"\x06")  # colour type: grey or colour, with alpha
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        if content[12:16] == b"VP8X":
            return bool(content[20:21] and content[20] & 0x10)
        return content[12:16] == b"VP8L" and bool(content[24:25] and content[24] & 0x10)
    return content[:2] == b"BM" and content[28:30] == b"\x20\x00"


def holds_several(content: bytes) -> bool:
    """Whether a TIFF file has a second page, or a PNG or WebP file is animated."""
    if content.startswith(_PNG):
        return b"acTL" in content[: max(0, content.find(b"IDAT"))]
    if content[:4] == b"RIFF" and content[8:16] == b"WEBPVP8X":
        return bool(content[20:21] and content[20] & 0x02)
    if content[:4] not in (b"II*\0", b"MM\0*"):
        return False

    def number(at: int, length: int) -> int:
        return int.from_bytes(content[at : at + length], "little" if content[:1] == b"I" else "big")

    page = number(4, 4)
    return number(page + 2 + 12 * number(page, 2), 4) != 0
