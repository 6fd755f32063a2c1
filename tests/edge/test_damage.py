"""Videos that are damaged in the middle: no frame twice, and what is missing is said."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import av
import numpy as np
import pytest

from edge.capture.stream import read_frames
from edge.damage import Damage
from edge.errors import SourceError
from edge.sources import open_source
from edge.sources.video import missing_between
from tests.edge.videos import Recipe, make_video, number_of


def blank_out(path: Path, share: float) -> None:
    """Zeros in place of so much of a file, from its middle on."""
    content = path.read_bytes()
    begin = len(content) // 2
    end = begin + round(share * len(content))
    path.write_bytes(content[:begin] + bytes(end - begin) + content[end:])


def test_a_hole_in_a_video_is_told(tmp_path: Path) -> None:
    path = tmp_path / "hole.mkv"
    make_video(path, 120, Recipe(options={"g": "10"}))
    blank_out(path, 1 / 8)
    with open_source(str(path)) as source:
        assert len(list(source)) < 120
    warning = source.warnings[-1]
    assert re.fullmatch(r"no frame from 1\.\d s to \d\.\d s: damaged there, or recorded so", warning)


def test_frames_behind_a_hole_in_an_avi_come_once(tmp_path: Path) -> None:
    path = tmp_path / "hole.avi"
    make_video(path, 120, Recipe("mpeg4", options={"time_base": "1/30", "g": "10"}))
    blank_out(path, 1 / 6)
    with open_source(str(path)) as source:
        numbers = [number_of(frame.image) for frame in source if frame.image is not None]
    assert numbers == sorted(numbers)
    assert numbers[-1] == 119
    assert len(numbers) < 120
    damaged, early = source.warnings
    assert re.fullmatch(r"\d+ damaged frames: bad_frame, verdict unknown", damaged)
    assert early.startswith("the file ends early, or is damaged, and times behind that are too early: ")


def test_frames_that_are_lost_in_a_transport_stream_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "hurt.ts"
    make_video(path, 60, Recipe(options={"g": "20"}))
    content = bytearray(path.read_bytes())
    packets = len(content) // 188
    for packet in range(packets - 8, 10, -8):  # that the radio lost
        del content[packet * 188 : packet * 188 + 188]
    path.write_bytes(content)
    with open_source(str(path)) as source:
        lost = 60 - len(list(source))
    assert lost > 2
    told, missing = source.warnings
    assert re.fullmatch(r"\d\d damaged frames: bad_frame, verdict unknown", told)
    assert missing == f"about {lost} frames are missing between others: damaged there, or recorded so"


def flip_bits(path: Path, packet: int) -> None:
    """Damage what one packet of a video holds, and nothing of its container."""
    with av.open(path) as container:
        hit = [sent for sent in container.demux(video=0) if sent.size][packet]
    assert hit.pos is not None
    content = bytearray(path.read_bytes())
    for place in range(hit.pos + hit.size // 5, hit.pos + hit.size, hit.size // 4):
        content[place] ^= 0x55
    path.write_bytes(content)


@pytest.mark.parametrize(("packet", "spoilt"), [(0, range(20)), (20, range(20, 40))])
def test_frames_behind_a_damaged_one_are_bad_frames_up_to_the_next_keyframe(
    tmp_path: Path, packet: int, spoilt: range
) -> None:
    path = tmp_path / "hurt.mp4"
    make_video(path, 60, Recipe(options={"g": "20", "bf": "0"}))
    with open_source(str(path)) as source:
        whole = [frame.image for frame in source]
    flip_bits(path, packet)
    with open_source(str(path)) as source:
        frames = list(source)
    assert [frame.seq for frame in frames if frame.signal == "bad_frame"] == list(spoilt)
    assert all((frame.image is None) == (frame.signal == "bad_frame") for frame in frames)
    for frame in frames:
        if frame.image is not None:
            np.testing.assert_array_equal(frame.image, whole[frame.seq])
    assert [frame.time_s for frame in frames] == pytest.approx([n / 30 for n in range(60)], abs=1e-3)
    assert source.info.size_wh == frames[50].size_wh
    assert source.warnings == ["20 damaged frames: bad_frame, verdict unknown"]


def test_a_video_that_is_damaged_from_its_beginning_on_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hurt.mp4"
    make_video(path, 20, Recipe(options={"g": "20", "bf": "0"}))
    flip_bits(path, 0)
    with pytest.raises(SourceError, match="damaged from its first frame on, and no keyframe comes that"):
        open_source(str(path))


def add_message(path: Path, at: int) -> Path:
    """The same video with one more packet that holds a message (SEI) and no picture, as some recorders write."""
    message = b"\x06\x05\x11" + b"kestrel-test-uuid" + b"\x80"
    out = path.with_name("message.mkv")
    with av.open(path) as source, av.open(out, "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(packet for packet in source.demux(video=0) if packet.size):
            if number == at:
                extra = av.Packet(len(message).to_bytes(4, "big") + message)
                extra.pts = extra.dts = packet.dts
                extra.time_base, extra.stream = packet.time_base, stream
                target.mux(extra)
            packet.stream = stream
            target.mux(packet)
    return out


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("at", [0, 20, 30])
def test_a_packet_without_a_picture_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, threads: int
) -> None:
    monkeypatch.setattr("edge.sources.video_av.usable_cores", lambda: threads)
    make_video(tmp_path / "whole.mkv", 40, Recipe(options={"g": "20", "bf": "0"}))
    with open_source(str(add_message(tmp_path / "whole.mkv", at))) as source:
        frames = list(source)
    assert [frame.signal for frame in frames] == ["ok"] * 40


def test_nor_is_it_in_a_live_stream(tmp_path: Path) -> None:
    make_video(tmp_path / "whole.mkv", 40, Recipe(options={"g": "20", "bf": "0"}))
    with av.open(add_message(tmp_path / "whole.mkv", 5)) as container:
        pictures = list(read_frames(container, container.streams.video[0]))
    assert [picture.corrupt for picture in pictures] == [False] * 40


@pytest.mark.parametrize("threads", [1, 4])
def test_transport_streams_that_were_joined_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    monkeypatch.setattr("edge.sources.video_av.usable_cores", lambda: threads)
    recipe = Recipe(options={"g": "20", "bf": "2"})
    make_video(tmp_path / "a.ts", 200, recipe)
    make_video(tmp_path / "b.ts", 45, recipe)
    joined = tmp_path / "joined.ts"
    joined.write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    with open_source(str(joined)) as source:
        frames = list(source)
    assert [frame.signal for frame in frames] == ["ok"] * 245
    assert [number_of(f.image) for f in frames if f.image is not None] == [*range(200), *range(45)]
    assert source.warnings == []


def test_a_keyframe_that_lost_a_part_is_no_new_beginning(tmp_path: Path) -> None:
    """FFmpeg marks the packet before it, and the decoder of HEVC says nothing."""
    path = tmp_path / "hurt.ts"
    options = {"x265-params": "keyint=20:min-keyint=20:bframes=0:log-level=none:scenecut=0"}
    make_video(path, 60, Recipe("libx265", options=options))
    with open_source(str(path)) as source:
        whole = [frame.image for frame in source]
    with av.open(path) as container:
        hit = [packet for packet in container.demux(video=0) if packet.size][20]
    assert hit.is_keyframe
    assert hit.pos is not None
    content = path.read_bytes()
    begin = hit.pos - hit.pos % 188 + 188  # the keyframe's second packet of the transport stream
    path.write_bytes(content[:begin] + content[begin + 188 :])
    with open_source(str(path)) as source:
        frames = list(source)
    for frame in frames:
        if frame.image is not None:
            near = np.abs(frame.image.astype(int) - whole[round((frame.time_s or 0) * 30)].astype(int)).mean()
            assert near < 3


class Sent(NamedTuple):
    is_corrupt: bool = False
    is_keyframe: bool = False
    dts: int | None = None
    size: int = 9


class Given(NamedTuple):
    is_corrupt: bool = False
    key_frame: bool = False


def damage(*, intra_only: bool = False) -> Damage:
    codec = SimpleNamespace(intra_only=intra_only)
    context = SimpleNamespace(codec=codec, name="mpeg2video", extradata=None, thread_count=1)
    stream: Any = SimpleNamespace(codec_context=context)
    return Damage(stream, 3.0)


def spoilt_of(judge: Damage, *events: Any) -> list[bool]:
    """The judgement of each given frame, in order."""
    judged = []
    for event in events:
        if isinstance(event, Sent):
            judge.packet_sent(event, ())  # type: ignore[arg-type]
        else:
            judged.append(judge.spoils(event))
    return judged


KEY, CORRUPT = Given(key_frame=True), Given(is_corrupt=True)
SENT, SENT_KEY, HURT = Sent(), Sent(is_keyframe=True), Sent(is_corrupt=True)


def test_a_keyframe_that_was_sent_before_the_damage_ends_nothing() -> None:
    """Threads of the decoder give frames later than their packets are sent."""
    events = (SENT_KEY, HURT, KEY, Given(), SENT, SENT, SENT_KEY, Given(), KEY, Given())
    assert spoilt_of(damage(), *events) == [True, True, True, False, False]


def test_a_keyframe_so_near_behind_a_mark_may_be_what_was_hit() -> None:
    assert spoilt_of(damage(), HURT, SENT, SENT_KEY, KEY, SENT, SENT_KEY, KEY) == [True, False]


def test_a_corrupt_frame_spoils_those_up_to_the_keyframe_that_may_have_been_sent_already() -> None:
    assert spoilt_of(damage(), Given(), CORRUPT, Given(), KEY, Given()) == [False, True, True, False, False]


def test_without_a_keyframe_a_stream_heals_in_time() -> None:
    assert spoilt_of(damage(), CORRUPT, *[Given()] * 40) == [True] * 30 + [False] * 11


def test_pictures_that_are_predicted_from_none_stay_whole() -> None:
    assert spoilt_of(damage(intra_only=True), HURT, Given(), CORRUPT, Given()) == [False, True, False]


@pytest.mark.parametrize(
    ("steps_ms", "missing"),
    [
        ({}, 0),
        ({0: 3}, 0),
        ({33: 60, 34: 30}, 0),
        ({33: 60, 34: 30, 67: 2, 134: 1}, 5),
        ({33: 20, 41: 17, 52: 9, 70: 3}, 0),  # of variable rate
    ],
)
def test_what_is_missing_is_known_of_a_constant_rate_alone(steps_ms: dict[int, int], missing: int) -> None:
    assert missing_between(steps_ms) == missing
