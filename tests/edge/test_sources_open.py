import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import SourceError
from edge.sources import expand_recordings, is_live, open_source
from tests.edge.videos import make_video

PICTURE = np.zeros((8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("uri", "live"),
    [
        ("0", True),
        ("12", True),
        ("/dev/video0", True),
        ("rtsp://cam/live", True),
        ("test:", True),
        ("test:640x360@15", True),
        ("gst:videotestsrc", True),
        ("csi:", True),
        ("picamera2:1", True),
        ("./0", False),
        ("flight:2.mp4", False),
        ("a.mp4", False),
        ("", False),
    ],
)
def test_live_sources_are_known_by_their_name(uri: str, live: bool) -> None:
    assert is_live(uri) is live


def test_a_folder_or_glob_of_videos_becomes_a_list_and_all_else_stays_one(tmp_path: Path) -> None:
    for name in ("v10.MP4", "v9.mp4"):
        make_video(tmp_path / name.lower(), 2)
        (tmp_path / name.lower()).rename(tmp_path / name)
    (tmp_path / "v9.srt").write_text("telemetry beside the video")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    cv2.imwrite(str(pictures / "a.png"), PICTURE)
    videos = [str(tmp_path / "v9.mp4"), str(tmp_path / "v10.MP4")]
    assert expand_recordings(str(tmp_path)) == videos
    assert expand_recordings(str(tmp_path / "v*")) == videos
    for single in (videos[0], str(pictures), str(pictures / "*.png"), "0", "rtsp://a:b@cam/live"):
        assert expand_recordings(single) == [single]
    with pytest.raises(SourceError, match="it holds 2 videos"):
        open_source(str(tmp_path))


def test_one_recording_stays_one_however_its_path_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("a.mp4", "~b.mp4"):
        make_video(tmp_path / name, 2)
    for uri in ("a.mp4", "./a.mp4", f"{tmp_path}//a.mp4", "~/a.mp4", "~b.mp4"):
        assert expand_recordings(uri) == [uri]
        with open_source(uri) as source:
            assert len(list(source)) == 2
    with pytest.raises(SourceError, match="there is no such file"):
        open_source("~nobody.mp4")


def test_brackets_in_the_name_of_a_folder_are_no_wildcards(tmp_path: Path) -> None:
    folder = tmp_path / "Flight [2024]"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), PICTURE)
    with open_source(str(folder / "*.png")) as source:
        assert [frame.name for frame in source] == ["a.png"]


def test_a_pipe_is_called_one(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match=r"must be a file, got .*; a pipe cannot be read twice"):
        open_source(str(tmp_path / "pipe"))


@pytest.mark.parametrize("pattern", ["*/images/*.png", "**/images/*.png", "./*/images/?.png"])
def test_a_glob_may_begin_with_its_wildcard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("day/images").mkdir(parents=True)
    cv2.imwrite("day/images/a.png", PICTURE)
    with open_source(pattern) as source:
        assert [frame.name for frame in source] == ["day/images/a.png"]


def test_a_glob_leaves_out_what_runs_wrote_and_nothing_else(tmp_path: Path) -> None:
    for folder in ("run/annotated", "mine/annotated"):
        (tmp_path / folder).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / folder / "a.png"), PICTURE)
        cv2.imwrite(str(tmp_path / folder / "../clip.png"), PICTURE)
    (tmp_path / "run/summary.json").write_text('{"exit_reason": "limit"}')
    (tmp_path / "run/.kestrel-files").write_text("clip.png\t0\n")
    with open_source(str(tmp_path / "**/*.png")) as source:
        assert [frame.name for frame in source] == ["mine/annotated/a.png", "mine/clip.png"]


def test_a_mixture_asks_for_a_glob(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mp4", 2)
    cv2.imwrite(str(tmp_path / "b.png"), PICTURE)
    for look in (expand_recordings, open_source):
        with pytest.raises(SourceError, match=r"it holds 1 videos and 1 pictures; name one kind by a glob"):
            look(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.mp4", "there is no such file"),
        ("a.mp4/b.mp4", "there is no such file"),
        ("", "it holds none"),  # the folder itself
        ("*.jpg", "no file matches"),
        ("**.jpg", "no file matches"),
        ("x" * 300, "File name too long"),
        ("zero\0byte.mp4", "there is no such file"),
    ],
)
def test_what_is_not_there_is_refused_in_one_line(tmp_path: Path, name: str, reason: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for look in (expand_recordings, open_source):
        with pytest.raises(SourceError, match=r"^source must be .*, got ") as refused:
            look(f"{folder}/{name}")
        assert reason in str(refused.value)
        assert "\n" not in str(refused.value)


def test_an_empty_name_is_not_the_working_directory() -> None:
    with pytest.raises(SourceError):
        open_source("")


@contextlib.contextmanager
def as_an_ordinary_user() -> Iterator[None]:
    """Root may read everything; without root there is nothing to do."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_an_unreadable_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0)
    try:
        for look in (expand_recordings, open_source):
            with as_an_ordinary_user(), pytest.raises(SourceError, match="Permission denied"):
                look(str(folder))
    finally:
        folder.chmod(0o700)


@pytest.mark.parametrize(
    "url",
    [
        "foo://cam/live", "://cam", "rtsp://", "rtsp:///live", "rtsp://u:secret@", "http://cam:99999/", "http://cam:x/",
        "rtsp://[fe80::1/live", "http://a cam/live", "file:///flight.mp4",
    ],
)  # fmt: skip
def test_a_malformed_url_is_refused_without_its_credentials(url: str) -> None:
    with pytest.raises(SourceError, match=r"^source must be a URL ") as refused:
        open_source(url)
    assert "secret" not in str(refused.value)
