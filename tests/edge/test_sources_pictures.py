import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import SourceError
from edge.jpeg import is_cut_short
from edge.records import Frame
from edge.sources import Source, open_source
from edge.sources.files import natural_key
from edge.sources.pictures import decode_picture, has_alpha, holds_several
from edge.thermal import RollingStretch

COLOUR = np.zeros((20, 30, 3), np.uint8)
COLOUR[:, :10] = (200, 30, 10)
ANIMATION = struct.pack(">I4sIII", 8, b"acTL", 2, 0, 0)  # a chunk of PNG: two frames, for ever; its sum is not read


def read(uri: Path | str) -> tuple[Source, list[Frame]]:
    with open_source(str(uri)) as source:
        return source, list(source)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPG", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"])
def test_a_single_picture_is_one_frame_under_its_file_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"crossing{suffix}"
    cv2.imwrite(str(path), COLOUR)
    source, (frame,) = read(path)
    assert (frame.seq, frame.name, frame.time_s, frame.signal) == (0, path.name, None, "ok")
    assert frame.image is not None
    assert np.abs(frame.image[5, 2].astype(int) - (200, 30, 10)).max() < 30
    assert str(source.info.size_wh) == "30x20"
    assert source.warnings == []


def test_a_folder_is_one_source_in_natural_order_without_its_sub_folders(tmp_path: Path) -> None:
    (tmp_path / "deeper").mkdir()
    for name in ("f10.png", "f9.png", "F1.png", "deeper/f0.png", ".hidden.png"):
        cv2.imwrite(str(tmp_path / name), COLOUR)
    (tmp_path / "notes.txt").write_text("no picture")
    source, frames = read(tmp_path)
    assert [f.name for f in frames] == ["F1.png", "f9.png", "f10.png"]
    assert [f.seq for f in frames] == [0, 1, 2]
    assert (source.info.size_wh, source.info.fps, source.info.frame_count) == (None, None, 3)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a*.png", ["a1.png", "a2.png"]),
        ("**/*.png", ["a1.png", "a2.png", "deeper/a3.png", "deeper/b.png"]),
        ("*/a?.png", ["deeper/a3.png"]),
        ("deeper/[b].png", ["b.png"]),
    ],
)
def test_a_glob_is_expanded_and_names_are_relative_to_its_fixed_part(
    tmp_path: Path, pattern: str, names: list[str]
) -> None:
    (tmp_path / "deeper").mkdir()
    for name in ("a1.png", "a2.png", "deeper/a3.png", "deeper/b.png"):
        cv2.imwrite(str(tmp_path / name), COLOUR)
    assert [f.name for f in read(tmp_path / pattern)[1]] == names


def test_a_file_whose_name_has_wildcards_is_taken_as_it_is(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a[1].png"), COLOUR)
    assert [f.name for f in read(tmp_path / "a[1].png")[1]] == ["a[1].png"]


def test_a_picture_that_cannot_be_decoded_is_a_bad_frame_with_a_warning(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), COLOUR)
    (tmp_path / "b.png").write_bytes(b"")
    (tmp_path / "c.png").write_text("no picture")
    source, frames = read(tmp_path)
    assert [f.signal for f in frames] == ["ok", "bad_frame", "bad_frame"]
    assert [f.image is None for f in frames] == [False, True, True]
    assert [w.split()[0] for w in source.warnings] == ["b.png", "c.png"]


@pytest.mark.parametrize(
    "options", [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 1]], ids=str
)
def test_a_jpeg_that_is_cut_short_cannot_be_decoded_and_a_whole_one_can(options: list[int]) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    jpeg = cv2.imencode(".jpg", noise, options)[1].tobytes()
    assert [is_cut_short(jpeg[:end]) for end in range(2, len(jpeg))] == [True] * (len(jpeg) - 2)
    assert decode_picture(jpeg[: len(jpeg) // 2]).image is None
    with_more_behind_it = jpeg + b"\xff\xda of a film of the same moment"
    assert [decode_picture(content).image is not None for content in (jpeg, with_more_behind_it)] == [True, True]


@pytest.mark.parametrize("content", [b"", b"no picture at all"])
def test_a_single_picture_that_cannot_be_decoded_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(SourceError, match=r"^source must be a picture that can be decoded, got '.*a\.png'; "):
        open_source(str(tmp_path / "a.png"))


def test_sixteen_bit_pictures_do_not_depend_on_those_before_them(tmp_path: Path) -> None:
    narrow = np.linspace(29_000, 29_100, 100 * 100, dtype=np.uint16).reshape(100, 100)
    for name, counts in (("a.png", narrow), ("b.png", 40 * (narrow - 28_000)), ("c.png", narrow)):
        cv2.imwrite(str(tmp_path / name), counts)
    first, _, again = read(tmp_path)[1]
    np.testing.assert_array_equal(first.image, again.image)


def test_a_black_picture_is_warned_of(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), COLOUR)
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((20, 30, 3), np.uint8))
    source, frames = read(tmp_path)
    assert [frame.signal for frame in frames] == ["ok", "ok"]
    assert source.warnings == ["black pictures show nothing: clear does not mean that nobody is there (first: b.png)"]


