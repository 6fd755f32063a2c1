"""`kestrel-train` and `kestrel-export` as a user runs them; the networks are tiny and the runs a few steps long."""

import dataclasses
import json
import sys
from pathlib import Path

import pytest
import torch

import training.run
import training.teacher_files
from edge.recognizer import Recognizer, RecognizerSettings
from export.__main__ import main as kestrel_export
from tests.training.people import BACKBONE, draw_people, write_people
from training.__main__ import main as kestrel_train
from training.checkpoints import load_checkpoint
from training.networks.inherit import activations
from training.shipped import read_shipped
from training.start_point import read_start_point

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


def test_a_teacher_is_written_to_give_away_and_found_by_who_distils(monkeypatch, capsys, people_rgb, tmp_path):
    file = tmp_path / "teachers" / "kestrel-rgb-teacher.safetensors"
    assert run(monkeypatch, kestrel_train, "teacher", people_rgb, "--out", tmp_path / "t", *SHORT) == 0
    (tmp_path / "val.json").write_text('{"AP50": 0.25}')
    command = ("export-teacher", tmp_path / "t" / "teacher.pt", file, "--metrics", tmp_path / "val.json")
    assert run(monkeypatch, kestrel_train, *command) == 0
    assert "| AP50 | 0.250 |" in file.with_suffix(".md").read_text()
    assert run(monkeypatch, kestrel_train, *command) == 2
    assert "add --overwrite" in capsys.readouterr().err
    monkeypatch.setattr(training.teacher_files, "FOLDER", file.parent)
    assert run(monkeypatch, kestrel_train, "distil", people_rgb, "--out", tmp_path / "s", *SHORT, "--hard", "1") == 0
    assert f"learns of the labels of people-rgb and of {file}" in capsys.readouterr().err
    lines = [json.loads(line) for line in (tmp_path / "s" / "metrics.jsonl").read_text().splitlines()]
    assert lines[0].keys() >= {"hard", "soft_box"}
    assert "soft" not in lines[0]


def test_the_mean_of_two_runs_is_a_checkpoint_like_theirs(monkeypatch, capsys, learnt_student, tmp_path):
    mean = tmp_path / "mean.pt"
    command = ("average", learnt_student, learnt_student, "--out", mean)
    assert run(monkeypatch, kestrel_train, *command) == 0
    assert f"wrote {mean}; kestrel-train evaluate tells" in capsys.readouterr().out
    of_two, of_one = load_checkpoint(mean).averaged, load_checkpoint(learnt_student).averaged
    assert all(torch.allclose(of_two[name], of_one[name], atol=1e-6) for name in of_one)
    assert run(monkeypatch, kestrel_train, *command) == 2
    assert "--out must be a new file" in capsys.readouterr().err


def test_several_networks_are_exported_as_one_teacher_and_taught_from(
    monkeypatch, capsys, people_rgb, learnt_student, tmp_path
):
    file = tmp_path / "t.safetensors"
    command = ("export-teacher", learnt_student, file, "--with", learnt_student, "--with", learnt_student)
    assert run(monkeypatch, kestrel_train, *command) == 0
    assert "3 networks, whose chances and boxes are averaged" in file.with_suffix(".md").read_text()
    assert run(monkeypatch, kestrel_train, "evaluate", file, people_rgb, "--tta") == 0
    taught = ("--teacher", file, "--feature", "1", "--weights", "teacher", "--head", "dense")
    assert run(monkeypatch, kestrel_train, "distil", people_rgb, "--out", tmp_path / "s", *SHORT, *taught) == 0
    assert f"learns of the labels of people-rgb and of {file}" in capsys.readouterr().err
    assert "feature" in json.loads((tmp_path / "s" / "metrics.jsonl").read_text().splitlines()[0])


def test_a_run_that_learns_on_from_an_unfinished_one_knows_how_far_it_came(monkeypatch, people_rgb, tmp_path):
    command = ("distil", people_rgb, "--teacher", "none", *SHORT)
    assert run(monkeypatch, kestrel_train, *command, "--out", tmp_path / "first") == 0
    start = ("--from", tmp_path / "first" / "last.pt", "--out", tmp_path / "again")
    few = ("--steps", "1", "--crop", "64", "--batch-size", "2")
    assert run(monkeypatch, kestrel_train, "distil", people_rgb, "--teacher", "none", *start, *few) == 0
    settings = load_checkpoint(tmp_path / "again" / "student.pt").settings
    assert (settings["step"], [chapter["from_step"] for chapter in settings["history"]]) == (3, [0, 2])


