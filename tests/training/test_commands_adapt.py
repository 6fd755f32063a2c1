"""`kestrel-train self-train`, `finetune` and `ablate` as a user runs them."""

from pathlib import Path

import pytest

from tests.training.people import write_people
from tests.training.test_commands_train import SHORT, run
from training.__main__ import main as kestrel_train


@pytest.fixture(scope="module")
def place_rgb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_people(tmp_path_factory.mktemp("place") / "place-rgb", 8)


def test_footage_may_be_named_once_or_several_times(
    monkeypatch, capsys, people_rgb, learnt_student, place_rgb, tmp_path
):
    out = tmp_path / "out"
    footage = (place_rgb / "images" / "0.png", place_rgb / "images" / "1.png", place_rgb / "images" / "4.png")
    options = ("--teacher", learnt_student, "--out", out, "--floor", "0.2", "--faint", "0.1", "--news", "0")
    noise = ("--stochastic-depth", "0", *SHORT)
    arguments = (people_rgb, "--unlabelled", *footage[:2], "--unlabelled", footage[2], *options, *noise)
    assert run(monkeypatch, kestrel_train, "self-train", *arguments) == 0
    said = capsys.readouterr().out
    assert all(f"{file}: 1 of 1 frames are kept" in said for file in footage)
    assert said.endswith(f"wrote {out / 'student.pt'}\n")


def test_a_checkpoint_is_adapted_and_the_table_is_printed(monkeypatch, capsys, learnt_student, place_rgb, tmp_path):
    arguments = (learnt_student, place_rgb, "--out", tmp_path / "out", "--steps", "1", "--crop", "64", "--allow-worse")
    assert run(monkeypatch, kestrel_train, "finetune", *arguments) == 0
    said = capsys.readouterr()
    assert "before    after" in said.out
    assert "kestrel-export" in said.out
    assert "warning: fewer than 20 pictures" in said.err


def test_an_ablation_prints_its_table(monkeypatch, capsys, people_rgb, learnt_student, tmp_path):
    arguments = (people_rgb, "--validate", people_rgb, "--teacher", learnt_student, "--out", tmp_path / "out")
    few = ("--seeds", "1", "--arms", "alone,hard", *SHORT)
    assert run(monkeypatch, kestrel_train, "ablate", *arguments, *few) == 0
    assert "| + hard targets | 1 |" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["ablate", "self-train"])
def test_pictures_of_no_modality_are_named_where_a_teacher_is_looked_for(monkeypatch, capsys, tmp_path, command):
    place = write_people(tmp_path / "place", 2)
    others = ("--validate", place) if command == "ablate" else ("--unlabelled", "a.mp4")
    assert run(monkeypatch, kestrel_train, command, place, *others, *SHORT) == 2
    assert "dataset must say whether it is rgb or thermal, got neither in place" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("self-train", "--teacher", "no.pt", *SHORT), "unlabelled must be at least one recording or folder"),
        (
            ("self-train", "--unlabelled", "a.mp4", "--floor", "0.1", "--teacher", "no.pt", *SHORT),
            "floor must be at least",
        ),
        (("self-train", "--unlabelled", "a.mp4", "--teacher", "no.pt", *SHORT), "checkpoint must be an existing file"),
        (
            ("self-train", "--teacher", "no.pt", *SHORT, "--weights", "teacher"),
            "weights must be none, pip, hub or a file",
        ),
        (("self-train", "--teacher", "no.pt", "--like", "no.pt", *SHORT), "checkpoint must be an existing file"),
        (("ablate", "--validate", "x", "--teacher", "no.pt", "--arms", "wings", *SHORT), "arms must be among alone"),
        (("self-train", "--teacher", "no.pt", "--extra", "3", *SHORT), "No such option: --extra"),
        (("finetune", "no.pt", "--soft", "5", "--steps", "1"), "--soft must be left out without --teacher, got 5.0"),
        (("finetune", "no.pt", "--soft", "0", "--teacher", "t.pt"), "--soft must be above 0 with --teacher, got 0.0"),
        (("finetune", "no.pt", "--seed", "-1", "--steps", "1"), "seed must be in 0..4294967295, got -1"),
        (("ablate", "--validate", "x", "--teacher", "no.pt", *SHORT), "checkpoint must be an existing file"),
    ],
)
def test_bad_options_end_with_one_line_and_2(monkeypatch, capsys, people_rgb, tmp_path, arguments, line):
    command, *options = arguments
    assert run(monkeypatch, kestrel_train, command, people_rgb, "--out", tmp_path / "out", *options) == 2
    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()
