"""Videos that are to be shown turned or mirrored, as their display matrix says."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge.sources.video_av import read_with_pyav
from tests.edge.videos import images_of_opencv, make_video, number_of, read


def turn(path: Path, degrees: int) -> None:
    """Write a rotation into the file's display matrix, as telephones and drones do."""
    a, b = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    show_as(path, a, b, -b, a)


def show_as(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Write a display matrix, under which (x, y) is shown at (ax + cy, bx + dy), into the file."""
    content = bytearray(path.read_bytes())
    matrix_at = content.index(b"tkhd") + 4 + 40
    fixed = [value << 16 for value in (a, b, 0, c, d, 0, 0, 0)]
    content[matrix_at : matrix_at + 36] = struct.pack(">9i", *fixed, 1 << 30)
    path.write_bytes(content)


@pytest.mark.parametrize(("degrees", "size"), [(90, "64x128"), (180, "128x64"), (270, "64x128")])
def test_a_rotation_flag_is_obeyed_as_by_opencv(tmp_path: Path, degrees: int, size: str) -> None:
    path = tmp_path / "turned.mp4"
    make_video(path, 5)
    turn(path, degrees)
    source, frames = read(path)
    assert str(source.info.size_wh) == size
    opencv = list(images_of_opencv(path))
    assert len(frames) == len(opencv) == 5
    for one, other in zip(opencv, frames, strict=True):
        assert np.abs(one.astype(int) - other.image).max() <= 2
    upright = np.rot90(opencv[3], degrees // 90)  # the flag turns clockwise, rot90 back
    assert number_of(np.ascontiguousarray(upright)) == 3


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((-1, 0, 0, 1), lambda image: image[:, ::-1]),  # as the front camera of a telephone mirrors
        ((1, 0, 0, -1), lambda image: image[::-1]),
        ((0, 1, 1, 0), lambda image: image.swapaxes(0, 1)),
        ((0, -1, -1, 0), lambda image: image.swapaxes(0, 1)[::-1, ::-1]),
    ],
)
def test_a_mirrored_video_is_mirrored_and_not_turned(
    tmp_path: Path, matrix: tuple[int, int, int, int], shown: Callable[[np.ndarray], np.ndarray]
) -> None:
    path = tmp_path / "mirrored.mp4"
    make_video(path, 3)
    (plain, *_) = read_with_pyav(path)
    show_as(path, *matrix)
    (first, *_) = read_with_pyav(path)
    assert np.array_equal(first.image, shown(plain.image))
