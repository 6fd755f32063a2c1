import struct
import time
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import av.logging
import numpy as np
import pytest

from edge.sources import open_source
from tests.edge.videos import AV1, B_FRAMES, INTERLACED, QUIET_HEVC, VARIABLE_STEPS, Recipe, make_video, number_of, read


@pytest.mark.parametrize(
    ("name", "recipe", "tolerance_s"),
    [
        ("plain.mp4", Recipe(), 1e-6),
        ("b_frames.mp4", Recipe(options=B_FRAMES, steps=VARIABLE_STEPS), 1e-6),
        ("b_frames.mov", Recipe(options=B_FRAMES, steps=VARIABLE_STEPS), 1e-6),
        ("b_frames.ts", Recipe(options=B_FRAMES, steps=VARIABLE_STEPS), 1e-6),
        ("b_frames.mkv", Recipe(options=B_FRAMES, steps=VARIABLE_STEPS), 0.001),  # Matroska counts milliseconds
        ("ten_bit.mp4", Recipe(pixel_format="yuv420p10le", steps=VARIABLE_STEPS), 1e-6),
        ("hevc.mp4", Recipe("libx265", options=QUIET_HEVC, steps=VARIABLE_STEPS), 1e-6),
        ("hevc_ten_bit.mp4", Recipe("libx265", "yuv420p10le", QUIET_HEVC, steps=VARIABLE_STEPS), 1e-6),
        ("sixteen_bit_grey.mkv", Recipe("ffv1", "gray16le", steps=VARIABLE_STEPS), 0.001),
        ("motion_jpeg.avi", Recipe("mjpeg", "yuvj420p", {"time_base": "1/30"}), 0.02),
        ("b_frames.avi", Recipe(options={**B_FRAMES, "time_base": "1/30"}), 1e-3),
        ("interlaced.avi", Recipe(options={**INTERLACED, "time_base": "1/30"}), 1e-3),
        ("interlaced.mpg", Recipe("mpeg2video", options={"flags": "+ildct", "time_base": "1/30"}), 1e-3),
        ("raw.mjpeg", Recipe("mjpeg", "yuvj420p", {"time_base": "1/30"}), 1.0),
        ("raw.h264", Recipe(), 1.0),  # without time stamps: the frame rate stands in
    ],
)
def test_every_frame_comes_once_in_order_at_its_true_time(
    tmp_path: Path, name: str, recipe: Recipe, tolerance_s: float
) -> None:
    times_s = make_video(tmp_path / name, 40, recipe)
    source, frames = read(tmp_path / name)
    assert [number_of(f.image) for f in frames if f.image is not None] == list(range(40))
    assert [f.seq for f in frames] == list(range(40))
    read_s = [f.time_s for f in frames if f.time_s is not None]
    assert np.abs(np.subtract(read_s, times_s)).max() <= tolerance_s
    assert all(np.diff(read_s) > 0)
    assert [warning for warning in source.warnings if "stretched to 8 bit" not in warning] == []
    assert not source.ended_early
    assert source.info.size_wh is not None
    assert str(source.info.size_wh) == "128x64"


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("2026-11-27T10:30:00.mp4", Recipe()),
        ("10:30.avi", Recipe("mjpeg", "yuvj420p", {"time_base": "1/30"})),
    ],
)
def test_a_colon_in_the_name_of_a_file_is_no_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, recipe: Recipe
) -> None:
    make_video(tmp_path / name, 3, recipe)
    monkeypatch.chdir(tmp_path)
    assert len(read(Path(name))[1]) == 3


def test_labels_in_another_encoding_cost_nothing(tmp_path: Path) -> None:
    path = tmp_path / "labelled.mp4"
    make_video(path, 6, Recipe(title="Camera 1"))
    path.write_bytes(path.read_bytes().replace(b"Camera", "Caméra".encode("latin-1")))
    source, frames = read(path)
    assert (source.info.fps, source.info.frame_count, len(frames)) == (30.0, 6, 6)


