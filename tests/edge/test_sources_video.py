import struct
import time
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import av
import av.error
import av.logging
import cv2
import numpy as np
import pytest
from av.video.stream import VideoStream

from edge.errors import SourceError
from edge.sources import open_source
from edge.sources.video import early_end
from edge.sources.video_av import VideoFacts, read_with_pyav
from tests.edge.videos import BAR_PX, BITS, VARIABLE_STEPS, Recipe, make_video, number_of, numbered_image, read

B_FRAMES = {"bf": "3", "b-pyramid": "normal"}
INDEX_FIRST = {"movflags": "faststart"}
QUIET_HEVC = {"x265-params": "log-level=none"}
INTERLACED = {"x264-params": "interlaced=1"}
AV1 = next((codec for codec in ("libsvtav1", "libaom-av1") if codec in av.codecs_available), None)


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


def packets_of(path: Path) -> list["av.Packet[VideoStream]"]:
    """In the order of the file, with presentation times from 0."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        for packet in packets:
            packet.pts = (packet.pts or 0) - (stream.start_time or 0)
        return packets


def furthest_back(packets: list["av.Packet[VideoStream]"], begin: int, end: int) -> int:
    """Of the packets from `begin` to `end`, the one shown longest before its forerunner, as only B-frames are."""
    return min(range(begin, end), key=lambda at: (packets[at].pts or 0) - (packets[at - 1].pts or 0))


def numbers_of(packets: list["av.Packet[VideoStream]"]) -> list[int]:
    """The frames of a video of 30 frames a second, in order of presentation."""
    return sorted(round((packet.pts or 0) * packet.time_base * 30) for packet in packets)


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("cut.mp4", Recipe(options=B_FRAMES, muxer=INDEX_FIRST)),
        ("cut.mkv", Recipe(options=B_FRAMES)),
        ("cut_hevc.mp4", Recipe("libx265", options=QUIET_HEVC, muxer=INDEX_FIRST)),
        ("cut_jpeg.mov", Recipe("mjpeg", "yuvj420p", {"time_base": "1/30"}, INDEX_FIRST)),
    ],
)
def test_a_truncated_video_gives_each_whole_frame_and_says_so_once(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    recipe: Recipe,
    threads: int,
) -> None:
    monkeypatch.setattr("edge.sources.video_av.usable_cores", lambda: threads)
    path = tmp_path / name
    make_video(path, 100, recipe)
    _, undamaged = read(path)
    packets = packets_of(path)
    cut = furthest_back(packets, 60, 70)
    whole = numbers_of(packets[:cut])
    path.write_bytes(path.read_bytes()[: (packets[cut].pos or 0) + packets[cut].size * 7 // 8])
    source, frames = read(path)
    assert [round((f.time_s or 0.0) * 30) for f in frames] == whole
    for frame, number in zip(frames, whole, strict=True):
        np.testing.assert_array_equal(frame.image, undamaged[number].image)
    (warning,) = source.warnings
    assert warning.startswith(f"the file ends early: {len(whole)} of ")
    assert source.ended_early
    assert capfd.readouterr() == ("", "")  # FFmpeg itself says nothing


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_a_broken_frame_at_the_end_costs_itself_and_the_trust_in_what_is_shown_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    monkeypatch.setattr("edge.sources.video_av.usable_cores", lambda: threads)
    path = tmp_path / "damaged.mp4"
    make_video(path, 100, Recipe(options={"bf": "3", "b-pyramid": "none"}))  # so that no frame needs a B-frame
    *_, last = packets_of(path)  # frame 98, which is shown before 99
    content = bytearray(path.read_bytes())
    begin = last.pos or 0
    content[begin : begin + last.size] = bytes(last.size)
    path.write_bytes(content)
    source, frames = read(path)
    *whole, behind = frames
    assert [number_of(f.image) for f in whole if f.image is not None] == list(range(98))
    assert (behind.signal, behind.time_s) == ("bad_frame", pytest.approx(99 / 30))
    assert source.warnings == [
        "1 damaged frame: bad_frame, verdict unknown",
        "the file is damaged: 99 of 100 frames could be decoded",
    ]
    assert source.ended_early


class BrokenContainer:
    """A container that can be read up to its 20th packet."""

    def __init__(self, path: Path) -> None:
        self.container = av.open(str(path))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.container, name)

    def __enter__(self) -> "BrokenContainer":
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()

    def demux(self, stream: VideoStream) -> "Iterator[av.Packet[VideoStream]]":
        yield from islice(self.container.demux(stream), 20)
        raise av.error.InvalidDataError(1, "broken")


@pytest.mark.parametrize("threads", [1, 4])
def test_what_the_decoder_holds_where_the_container_breaks_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    monkeypatch.setattr("edge.sources.video_av.usable_cores", lambda: threads)
    monkeypatch.setattr("edge.sources.video_av._open", BrokenContainer)
    path = tmp_path / "long.mp4"
    make_video(path, 40, Recipe(options=B_FRAMES))
    assert len(list(read_with_pyav(path))) == 20


TIMED = VideoFacts(None, 10.0, 30.0, timed=True)


@pytest.mark.parametrize(
    ("facts", "decoded", "last_time_s", "said"),
    [
        (VideoFacts(None, None, None), 0, 0.0, None),
        (VideoFacts(300, 10.0, 30.0), 300, 9.97, None),
        (VideoFacts(300, 10.0, 30.0), 120, 3.97, "the file ends early: 120 of 300 frames could be decoded"),
        (VideoFacts(300, 10.0, 30.0), 290, 9.97, "the file is damaged: 290 of 300 frames could be decoded"),
        (TIMED, 299, 9.93, None),
        (
            VideoFacts(None, 10.0, 30.0, timed=True),
            120,
            3.97,
            "the file ends early: 120 of about 300 frames could be decoded",
        ),
        (VideoFacts(None, 10.0, None, timed=True), 120, 3.97, "the file ends early: 120 frames could be decoded"),
        (TIMED, 20, 9.5, None),  # of variable rate: 20 frames fill the ten seconds
        (
            VideoFacts(None, 10.0, 30.0),
            120,
            3.97,
            "the file ends early, or is damaged, and times behind that are too early: 120 of about 300 frames could be "
            "decoded",
        ),
    ],
)
def test_an_early_end_is_told_from_a_true_one(
    facts: VideoFacts, decoded: int, last_time_s: float, said: str | None
) -> None:
    assert early_end(facts, decoded, last_time_s) == said


def without_index(path: Path) -> None:
    make_video(path, 10)
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"moov") - 4])


def without_frames(path: Path) -> None:
    """Only the moov of a video, as a recorder leaves it that was stopped at once."""
    with av.open(str(path), "w", options={"movflags": "empty_moov"}) as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        container.start_encoding()


def without_video(path: Path, *, cover: bool = False) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16_000)
        if cover:
            picture = container.add_stream("png", rate=1)
            picture.width, picture.height, picture.pix_fmt = BITS * BAR_PX, 64, "rgb24"
            picture.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if cover:
            container.mux(picture.encode(av.VideoFrame.from_ndarray(numbered_image(5), format="bgr24")))
            container.mux(picture.encode(None))


def without_decoder(path: Path) -> None:
    make_video(path, 3)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"none"))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (without_video, "it holds no video"),
        (partial(without_video, cover=True), "it holds no video"),
        (without_decoder, "not one frame of it could be decoded"),
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (lambda path: path.write_text("not a video at all\n" * 40), "the file is damaged, or no video"),
        (without_index, "its index (moov) is missing"),
        (without_frames, "not one frame of it could be decoded"),
    ],
)
def test_an_unusable_video_is_refused_in_one_line_and_quietly(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], make: object, reason: str
) -> None:
    assert callable(make)
    path = tmp_path / "flight.mp4"
    make(path)
    capfd.readouterr()
    with pytest.raises(SourceError, match=r"^source must be .*, got '.*flight\.mp4'; .*") as refused:
        open_source(str(path))
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)
    assert capfd.readouterr() == ("", "")


def a_png(path: Path) -> None:
    path.write_bytes(cv2.imencode(".png", numbered_image(5))[1].tobytes())


def a_gif(path: Path) -> None:
    make_video(path.with_suffix(".gif"), 1, Recipe("gif", "rgb8"))
    path.with_suffix(".gif").rename(path)


def an_avif(path: Path) -> None:
    if AV1 is None:
        pytest.skip("PyAV has no encoder for AV1 here")
    with av.open(str(path), "w", format="avif") as container:
        stream = container.add_stream(AV1, rate=1)
        stream.width, stream.height, stream.pix_fmt = BITS * BAR_PX, 64, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered_image(5), format="bgr24")))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("name", ["photo", "photo.mp4", "photo.heic"])
@pytest.mark.parametrize("make", [a_png, a_gif, an_avif])
def test_a_picture_is_never_taken_for_a_video_that_begins_as_clear(tmp_path: Path, name: str, make: object) -> None:
    assert callable(make)
    make(tmp_path / name)
    with pytest.raises(SourceError, match="it is a picture of another kind or name; save it as PNG or JPEG"):
        open_source(str(tmp_path / name))


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
