import json

import cv2
import numpy as np
import pytest

from edge.adaptive import AdaptiveView
from edge.errors import InvalidValueError, UnusableInputError
from edge.options import with_value
from edge.recognizer import Recognizer, RecognizerSettings
from edge.records import SizeWH, SourceInfo
from edge.startup import run
from edge.tiling import TiledView
from edge.view import ViewSettings, WholeView, open_view
from edge.view_options import ViewSection
from edge.watch_options import ModelSection
from tests.edge.spots import spots, write_pictures
from tests.models import write_spot_model

FILE = SourceInfo("flight.mp4", SizeWH(3840, 2160), 30.0, 100, live=False)
CAMERA = SourceInfo("0", None, None, None, live=True)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    return write_spot_model(tmp_path_factory.mktemp("models") / "spots.onnx", nms_iou=0.2)


@pytest.fixture(scope="module")
def recognizer(model_file):
    return Recognizer(model_file, RecognizerSettings(threads=1))


def kestrel(*words: str) -> int:
    from edge.cli import app

    return run("kestrel", lambda: app(list(words), standalone_mode=False))


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ([], []),
        (["--tiles"], ["--tiles", "all"]),
        (["--tiles", "auto"], ["--tiles", "auto"]),
        (["--tiles", "flight.mp4"], ["--tiles", "all", "flight.mp4"]),
        (["flight.mp4", "--tiles", "--limit", "3"], ["flight.mp4", "--tiles", "all", "--limit", "3"]),
        (["--tiles=auto", "a"], ["--tiles=auto", "a"]),
        (["--", "--tiles"], ["--", "--tiles"]),
    ],
)
def test_an_option_that_stands_alone_has_its_default(words, given):
    assert with_value(words, "--tiles", ("off", "all", "auto"), "all") == given


@pytest.mark.parametrize(
    ("settings", "source", "kind"),
    [
        (ViewSettings(), FILE, WholeView),
        (ViewSettings(), CAMERA, WholeView),  # the size follows the load only where that is asked for
        (ViewSettings(tiles="all"), FILE, TiledView),
        (ViewSettings(tiles="auto"), CAMERA, TiledView),
        (ViewSettings(follow_load=True), CAMERA, AdaptiveView),
        (ViewSettings(follow_load=True), FILE, AdaptiveView),
        (ViewSettings(max_temperature_c=80.0), CAMERA, AdaptiveView),
    ],
)
def test_each_setting_has_its_view(recognizer, settings, source, kind):
    assert isinstance(open_view(recognizer, settings, lambda: source), kind)
    assert settings.plain == (kind is WholeView)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tiles": "all", "follow_load": True}, "--tiles cannot be used together with --size auto"),
        ({"tiles": "auto", "max_temperature_c": 80.0}, "--tiles cannot be used together with --size auto"),
        ({"budget_ms": 20.0}, "--budget-ms must go with --size auto or --tiles auto"),
        ({"budget_ms": 20.0, "tiles": "all"}, "--budget-ms must go with --size auto or --tiles auto"),
    ],
)
def test_options_that_contradict_each_other_are_refused(settings, message):
    with pytest.raises(UnusableInputError, match=message):
        ViewSettings(**settings)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"tile_max_age_s": 0.0}, "tile-max-age"),
        ({"follow_load": True, "budget_ms": -1.0}, "budget-ms"),
        ({"max_temperature_c": 0.0}, "max-temperature"),
    ],
)
def test_options_out_of_their_range_are_refused(settings, name):
    with pytest.raises(InvalidValueError, match=f"{name} must be above 0"):
        ViewSettings(**settings)


def test_the_options_become_the_settings():
    assert ViewSection().asked(follow_load=False) == ViewSettings()
    assert ViewSection("all").asked(follow_load=False) == ViewSettings(tiles="all")
    assert ViewSection(budget_ms=20.0, max_temperature=70.0).asked(follow_load=True) == ViewSettings(
        follow_load=True, budget_ms=20.0, max_temperature_c=70.0
    )


@pytest.mark.parametrize(
    ("size", "size_wh", "follows_load"),
    [(None, None, False), ("1280x736", SizeWH(1280, 736), False), ("auto", None, True)],
)
def test_a_size_is_exact_or_follows_the_load(size, size_wh, follows_load):
    section = ModelSection(size=size)
    assert (section.size_wh(), section.follows_load) == (size_wh, follows_load)


def test_tiles_are_looked_at_on_the_command_line(tmp_path, model_file, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path / "pictures", [spots((350, 260), width=800, height=500)])
    common = ["watch", "pictures", "--model", str(model_file), "--threads", "1", "--no-video", "--jsonl", "-"]
    counts, headers = [], []
    for words in ([], ["--tiles"], ["--tiles", "auto"]):
        assert kestrel(*common, *words, "--out", f"out{len(counts)}") == 0
        header, frame, *_ = map(json.loads, capsys.readouterr().out.splitlines())
        counts.append(frame["count"])
        headers.append(header)
        assert frame["coverage"] == 1.0
    assert counts == [0, 1, 1]
    assert headers[0]["provider"] == "CPUExecutionProvider"


def test_a_size_that_follows_the_load_is_said(tmp_path, model_file, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("a.png", np.zeros((200, 320, 3), np.uint8))
    words = ["watch", "a.png", "--model", str(model_file), "--threads", "1", "--no-video", "--jsonl", "-"]
    assert kestrel(*words, "--size", "auto", "--budget-ms", "1e6") == 0
    out, err = capsys.readouterr()
    [event] = [line for line in map(json.loads, out.splitlines()) if line["record"] == "event"]
    assert event["event"] == "size_chosen"
    assert "a.png: size chosen: input 416x272" in err


def test_a_provider_that_is_not_installed_ends_with_those_that_are(model_file, capsys):
    assert kestrel("watch", "a.png", "--model", str(model_file), "--provider", "abacus") == 2
    assert "provider must be one of" in capsys.readouterr().err