@pytest.mark.parametrize("name", ["late.mkv", "late.mp4", "late.ts"])
def test_a_video_that_begins_late_is_whole_all_the_same(tmp_path: Path, name: str) -> None:
    times_s = make_video(tmp_path / name, 24, Recipe(begins_at=450_000))
    source, frames = read(tmp_path / name)
    assert np.abs(np.subtract([frame.time_s for frame in frames], times_s)).max() <= 0.001
    assert list(source.warnings) == []


@pytest.mark.parametrize("name", ["wide.mkv", "wide.mp4"])
def test_pixels_that_are_not_square_are_told(tmp_path: Path, name: str) -> None:
    make_video(tmp_path / name, 2, Recipe(pixel_aspect=Fraction(16, 11)))
    (warning,) = read(tmp_path / name)[0].warnings
    assert warning.startswith("pixels are 16:11, not square: people look squeezed to the network")


def test_pixels_that_are_nearly_square_are_no_news(tmp_path: Path) -> None:
    make_video(tmp_path / "round.mp4", 2, Recipe(pixel_aspect=Fraction(640, 639)))
    assert list(read(tmp_path / "round.mp4")[0].warnings) == []


def test_facts_of_a_plain_video_are_known_when_it_opens(tmp_path: Path) -> None:
    make_video(tmp_path / "plain.mp4", 30)
    with open_source(str(tmp_path / "plain.mp4")) as source:
        assert (source.info.fps, source.info.frame_count, source.info.live) == (30.0, 30, False)


@pytest.mark.skipif(AV1 is None, reason="this PyAV has no AV1 encoder")
def test_what_happens_between_opening_and_reading_is_no_decoding(tmp_path: Path) -> None:
    make_video(tmp_path / "plain.mp4", 3)
    started = time.perf_counter()
    with open_source(str(tmp_path / "plain.mp4")) as source:
        opened_ms = 1e3 * (time.perf_counter() - started)
        time.sleep(0.2)  # sinks are made
        first = next(iter(source))
    assert first.decode_ms is not None
    assert 0 < first.decode_ms <= opened_ms


def test_black_frames_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "covered.mkv"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for brightness in (90, 0, 0):
            image = np.full((48, 64, 3), brightness, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode(None))
    source, frames = read(path)
    assert [frame.signal for frame in frames] == ["ok"] * 3
    assert source.warnings == ["2 black frames: clear does not mean that nobody is there"]


def test_av1_is_read(tmp_path: Path) -> None:
    path = tmp_path / "av1.mp4"
    times_s = make_video(path, 12, Recipe(AV1 or "", steps=VARIABLE_STEPS))
    source, frames = read(path)
    assert [number_of(f.image) for f in frames if f.image is not None] == list(range(12))
    assert np.allclose([f.time_s for f in frames if f.time_s is not None], times_s)
    assert [warning for warning in source.warnings if "stretched to 8 bit" not in warning] == []


def test_frames_cut_away_by_an_edit_list_are_not_missed(tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    make_video(path, 60, Recipe(options={**B_FRAMES, "g": "10"}))
    content = bytearray(path.read_bytes())
    media_time_at = content.index(b"elst") + 16
    (start,) = struct.unpack(">i", content[media_time_at : media_time_at + 4])
    content[media_time_at : media_time_at + 4] = struct.pack(">i", start + 60_000)
    path.write_bytes(content)
    source, frames = read(path)
    assert 0 < len(frames) < 60
    assert frames[0].time_s == pytest.approx(0.0, abs=0.04)
    assert [warning for warning in source.warnings if "stretched to 8 bit" not in warning] == []


def test_a_closed_video_can_be_closed_again(tmp_path: Path) -> None:
    make_video(tmp_path / "plain.mp4", 5)
    source = open_source(str(tmp_path / "plain.mp4"))
    assert next(iter(source)).seq == 0
    source.close()
    source.close()


def test_a_video_closed_in_the_middle_never_waits_for_its_own_decoder(tmp_path: Path) -> None:
    make_video(tmp_path / "plain.mp4", 30, Recipe(options=B_FRAMES))
    for taken in (0, 1, 7, 20) * 3:
        with open_source(str(tmp_path / "plain.mp4")) as source:
            assert len(list(islice(source, taken))) == taken
    # With a level, PyAV's callback takes Python's lock in the decoder's threads, which the closing thread may hold.
    assert av.logging.get_level() is None
