"""Walks protobuf messages of which every field is known beforehand; anything else is refused.

A walker that reads the bytes otherwise than ONNX Runtime would judge another model than the one that runs. Protobuf
itself forgives a lot: it drops what a tag has beyond 32 bits, skips fields of the wrong wire type, and merges a field
that comes twice. None of that is written by anyone who means well, so here it ends the walk.

Wire format: https://protobuf.dev/programming-guides/encoding. Standard library only.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

MAX_FIELDS = 500_000  # of a message and all within it; our models have 30,000
MAX_TEXT = 65_536  # bytes
_MOST_TAG_BYTES = 5  # of tags and lengths, which have 32 bits
_MOST_NUMBER_BYTES = 10
_LARGE_BYTES = bytes(range(0x80, 0x100))  # within a number, not its last


class MalformedError(Exception):
    """The bytes are no message of that schema."""


@dataclass(slots=True)
class Budget:
    """How many fields a walk may still meet: each costs its reader far more than its bytes."""

    fields: int = MAX_FIELDS


@dataclass(frozen=True, slots=True)
class Message:
    """Bytes within a file, and the budget of its walk."""

    view: memoryview
    budget: Budget

    @classmethod
    def of(cls, content: bytes) -> "Message":
        """A whole file."""
        return cls(memoryview(content), Budget())


Content = int | Message


class Wire(IntEnum):
    """How a value lies in the bytes."""

    NUMBER = 0
    DOUBLE = 1  # 8 bytes
    BYTES = 2  # text, message, or packed list
    FLOAT = 5  # 4 bytes


_ITEM_BYTES = {Wire.NUMBER: 1, Wire.DOUBLE: 8, Wire.BYTES: 1, Wire.FLOAT: 4}  # that a length is a multiple of


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message; `many`: it may come several times, and numbers may be packed."""

    wire: Wire
    many: bool = False


Schema = Mapping[int, Field]

NUMBER, NUMBERS = Field(Wire.NUMBER), Field(Wire.NUMBER, many=True)
FLOAT, FLOATS = Field(Wire.FLOAT), Field(Wire.FLOAT, many=True)
DOUBLES = Field(Wire.DOUBLE, many=True)
TEXT, TEXTS = Field(Wire.BYTES), Field(Wire.BYTES, many=True)
MESSAGE, MESSAGES = TEXT, TEXTS


def fields(walked: Message, schema: Schema) -> Iterator[tuple[int, Content]]:
    """Number and content of every field: an integer, or the bytes of text, message, list, float or double.

    Raises:
        MalformedError: cut short, or a field that the schema does not have, of another wire type, or once too often; or
            more fields than the budget has.
    """
    message, budget = walked.view, walked.budget
    position, seen = 0, set()
    while position < len(message):
        budget.fields -= 1
        if budget.fields < 0:
            raise MalformedError(f"more than {MAX_FIELDS} fields")
        tag, position = _varint(message, position, _MOST_TAG_BYTES)
        number, wire = tag >> 3, tag & 7
        field = schema.get(number)
        if field is None or tag >= 2**32:
            raise MalformedError(f"an unknown field {number}")
        if wire != field.wire and not (field.many and wire == Wire.BYTES):
            raise MalformedError(f"the field {number} of kind {wire}")
        if not field.many:
            if number in seen:
                raise MalformedError(f"the field {number} twice")
            seen.add(number)
        if wire == Wire.NUMBER:
            value, position = _varint(message, position, _MOST_NUMBER_BYTES)
            yield number, value
            continue
        item_bytes = _ITEM_BYTES[field.wire]
        if wire == Wire.BYTES:
            length, position = _varint(message, position, _MOST_TAG_BYTES)
        else:
            length = item_bytes
        if length > len(message) - position or length % item_bytes:
            raise MalformedError("a field that is cut short")
        yield number, Message(message[position : position + length], budget)
        position += length


def number_of(content: Content) -> int:
    """A signed number of 64 bits."""
    assert isinstance(content, int)  # the schema says so
    return (content & (2**64 - 1)) - (2**64 if content & 2**63 else 0)


def numbers_of(content: Content, most: int) -> list[int]:
    """One number, or a packed list; of a longer list the first `most + 1`."""
    if isinstance(content, int):
        return [number_of(content)]
    found: list[int] = []
    position = 0
    while position < len(content.view) and len(found) <= most:
        value, position = _varint(content.view, position, _MOST_NUMBER_BYTES)
        found.append(number_of(value))
    return found


def count_numbers(content: Content) -> int:
    """How many numbers `numbers_of` would find."""
    return 1 if isinstance(content, int) else len(bytes(content.view).translate(None, _LARGE_BYTES))


def message_of(content: Content) -> Message:
    """A message within the message."""
    assert not isinstance(content, int)  # the schema says so
    return content


def bytes_of(content: Content) -> memoryview:
    """The bytes of text, float or double."""
    return message_of(content).view


def text_of(content: Content, most: int = MAX_TEXT) -> str:
    """Text.

    Raises:
        MalformedError: it is no UTF-8, or longer than `most` bytes.
    """
    if len(bytes_of(content)) > most:
        raise MalformedError(f"a text of more than {most} bytes")
    try:
        return str(bytes_of(content), "utf-8")
    except UnicodeDecodeError:
        raise MalformedError("text that is no UTF-8") from None


def _varint(message: memoryview, position: int, most_bytes: int) -> tuple[int, int]:
    """The unsigned number at `position`, and where the next thing begins."""
    value = 0
    for count in range(most_bytes):
        if position + count >= len(message):
            raise MalformedError("a number that is cut short")
        byte = message[position + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, position + count + 1
    raise MalformedError(f"a number of more than {most_bytes} bytes")