def test_a_resumed_run_keeps_to_teachers_of_as_many_channels(monkeypatch, capsys, people_rgb, learnt_student, tmp_path):
    file = tmp_path / "t.safetensors"
    assert run(monkeypatch, kestrel_train, "export-teacher", learnt_student, file, "--with", learnt_student) == 0
    command = ("distil", people_rgb, "--out", tmp_path / "s", *SHORT, "--feature", "1", "--teacher")
    assert run(monkeypatch, kestrel_train, *command, learnt_student) == 0
    assert run(monkeypatch, kestrel_train, *command, file, "--resume", "--steps", "4") == 2
    assert "--resume must go on with a teacher whose maps have 16 channels, got 32" in capsys.readouterr().err


def test_one_network_of_a_teacher_learns_on_and_keeps_its_history(monkeypatch, capsys, people_rgb, tmp_path):
    few = ("--steps", "1", "--crop", "64", "--batch-size", "2")
    command, first = ("teacher", people_rgb), tmp_path / "first" / "teacher.pt"
    assert run(monkeypatch, kestrel_train, *command, *SHORT, "--long-side", "96", "--out", first.parent) == 0
    file = tmp_path / "t.safetensors"
    assert run(monkeypatch, kestrel_train, "export-teacher", first, file, "--with", first) == 0
    start = (*few, "--from", file, "--out", tmp_path / "again")
    for network in ((), ("--network", "3")):
        assert run(monkeypatch, kestrel_train, *command, *start, *network) == 2
        assert "network must be in 1..2, one of those that teach together" in capsys.readouterr().err
    assert not (tmp_path / "again").exists()
    assert run(monkeypatch, kestrel_train, *command, *start, "--network", "2", "--learning-rate", "1e-9") == 0
    before, after = load_checkpoint(first), load_checkpoint(tmp_path / "again" / "teacher.pt")
    assert after.spec == {**before.spec, "frozen_stages": 0}
    assert after.input_rule.default_long_side == 96
    assert after.settings["step"] == 3
    assert [chapter["from_step"] for chapter in after.settings["history"]] == [0, 2]
    moved = [
        n for n, t in before.averaged.items() if t.ndim > 1 and not torch.allclose(t, after.averaged[n], atol=1e-3)
    ]
    assert moved == []  # FP16 in between, and a rate at which nothing is learnt
    unlike = ("teacher", write_people(tmp_path / "people-thermal", 2), *start, "--network", "1")
    assert run(monkeypatch, kestrel_train, *unlike) == 2
    assert "from must be a thermal model, as the data is, got 'rgb'" in capsys.readouterr().err


def test_what_is_no_teacher_does_not_learn_on_as_one(monkeypatch, capsys, people_rgb, learnt_student, tmp_path):
    out = ("--out", tmp_path / "out", *SHORT)
    assert run(monkeypatch, kestrel_train, "teacher", people_rgb, *out, "--from", learnt_student) == 2
    assert "from must be a teacher, got 'a student'; kestrel-train distil --from learns" in capsys.readouterr().err
    assert run(monkeypatch, kestrel_train, "teacher", people_rgb, *out, "--network", "1") == 2
    assert "network must be left out without --from, got 1" in capsys.readouterr().err


def test_figures_of_one_name_are_not_lost_in_a_card(monkeypatch, capsys, learnt_student, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "val.json").write_text('{"AP50": 0.25}')
    told = ("--metrics", tmp_path / "a" / "val.json", "--metrics", tmp_path / "b" / "val.json")
    assert run(monkeypatch, kestrel_train, "export-teacher", learnt_student, tmp_path / "t.safetensors", *told) == 2
    assert "--metrics must be files of different names" in capsys.readouterr().err