def test_sixteen_bit_is_stretched_and_said_once(tmp_path: Path) -> None:
    thermal = np.linspace(29_000, 31_000, 100 * 100, dtype=np.uint16).reshape(100, 100)
    for name in ("a.png", "b.png", "c.tif"):
        cv2.imwrite(str(tmp_path / name), thermal)
    source, frames = read(tmp_path)
    for frame in frames:
        assert frame.image is not None
        assert frame.image.shape == (100, 100, 3)
        assert (int(frame.image.min()), int(frame.image.max())) == (0, 255)
        assert 120 < frame.image[50, 50, 0] < 135
    assert len([w for w in source.warnings if "16 bit" in w]) == 1
    assert "(first: a.png)" in source.warnings[0]


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.full((20, 30), 70, np.uint8), "grey"),
        (np.full((20, 30, 4), 70, np.uint8), "alpha"),
        (np.full((1, 1, 3), 70, np.uint8), "16 pixels"),
    ],
)
def test_odd_pictures_become_colour_of_8_bit_with_a_warning(tmp_path: Path, array: np.ndarray, said: str) -> None:
    cv2.imwrite(str(tmp_path / "odd.png"), array)
    source, (frame,) = read(tmp_path / "odd.png")
    assert frame.image is not None
    assert frame.image.shape == (*array.shape[:2], 3)
    assert (frame.image == 70).all()
    (warning,) = source.warnings
    assert said in warning


def with_exif_orientation(jpeg: bytes, orientation: int) -> bytes:
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    exif = b"Exif\0\0" + b"MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


def test_the_exif_orientation_is_honoured() -> None:
    jpeg = cv2.imencode(".jpg", COLOUR)[1].tobytes()
    image = decode_picture(with_exif_orientation(jpeg, 6)).image  # 6: turn clockwise to view
    assert image is not None
    assert image.shape == (30, 20, 3)
    assert image[2, 10, 0] > 150  # the blue left third is on top


@pytest.mark.parametrize(
    ("array", "stretched"),
    [
        (np.zeros((0,), np.uint16), []),
        (np.full(3, 500, np.uint16), [0, 0, 0]),
        (np.array([10, 20, 30], np.uint16), [0, 128, 255]),
        (np.array([np.nan, 0.0, 1.0], np.float32), [0, 0, 255]),
        (np.array([np.inf, 0.0, 1.0], np.float32), [255, 0, 255]),
        (np.array([1e300, 0.0, 1.0], np.float64), [255, 0, 255]),
        (np.array([np.inf, 7.0, 7.0], np.float32), [0, 0, 0]),
    ],
)
def test_stretching(array: np.ndarray, stretched: list[int]) -> None:
    assert RollingStretch().to_8_bit(array).tolist() == stretched


@pytest.mark.parametrize(
    ("suffix", "options"), [(".png", []), (".webp", []), (".webp", [cv2.IMWRITE_WEBP_QUALITY, 80]), (".bmp", [])]
)
def test_alpha_is_seen_in_the_head_of_a_file(suffix: str, options: list[int]) -> None:
    alpha = np.full((20, 20, 4), 100, np.uint8)
    assert has_alpha(cv2.imencode(suffix, alpha, options)[1].tobytes())
    assert not has_alpha(cv2.imencode(suffix, alpha[..., :3], options)[1].tobytes())
    assert not has_alpha(b"")


def test_files_that_hold_more_than_one_picture_are_told(tmp_path: Path) -> None:
    cv2.imwritemulti(str(tmp_path / "pages.tif"), [COLOUR, COLOUR])
    png = cv2.imencode(".png", COLOUR)[1].tobytes()
    several = ((tmp_path / "pages.tif").read_bytes(), png[:33] + ANIMATION + png[33:], b"RIFF____WEBPVP8X____\x12")
    assert [holds_several(content) for content in several] == [True] * 3
    single = (cv2.imencode(suffix, COLOUR)[1].tobytes() for suffix in (".tif", ".png", ".webp", ".jpg", ".bmp"))
    assert [holds_several(content) for content in (b"", b"MM\0*", *single)] == [False] * 7
    source, frames = read(tmp_path / "pages.tif")
    assert len(frames) == 1
    assert source.warnings == ["of files that hold several pictures only the first is looked at (first: pages.tif)"]


def test_natural_order() -> None:
    names = ["img10", "img9", "IMG1", "a", "2", "10", ""]
    assert sorted(names, key=natural_key) == ["", "2", "10", "a", "IMG1", "img9", "img10"]
