"""The walker of protobuf messages: what reads otherwise elsewhere is refused."""

import pytest

from edge.protobuf import (
    FLOAT,
    FLOATS,
    NUMBER,
    NUMBERS,
    TEXT,
    TEXTS,
    Budget,
    MalformedError,
    Message,
    count_numbers,
    fields,
    numbers_of,
    text_of,
)

SCHEMA = {1: NUMBER, 2: TEXT, 3: NUMBERS, 4: FLOAT, 5: FLOATS, 6: TEXTS}


def walk(content: bytes) -> list[tuple[int, int | bytes]]:
    return [(n, c if isinstance(c, int) else bytes(c.view)) for n, c in fields(Message.of(content), SCHEMA)]


def test_fields_come_in_their_order_packed_or_not():
    content = b"\x08\x96\x01\x12\x02hi\x18\x01\x1a\x02\x02\x03\x25abcd\x2a\x08abcdefgh\x2dabcd\x32\x00\x32\x01x"
    assert walk(content) == [
        (1, 150),
        (2, b"hi"),
        (3, 1),
        (3, b"\x02\x03"),
        (4, b"abcd"),
        (5, b"abcdefgh"),
        (5, b"abcd"),
        (6, b""),
        (6, b"x"),
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x3a\x00", "an unknown field 7"),
        (b"\x8a\x80\x80\x80\x10\x00", "an unknown field"),  # a tag of 33 bits: field 1 to who drops the last
        (b"\x88\x80\x80\x80\x80\x00\x01", "a number of more than 5 bytes"),  # a tag with zeros at its end
        (b"\x0d\x01\x00\x00\x00", "the field 1 of kind 5"),
        (b"\x15abcd", "the field 2 of kind 5"),
        (b"\x19abcdefgh", "the field 3 of kind 1"),
        (b"\x22\x04abcd", "the field 4 of kind 2"),
        (b"\x0b", "the field 1 of kind 3"),  # a group
        (b"\x08\x01\x08\x02", "the field 1 twice"),
        (b"\x12\x01a\x12\x01b", "the field 2 twice"),
        (b"\x12\x05hi", "a field that is cut short"),
        (b"\x12\xff\xff\xff\xff\xff\xff\x01", "a number of more than 5 bytes"),
        (b"\x2a\x05abcde", "a field that is cut short"),  # a float and a quarter
        (b"\x08\x80", "a number that is cut short"),
        (b"\x08" + b"\x80" * 10 + b"\x01", "a number of more than 10 bytes"),
        (b"\x00", "an unknown field 0"),
    ],
)
def test_what_nobody_writes_who_means_well_is_refused(content, said):
    with pytest.raises(MalformedError, match=said):
        walk(content)


def test_numbers_are_signed_and_long_lists_are_looked_at_in_part():
    assert numbers_of(2**64 - 1, 4) == [-1]
    packed = Message.of(b"\x01\x80\x01\x03\x04")
    assert numbers_of(packed, 8) == [1, 128, 3, 4]
    assert numbers_of(packed, 1) == [1, 128]
    assert count_numbers(packed) == 4
    assert count_numbers(7) == 1


def test_text_is_utf_8():
    assert text_of(Message.of("é".encode())) == "é"
    with pytest.raises(MalformedError, match="no UTF-8"):
        text_of(Message.of(b"\xff"))


def test_a_walk_meets_only_so_many_fields_however_deep_they_lie():
    budget = Budget(4)
    inner = [c for _, c in fields(Message(memoryview(b"\x32\x02\x08\x01\x32\x02\x08\x01"), budget), SCHEMA)]
    assert all(isinstance(one, Message) for one in inner)
    assert [len(list(fields(one, SCHEMA))) for one in inner] == [1, 1]
    with pytest.raises(MalformedError, match=r"more than \d+ fields"):
        list(fields(inner[0], SCHEMA))


def test_a_text_has_a_limit():
    [(_, long)] = fields(Message.of(b"\x12\x05hello"), SCHEMA)
    assert text_of(long, 5) == "hello"
    with pytest.raises(MalformedError, match="a text of more than 4 bytes"):
        text_of(long, 4)
