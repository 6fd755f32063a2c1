"""`kestrel-train` and `kestrel-export` as a user runs them; the networks are tiny and the runs a few steps long."""

from pathlib import Path

import pytest

from edge.recognizer import Recognizer, RecognizerSettings
from export.__main__ import main as kestrel_export
from tests.training.people import BACKBONE, draw_people, write_people
from training.__main__ import main as kestrel_train

SHORT = ("--backbone", BACKBONE, "--weights", "none", "--steps", "2", "--crop", "64", "--batch-size", "2")


def run(monkeypatch: pytest.MonkeyPatch, command: object, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["command", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        command()  # type: ignore[operator]
    return int(ended.value.code or 0)


def test_from_labels_to_a_model_that_recognises(monkeypatch, capsys, people_rgb, tmp_path):
    teacher, student, model = tmp_path / "teacher", tmp_path / "student", tmp_path / "model.onnx"
    assert run(monkeypatch, kestrel_train, "teacher", people_rgb, "--out", teacher, *SHORT) == 0
    taught = ("--teacher", teacher / "teacher.pt", "--out", student)
    assert run(monkeypatch, kestrel_train, "distil", people_rgb, *taught, *SHORT) == 0
    assert capsys.readouterr().out == f"wrote {teacher / 'teacher.pt'}\nwrote {student / 'student.pt'}\n"
    assert run(monkeypatch, kestrel_export, student / "student.pt", model, "--long-side", "96") == 0
    assert "warning: without --validate" in capsys.readouterr().err
    found = Recognizer(model, RecognizerSettings(threshold=1e-3)).recognise(draw_people([(30, 30)]))
    assert len(found.scores) > 0
    assert 0 < found.presence < 1


def test_a_run_goes_on_with_resume_and_only_with_it(monkeypatch, capsys, people_rgb, tmp_path):
    command = ("distil", people_rgb, "--out", tmp_path / "out", *SHORT)
    assert run(monkeypatch, kestrel_train, *command) == 0
    assert run(monkeypatch, kestrel_train, *command) == 2
    assert "add --resume or name another" in capsys.readouterr().err
    assert run(monkeypatch, kestrel_train, *command, "--steps", "4", "--resume") == 0


@pytest.mark.parametrize("command", ["teacher", "distil"])
@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--steps", "0"), "steps or minutes must be positive, got (0, 0.0); say how long to train"),
        (("--crop", "100"), "crop must be a multiple of 32, got 100"),
        (("--learning-rate", "-1"), "learning_rate must be positive, got -1.0"),
        (("--backbone", "efficientnet_lite7"), "backbone must be a timm model, got 'efficientnet_lite7'; try one of"),
        (("--weights", "pip"), "weights must be a file or hub for test_efficientnet, got 'pip'"),
        (("--weights", "nowhere.pth"), "weights must be none, pip, hub or a file, got 'nowhere.pth'"),
        (("--batch-size", "0"), "Invalid value for '--batch-size'"),
        (("--wings",), "No such option: --wings"),
    ],
)
def test_bad_options_end_with_one_line_and_2(monkeypatch, capsys, people_rgb, tmp_path, command, options, line):
    arguments = (command, people_rgb, "--out", tmp_path / "out", *SHORT, *options)
    assert run(monkeypatch, kestrel_train, *arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("kestrel-train: ")
    assert line in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--stride", "5"), "stride must be 4 or 8, got 5"),
        (("--temperature", "0"), "temperature must be positive, got 0.0"),
        (("--soft", "-1"), "soft must be at least 0, got -1.0"),
        (("--teacher", "no.pt"), "checkpoint must be an existing file, got 'no.pt'"),
        (("--weights", "teacher"), "'teacher' without a teacher of the same backbone"),
    ],
)
def test_bad_options_of_distil_end_with_one_line_and_2(monkeypatch, capsys, people_rgb, tmp_path, options, line):
    assert run(monkeypatch, kestrel_train, "distil", people_rgb, "--out", tmp_path / "out", *SHORT, *options) == 2
    assert line in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_footage_of_an_unknown_modality_is_refused_with_what_to_do(monkeypatch, capsys, tmp_path):
    folder: Path = write_people(tmp_path / "people", 1)
    assert run(monkeypatch, kestrel_train, "distil", folder, "--out", tmp_path / "out", *SHORT) == 2
    assert "dataset must say whether it is rgb or thermal" in capsys.readouterr().err
