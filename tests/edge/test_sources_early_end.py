"""Videos that end too early, or break on the way: every whole frame comes, and the end is told."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
import pytest
from av.video.stream import VideoStream

from edge.sources.video import early_end
from edge.sources.video_av import VideoFacts, read_with_pyav
from tests.edge.videos import B_FRAMES, INDEX_FIRST, QUIET_HEVC, Recipe, make_video, number_of, read


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
