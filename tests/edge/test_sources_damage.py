"""Videos that are damaged in the middle: no frame twice, and what is missing is said."""

import re
from pathlib import Path

from edge.sources import open_source
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
    (warning,) = source.warnings
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
    assert [warning.partition(":")[0] for warning in source.warnings] == ["the file ends early"]
