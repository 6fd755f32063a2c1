"""Options that would do nothing are refused, on the command line and in a file; their defaults may be written out."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("here")

SOURCES = {"recording": "flight.mp4", "live": "test:"}
IDLE = [
    ("recording", ["--tile-max-age", "9"], "tile_max_age must be used together with --tiles, got 9.0"),
    ("recording", ["--no-video", "--segment-s", "9"], "segment_s must be left out with --no-video, got 9.0"),
    ("live", ["--no-video", "--video-max-mb", "9"], "video_max_mb must be left out with --no-video, got 9.0"),
    (
        "recording",
        ["--video-max-mb", "9"],
        "video_max_mb must be used together with --segment-s for recordings, got 9.0",
    ),
    ("recording", ["--clip-before-s", "9"], "clip_before_s must be used together with --clips, got 9.0"),
    ("recording", ["--clip-after-s", "9"], "clip_after_s must be used together with --clips, got 9.0"),
    ("live", ["--clips-max-mb", "9"], "clips_max_mb must be used together with --clips, got 9.0"),
    ("live", ["--keep", "9"], "keep must be used together with --rotate-mb, got 9"),
    ("live", ["--http-token-file", "token"], "http_token_file must be used together with --http, got 'token'"),
    ("live", ["--mqtt-tls"], "mqtt_tls must be used together with --mqtt, got True"),
    ("recording", ["--width", "64"], "width must be left out for recordings, it is for live sources, got 64"),
    ("recording", ["--height", "64"], "height must be left out for recordings, it is for live sources, got 64"),
    ("recording", ["--fps", "9"], "fps must be left out for recordings, it is for live sources, got 9.0"),
    ("live", ["--resume"], "--resume cannot be used with live sources"),
]


@pytest.mark.parametrize(("kind", "options", "message"), IDLE, ids=[" ".join(options) for _, options, _ in IDLE])
def test_an_option_that_does_nothing_is_refused_before_anything_is_written(watch, kind, options, message):
    before = set(Path().iterdir())
    done = watch(SOURCES[kind], *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"kestrel: {message}")
    assert done.stderr.count("\n") == 1
    assert set(Path().iterdir()) == before


def test_it_is_refused_in_a_file_as_well(watch):
    Path("c.toml").write_text("video = false\nsegment-s = 9\n")
    done = watch("flight.mp4", "--config", "c.toml")
    assert (done.returncode, done.stderr) == (2, "kestrel: segment_s must be left out with --no-video, got 9.0\n")


def test_a_printed_file_with_all_defaults_still_serves(watch, kestrel):
    printed = kestrel("watch", "--print-config", "--no-video", "--limit", 1).stdout
    assert "tile-max-age = 2.0" in printed
    Path("c.toml").write_text(printed)
    assert watch("test:64x64@50", "--config", "c.toml").returncode == 0
    done = watch("missing.mp4", "--config", "c.toml")
    assert done.stderr.startswith("kestrel: source must be")
