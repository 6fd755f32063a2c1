import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from edge.commands_watch import watch
from edge.config import Setting, read_config, settings_of, write_config
from edge.errors import InvalidValueError
from edge.model_files import PrecisionChoice


class Colour(StrEnum):
    red = "red"


def command(
    context: typer.Context,
    source: Annotated[str | None, typer.Argument(help="What to watch.")] = None,
    config: Annotated[Path | None, typer.Option(help="The file itself.")] = None,
    rtsp_transport: Annotated[str, typer.Option(help="tcp or udp.", rich_help_panel="Live")] = "tcp",
    every: Annotated[int, typer.Option(help="N.")] = 1,
    rotate_mb: Annotated[float | None, typer.Option(help="MB.")] = None,
    video: Annotated[bool, typer.Option(help="Video.")] = True,
    colour: Annotated[Colour, typer.Option(help="Colour.")] = Colour.red,
    out: Annotated[Path | None, typer.Option(help="Folder.")] = None,
    sinks: Annotated[list[str] | None, typer.Option(help="Any number.")] = None,
) -> None:
    pass


SETTINGS = settings_of(command)


@pytest.fixture
def config(tmp_path):
    def read(text: str) -> dict[str, Any]:
        file = tmp_path / "c.toml"
        file.write_text(text)
        return read_config(file, SETTINGS)

    return read


def test_the_settings_are_what_the_signature_says():
    assert [setting.key for setting in SETTINGS] == [
        *("source", "rtsp-transport", "every", "rotate-mb", "video", "colour", "out", "sinks")
    ]
    assert SETTINGS[1] == Setting("rtsp_transport", str, False, "tcp or udp.", "Live")
    assert [setting.kind for setting in SETTINGS] == [str, str, int, float, bool, Colour, Path, str]
    assert [setting.many for setting in SETTINGS] == [False] * 7 + [True]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        ('rtsp-transport = "udp"', {"rtsp_transport": "udp"}),
        ('rtsp_transport = "udp"', {"rtsp_transport": "udp"}),
        ("every = 3\nrotate-mb = 2", {"every": "3", "rotate_mb": "2.0"}),
        ("video = false", {"video": False}),
        ("source = 0", {"source": "0"}),
        ('sinks = ["a", "b"]', {"sinks": ["a", "b"]}),
        ('sinks = "a"', {"sinks": ["a"]}),
    ],
)
def test_a_file_gives_what_the_command_line_would(config, text, values):
    assert config(text) == values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("evry = 3", "got 'evry'; did you mean 'every'?"),
        ("config = 'x'", "must be the name of an option, got 'config'"),
        ("xyz = 3", "did you mean '"),
        ("[live]\nevery = 1", "got 'live'"),
        ("every = 3.5", "must be a whole number, got 3.5"),
        ("every = true", "must be a whole number, got True"),
        ("every = '3'", "must be a whole number, got '3'"),
        ("rotate-mb = 'many'", "must be a number, got 'many'"),
        ("video = 1", "must be true or false, got 1"),
        ("out = 7", "must be text in quotes, got 7"),
        ("source = true", "must be text in quotes, got True"),
        ("sinks = [1]", "must be text in quotes, got 1"),
        ("rtsp-transport = 'tcp'\nrtsp_transport = 'udp'", "must be given once"),
        ("every", "must be a TOML file, got"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(config, text, message):
    with pytest.raises(InvalidValueError, match=r"c\.toml") as refused:
        config(text)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    for name in ("nothing.toml", "binary.toml", "."):
        with pytest.raises(InvalidValueError, match="config must be a TOML file"):
            read_config(tmp_path / name, SETTINGS)


def test_what_is_written_reads_back_as_it_was(config):
    values = {
        "source": 'a "b"\\ \x7f\té',
        "rtsp_transport": "udp",
        "every": 10**12,
        "rotate_mb": 1e-7,
        "video": False,
        "colour": Colour.red,
        "out": Path("/tmp/a b"),
        "sinks": ["a", "b"],
    }
    text = write_config(values, SETTINGS)
    back = config(text)
    assert back.pop("every") == str(10**12)
    assert float(back.pop("rotate_mb")) == 1e-7
    assert back.pop("out") == "/tmp/a b"
    assert back == {key: value for key, value in values.items() if key in back}
    assert "# == Live ==" in text


def test_what_is_not_set_is_written_as_a_comment(config):
    assert config(write_config({}, SETTINGS)) == {}


@pytest.mark.parametrize("source", ["rtsp://me:s@cret@h/live", "http://h/v?token=s@cret"])
def test_credentials_are_not_written(config, source):
    text = write_config({"source": source}, SETTINGS)
    assert "cret" not in text
    assert "The credentials are hidden" in text
    kept = "rtsp://${USER}:${PASS}@h/live?token=${T}"
    assert config(write_config({"source": kept}, SETTINGS)) == {"source": kept}


def test_every_option_of_watch_can_be_in_a_file(tmp_path):
    settings = settings_of(watch)
    made: dict[Any, Any] = {bool: True, int: 7, float: 0.5, str: "x", Path: Path("x"), PrecisionChoice: "fp32"}
    values = {s.name: [made[s.kind]] if s.many else made[s.kind] for s in settings if s.kind in made}
    file = tmp_path / "all.toml"
    file.write_text(write_config(values, settings))
    assert len(tomllib.loads(file.read_text())) == len(values) > 10
    assert set(read_config(file, settings)) == set(values)


def test_a_name_that_toml_cannot_hold_is_refused_when_it_is_written():
    with pytest.raises(InvalidValueError, match=r"source must be a name in UTF-8, got 'caf.*'; a file of options can"):
        write_config({"source": "caf\udce9.mp4"}, SETTINGS)
