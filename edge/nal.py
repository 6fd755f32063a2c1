"""Packets of H.264 and HEVC that hold no picture, such as parameter sets or messages alone: decoders refuse them."""

from collections.abc import Callable, Iterator

from av.packet import Packet
from av.video.stream import VideoStream

# By a unit's first byte: parameter sets, messages and marks, which hold nothing of a picture.
_NO_PICTURE: dict[str, Callable[[int], bool]] = {
    "h264": lambda first: 6 <= first & 31 <= 13,
    "hevc": lambda first: 32 <= first >> 1 & 63 <= 40,
}
_LENGTHS_AT = {"h264": 4, "hevc": 21}  # in the stream's description: of how many bytes a unit's length is


def is_without_picture(packet: "Packet[VideoStream]", codec: str, description: bytes | None) -> bool:
    """Whether a packet holds whole units of H.264 or HEVC, and none of them is of a picture; `description` is the
    decoder's extradata, where the container has it."""
    if codec not in _NO_PICTURE or not packet.size:
        return False
    description, at = description or b"", _LENGTHS_AT[codec]
    in_lengths = len(description) > at and description[0] == 1
    content = memoryview(packet)
    firsts = _after_lengths(content, 1 + (description[at] & 3)) if in_lengths else _after_marks(bytes(content))
    found = False
    for first in firsts:
        if not _NO_PICTURE[codec](first):
            return False
        found = True
    return found


def _after_lengths(content: memoryview, width: int) -> Iterator[int]:
    """First bytes of the units in a packet of MP4 or Matroska; 0, which no unit begins with, where it is broken."""
    at = 0
    while at < len(content):
        end = at + width + int.from_bytes(content[at : at + width], "big")
        yield content[at + width] if at + width < end <= len(content) else 0
        at = end


def _after_marks(content: bytes) -> Iterator[int]:
    """The same where 00 00 01 stands before each unit, as in MPEG-TS."""
    at = content.find(b"\0\0\1")
    while at >= 0:
        yield content[at + 3] if at + 3 < len(content) else 0
        at = content.find(b"\0\0\1", at + 3)