def test_a_width_at_which_layers_do_not_meet_is_refused(monkeypatch, capsys, people_rgb, tmp_path):
    narrow = ("--width-multiplier", "0.3", "--backbone", "yolox_nano", "--weights", "none", "--teacher", "none")
    assert run(monkeypatch, kestrel_train, "distil", people_rgb, "--out", tmp_path, "--steps", "1", *narrow) == 2
    assert "width_multiplier must be a multiple of 0.25, got 0.3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("student.pt", "t.pt"), "OUT must end in .safetensors, got 't.pt'"),
        (("no.pt", "t.safetensors"), "checkpoint must be an existing file, got 'no.pt'"),
        (("student.pt", "t.safetensors", "--metrics", "no.json"), "--metrics must be what evaluate --json wrote"),
    ],
)
def test_a_teacher_that_cannot_be_written_is_refused(monkeypatch, capsys, learnt_student, tmp_path, arguments, line):
    monkeypatch.chdir(learnt_student.parent)
    assert run(monkeypatch, kestrel_train, "export-teacher", *arguments) == 2
    assert line in capsys.readouterr().err
    assert not Path("t.safetensors").exists()


def test_curves_are_written_for_tensorboard_where_asked_for(monkeypatch, people_rgb, tmp_path):
    arguments = ("distil", people_rgb, "--out", tmp_path / "out", *SHORT, "--tensorboard")
    assert run(monkeypatch, kestrel_train, *arguments) == 0
    assert list((tmp_path / "out" / "tensorboard").glob("events.out.tfevents.*"))


def test_without_tensorboard_installed_the_package_is_named(monkeypatch, capsys, people_rgb, tmp_path):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # what Python does for a missing module
    arguments = ("distil", people_rgb, "--out", tmp_path / "out", *SHORT, "--tensorboard")
    assert run(monkeypatch, kestrel_train, *arguments) == 2
    assert "--tensorboard must find the package tensorboard" in capsys.readouterr().err


def test_a_run_goes_on_with_resume_and_only_with_it(monkeypatch, capsys, people_rgb, tmp_path):
    command = ("distil", people_rgb, "--out", tmp_path / "out", *SHORT)
    assert run(monkeypatch, kestrel_train, *command) == 0
    assert run(monkeypatch, kestrel_train, *command) == 2
    assert "add --resume or name another" in capsys.readouterr().err
    assert run(monkeypatch, kestrel_train, *command, "--steps", "4", "--resume") == 0


def test_a_model_file_learns_on_and_looks_again_at_its_mistakes(monkeypatch, people_rgb, shipped_model, tmp_path):
    model, out = shipped_model, tmp_path / "out"
    before = read_shipped(model).student
    arguments = ("distil", people_rgb, "--from", model, "--mistakes-of", model, "--out", out)
    assert run(monkeypatch, kestrel_train, *arguments, "--steps", "3", "--crop", "64", "--batch-size", "2") == 0
    finished = load_checkpoint(out / "student.pt")
    assert dict(finished.spec) == before.spec.to_json()
    assert finished.settings["mistakes_of"] == model.name
    assert (out / "hard-ground.json").exists()
    after, moved = finished.network().state_dict(), 0
    for name, tensor in before.state_dict().items():
        if "running" in name:  # batch norms are held: their statistics are not known
            torch.testing.assert_close(after[name], tensor)
        else:
            moved += not torch.equal(after[name], tensor)
    assert moved


def test_a_student_learns_on_with_another_activation(monkeypatch, people_rgb, tmp_path):
    monkeypatch.setattr(training.run, "REFIT_PICTURES", 8)  # enough to run; test_inherit.py sees what it is good for
    first = ("--backbone", "yolox_nano", "--weights", "none", "--teacher", "none", "--out", tmp_path / "first")
    assert run(monkeypatch, kestrel_train, "distil", people_rgb, *SHORT, *first) == 0
    again = ("--from", tmp_path / "first" / "student.pt", "--activation", "hardswish", "--out", tmp_path / "again")
    assert run(monkeypatch, kestrel_train, "distil", people_rgb, *again, "--teacher", "none", *SHORT) == 0
    finished = load_checkpoint(tmp_path / "again" / "student.pt")
    assert finished.spec["activation"] == "hardswish"
    assert set(activations(finished.network())) == {"Hardswish"}


