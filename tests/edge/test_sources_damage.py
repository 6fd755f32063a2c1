"""Videos that are damaged in the middle: no frame twice, and what is missing is said."""

import re
from pathlib import Path

import pytest

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
    assert [warning.partition(":")[0] for warning in source.warnings] == [
        "the file ends early, or is damaged, and times behind that are too early"
    ]


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
    assert source.warnings == [f"about {lost} frames are missing between others: damaged there, or recorded so"]


def test_frames_that_are_corrupt_are_bad_frames_at_their_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg says so of frames that lost a part; here of those that a stand-in for it names."""
    path = tmp_path / "hurt.mkv"
    make_video(path, 12)
    monkeypatch.setattr("edge.sources.video_av.is_damaged", lambda frame: frame.pts in (0, 200, 233))
    with open_source(str(path)) as source:
        frames = list(source)
    assert [frame.signal for frame in frames] == ["bad_frame"] + ["ok"] * 5 + ["bad_frame"] * 2 + ["ok"] * 4
    assert [frames[number].image for number in (0, 6)] == [None, None]
    assert [frames[number].time_s for number in (0, 6)] == pytest.approx([0.0, 0.2])
    assert source.info.size_wh == frames[1].size_wh
    assert source.warnings == ["3 damaged frames: bad_frame, verdict unknown"]


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