def test_a_student_learns_on_with_half_the_channels(monkeypatch, capsys, people_rgb, tmp_path):
    monkeypatch.setattr(training.run, "REFIT_PICTURES", 8)  # enough to run; test_inherit.py sees what it is good for
    first = ("--backbone", "yolox_nano", "--weights", "none", "--teacher", "none", "--out", tmp_path / "first")
    assert run(monkeypatch, kestrel_train, "distil", people_rgb, *SHORT, *first) == 0
    again = ("--from", tmp_path / "first" / "student.pt", "--width-multiplier", "0.5", "--out", tmp_path / "again")
    assert run(monkeypatch, kestrel_train, "distil", people_rgb, *again, "--teacher", "none", *SHORT) == 0
    finished = load_checkpoint(tmp_path / "again" / "student.pt")
    assert finished.spec["width_multiplier"] == 0.5
    assert finished.network().trunk.backbone.stem[0].out_channels == 8
    assert (finished.settings["step"], finished.settings["before"]["step"]) == (4, 2)
    assert [chapter["from_step"] for chapter in finished.settings["history"]] == [0, 2]
    wider = ("--from", tmp_path / "again" / "student.pt", "--width-multiplier", "1", "--out", tmp_path / "wider")
    assert run(monkeypatch, kestrel_train, "distil", people_rgb, *wider, "--teacher", "none", *SHORT) == 2
    assert "width_multiplier must be at most the model's 0.5, got 1.0" in capsys.readouterr().err


def test_views_are_drawn_as_told(monkeypatch, people_rgb, tmp_path):
    told = ("--long-side", "480", "--scale", "0.5", "0.75", "--empty-weight", "3", "--emphasise", "people-rgb=1.7")
    arguments = ("distil", people_rgb, "--teacher", "none", "--out", tmp_path / "out", *SHORT, *told)
    assert run(monkeypatch, kestrel_train, *arguments) == 0
    augment = load_checkpoint(tmp_path / "out" / "student.pt").settings["augment"]
    assert (augment["default_long_side"], augment["scale_low"], augment["scale_high"]) == (480, 0.5, 0.75)
    assert (augment["empty_weight"], augment["emphasis"]) == (3.0, {"people-rgb": 1.7})


def test_a_model_that_cannot_be_narrowed_says_so(monkeypatch, capsys, people_rgb, shipped_model, tmp_path):
    arguments = ("--from", shipped_model, "--width-multiplier", "0.5", "--teacher", "none", "--out", tmp_path / "out")
    assert run(monkeypatch, kestrel_train, "distil", people_rgb, *arguments, *SHORT) == 2
    assert "width_multiplier must be left out with a model that cannot be narrowed" in capsys.readouterr().err


def test_another_activation_of_layers_that_have_their_own_is_refused(
    monkeypatch, capsys, people_rgb, shipped_model, tmp_path
):
    arguments = ("--from", shipped_model, "--activation", "relu", "--teacher", "none", "--out", tmp_path / "out")
    assert run(monkeypatch, kestrel_train, "distil", people_rgb, *arguments, *SHORT) == 2
    assert "activation must be left out with a model whose layers have their own" in capsys.readouterr().err


def test_a_category_needs_the_predictions_that_it_names(monkeypatch, capsys, people_rgb, tmp_path):
    arguments = ("distil", people_rgb, "--extra-category", "1", "--out", tmp_path / "out", *SHORT)
    assert run(monkeypatch, kestrel_train, *arguments) == 2
    assert "--extra-category must be left out without --extra-teacher, got 1" in capsys.readouterr().err


def test_a_model_of_the_other_modality_is_not_learnt_on(monkeypatch, capsys, shipped_model, tmp_path):
    folder = write_people(tmp_path / "people-thermal", 2)
    arguments = ("distil", folder, "--from", shipped_model, "--out", tmp_path / "out", *SHORT)
    assert run(monkeypatch, kestrel_train, *arguments) == 2
    assert "from must be a thermal model, as the data is, got 'rgb'; name another" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["teacher", "distil"])
@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--steps", "0"), "steps or minutes must be positive, got (0, 0.0); say how long to train"),
        (("--crop", "100"), "crop must be a multiple of 32, got 100"),
        (("--learning-rate", "-1"), "learning_rate must be above 0 and at most 10, got -1.0"),
        (("--backbone", "efficientnet_lite7"), "backbone must be a timm model, got 'efficientnet_lite7'; try one of"),
        (("--weights", "pip"), "weights must be a file or hub for test_efficientnet, got 'pip'"),
        (("--weights", "nowhere.pth"), "weights must be none, pip, hub or a file, got 'nowhere.pth'"),
        (("--batch-size", "0"), "Invalid value for '--batch-size'"),
        (("--wings",), "No such option: --wings"),
        (("--scale", "1.5", "0.5"), "scale must be two numbers in 0.01..100, the smaller one first, got (1.5, 0.5)"),
        (("--empty-weight", "-1"), "empty_weight must be positive, got -1.0"),
        (("--emphasise", "sea"), "emphasise must be SOURCE=FACTOR, got 'sea'; write one like tinyperson=1.7"),
        (("--emphasise", "sea=0"), "sea must be positive, got 0.0"),
        (("--emphasise", "sea=2"), "emphasise must be one of the sources people-rgb, got 'sea'"),
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
        (("--width-multiplier", "0.5"), "width_multiplier must be 1 unless yolox_nano is used, got 0.5"),
        (("--width-multiplier", "0"), "width_multiplier must be above 0 and at most 4, got 0.0"),
        (("--teacher", "no.pt", "--temperature", "0"), "temperature must be positive, got 0.0"),
        (("--soft", "0.5"), "--soft must be left out without --teacher, got 0.5; a loss (or its temper"),
        (("--extra-box", "1"), "--extra-box must be left out without --extra-teacher, got 1.0"),
        (("--teacher", "none", "--hard", "1"), "--hard must be left out without --teacher, got 1.0"),
        (("--teacher", "no.safetensors"), "teacher must be an existing file, got 'no.safetensors'"),
        (("--extra-teacher", "no.json"), "extra teacher must be a readable file, got 'no.json'"),
        (("--teacher", "no.pt", "--soft", "-1"), "soft must be at least 0, got -1.0"),
        (("--teacher", "no.pt", "--soft", "1", "--hard", "1"), "hard must be 0 where soft is 1, got 1.0; both teach"),
        (("--teacher", "no.pt", "--soft", "0", "--temperature", "3"), "--temperature must be left out without soft"),
        (("--precision", "fp8"), "precision must be auto, bf16 or fp32, got 'fp8'"),
        (("--teacher", "no.pt"), "checkpoint must be an existing file, got 'no.pt'"),
        (("--activation", "relu"), "activation must be left out unless yolox_nano or nanodet_m is used, got 'relu'"),
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


def test_a_model_that_learns_on_keeps_its_size_and_its_looks(monkeypatch, people_rgb, shipped_model, tmp_path):
    start = dataclasses.replace(read_start_point(str(shipped_model), []), second_look=0.5, closer_look=1.8)
    monkeypatch.setattr("training.start_point.read_start_point", lambda *_: start)
    command = ("distil", people_rgb, "--from", shipped_model, "--teacher", "none", *SHORT)
    for options, long_side in (((), 96), (("--long-side", "128"), 128)):
        out = tmp_path / f"{long_side}"
        assert run(monkeypatch, kestrel_train, *command, *options, "--out", out) == 0
        learnt = load_checkpoint(out / "student.pt")
        assert (learnt.input_rule.default_long_side, learnt.input_rule.max_enlarge) == (long_side, 1.0)
        assert (learnt.settings["second_look"], learnt.settings["closer_look"]) == (0.5, 1.8)


def test_a_trunk_without_weights_learns_as_fast_as_the_head(monkeypatch, people_rgb, tmp_path):
    for command, file in (("teacher", "teacher.pt"), ("distil", "student.pt")):
        assert run(monkeypatch, kestrel_train, command, people_rgb, "--out", tmp_path / command, *SHORT) == 0
        assert load_checkpoint(tmp_path / command / file).settings["train"]["trunk_factor"] == 1.0
