import contextlib
import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import export.build
from edge.contract import Calibration, ModelMetadata
from edge.errors import ProcessingError, UnusableInputError
from edge.recognizer import Recognizer
from edge.records import SizeWH
from export.__main__ import main
from export.build import _commit, _look, export_model
from export.int8 import Int8Settings
from export.static import OtherForm
from tests.export.conftest import export_settings
from tests.models import METADATA, spot_model
from tests.training.people import run_settings, write_people
from tests.training.test_checkpoints import student_checkpoint
from training.checkpoints import load_checkpoint, save_checkpoint
from training.datasets import load_image, read_dataset
from training.run import train


@pytest.fixture(scope="module")
def metadata(exported: Path) -> ModelMetadata:
    return Recognizer(exported).metadata


def test_what_is_exported_finds_the_people_that_it_learnt(exported, people_rgb):
    picture = read_dataset(people_rgb).pictures[0]
    found = Recognizer(exported).recognise(load_image(picture))
    centres, expected = ((b[:, :2] + b[:, 2:]) / 2 for b in (found.boxes_xyxy, picture.boxes_xyxy))
    assert len(centres) >= 1
    assert all(np.abs(expected - centre).max(1).min() < 4 for centre in centres)
    assert found.presence > Recognizer(exported).metadata.verdict.enter


def test_a_model_says_where_it_comes_from_and_how_good_it_is(metadata):
    assert (metadata.name, metadata.modality, metadata.precision) == ("people", "rgb", "fp32")
    assert (metadata.strides, metadata.input_multiple) == ((4,), 16)
    assert (metadata.default_long_side, metadata.max_enlarge) == (96, 1.0)
    assert [d.name for d in metadata.data] == ["Rectangles"]
    assert metadata.intended_use == "Tests."
    figures = metadata.metrics["people-rgb"]
    assert (figures["pictures"], figures["pedestrians"]) == (4, 5)
    assert figures["AP50"] > 0.5
    assert set(figures["at_threshold"]) == {"threshold", "precision", "recall", "f1", "count_mae"}
    assert metadata.settings["step"] == 250
    assert metadata.settings["spec"]["backbone"] == "test_efficientnet"
    assert metadata.settings["parity"]["frames"] == 100


def test_threshold_presence_and_verdict_are_fitted_and_agree(metadata):
    assert metadata.score_threshold != 0.3
    assert metadata.calibration.slope != 1.0
    assert metadata.calibration.error is not None
    assert 0 <= metadata.verdict.leave <= metadata.verdict.enter <= 1


def test_the_card_lies_beside_the_model_and_repeats_its_metadata(exported, metadata):
    card = exported.with_suffix(".md").read_text(encoding="utf-8")
    assert "| Rectangles | CC0 | Nobody \\| at all |" in card
    assert f"Score threshold {metadata.score_threshold:.3f}" in card
    assert "### people-rgb: 4 pictures, 5 pedestrians" in card
    assert "Steps 0 to 250: labels of people-rgb alone" in card


def test_an_export_leaves_the_model_and_its_card_and_nothing_else(exported):
    assert sorted(p.name for p in exported.parent.iterdir()) == [
        "data.toml",
        "people.md",
        "people.onnx",
        "people.png",
        "said.txt",
    ]


def test_an_export_tells_what_it_does(exported):
    said = (exported.parent / "said.txt").read_text().splitlines()
    words = ["warning:", "measuring", "threshold", "parity", "people-rgb:", "wrote"]
    assert [line.split()[0] for line in said] == words
    assert said[0] == "warning: it has learnt on people-rgb, so what is measured there says nothing of other pictures"
    assert "on pictures that it learnt on as well (people-rgb)" in exported.with_suffix(".md").read_text()


def test_the_file_is_an_ordinary_onnx_model(exported):
    model = onnx.load(exported)
    onnx.checker.check_model(model)
    assert model.producer_name == "kestrel-export"
    assert exported.stat().st_size < 1e6  # nothing of the stages that are cut


def test_a_full_disk_is_one_error(tmp_path):
    (tmp_path / "m.onnx").mkdir()
    with pytest.raises(ProcessingError, match=r"m\.onnx must be writable"):
        export.build.write_model(spot_model(), METADATA, tmp_path / "m.onnx")


def test_unusable_input_is_refused_before_anything_is_written(learnt_student, people_rgb, tmp_path):
    teacher = train(run_settings(people_rgb, tmp_path / "teacher", "teacher", steps=1))
    thermal = write_people(tmp_path / "people-thermal", 1)
    namesake = write_people(tmp_path / "again" / "people-rgb", 1)
    there, out = tmp_path / "there.onnx", tmp_path / "new.onnx"
    there.write_text("mine")
    out.with_suffix(".txt").write_text("no checkpoint")
    (tmp_path / "card-only.md").write_text("mine")
    base = export_settings(learnt_student, out)
    cases = [
        (dataclasses.replace(base, checkpoint=tmp_path / "no.pt"), "checkpoint must be an existing file"),
        (dataclasses.replace(base, checkpoint=out.with_suffix(".txt")), "a file that kestrel-train wrote"),
        (dataclasses.replace(base, checkpoint=teacher), "CHECKPOINT must be a student's, got a teacher's"),
        (dataclasses.replace(base, out=tmp_path / "m.pt"), r"OUT\.onnx must end in \.onnx, got 'm\.pt'"),
        (dataclasses.replace(base, out=there), r"must be new files, got .*there\.onnx'; add --overwrite"),
        (dataclasses.replace(base, out=tmp_path / "card-only.onnx"), r"must be new files, got .*card-only\.md'"),
        (dataclasses.replace(base, out=tmp_path / "no" / "m.onnx"), "must lie in a folder that exists"),
        (dataclasses.replace(base, validate=thermal), "data must be rgb as the checkpoint is, got the thermal"),
        (dataclasses.replace(base, validate=tmp_path / "no"), "dataset must be a folder that exists"),
        (dataclasses.replace(base, also=(people_rgb,)), "--also must come with --validate"),
        (
            dataclasses.replace(base, validate=people_rgb, also=(namesake,)),
            "names of their own, got 2 named 'people-rgb'",
        ),
        (dataclasses.replace(base, data_card=tmp_path / "no.toml"), "--data-card must be a readable file"),
        (dataclasses.replace(base, other=OtherForm(SizeWH(100, 100), False)), "--static must be WxH with sides that"),
    ]
    before = sorted(tmp_path.iterdir())
    for settings, rule in cases:
        with pytest.raises(UnusableInputError, match=rule):
            list(export_model(settings))
    assert sorted(tmp_path.iterdir()) == before
    assert there.read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["no.pt", "m.onnx"], "checkpoint must be an existing file, got 'no.pt'"),
        (["no.pt", "m.pt"], "OUT.onnx must end in .onnx, got 'm.pt'"),
        (["no.pt"], "OUT.onnx"),
        (["no.pt", "m.onnx", "--wings"], "No such option: --wings"),
        (["no.pt", "m.onnx", "--long-side", "7"], "--long-side"),
        (["no.pt", "m.onnx", "--long-side", "999999999"], "--long-side"),
        (["no.pt", "m.onnx", "--max-enlarge", "inf"], "--max-enlarge"),
        (["no.pt", "m.onnx", "--max-enlarge", "nan"], "--max-enlarge"),
        (["no.pt", "m.onnx", "--second-look", "1"], "--second-look must be 0, or 0.1 to 1, below 1, got 1.0; 0.545"),
        (
            ["no.pt", "m.onnx", "--closer-look", "nan"],
            "--closer-look must be 0, or above 1 and at most 4, got nan; 1.8",
        ),
        (["no.pt", "m.onnx", "--static", "big"], "--static must be WxH with sides of 1 to 8192 px, got 'big'; for"),
        (["no.pt", "m.onnx", "--static", ""], "--static must be WxH with sides of 1 to 8192 px, got ''; for example"),
        (["no.pt", "m\udcff.onnx"], r"OUT.onnx must have a name in UTF-8, got 'm\udcff.onnx'; name another"),
        (["no.pt", "m.onnx", "--allow-drop", "0.5"], "--allow-drop must come with --int8, got it alone; add --int8"),
        (["no.pt", "m.onnx", "--calibration", "entropy"], "--calibration must come with --int8"),
    ],
)
def test_the_command_ends_bad_input_with_one_line_and_2(monkeypatch, tmp_path, arguments, line):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["kestrel-export", *arguments])
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert errors.getvalue().startswith("kestrel-export: ")
    assert line in errors.getvalue()
    assert errors.getvalue().count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("told", "learnt", "used"),
    [(None, None, None), (None, 0.5, 0.5), (0.6, 0.5, 0.6), (0.0, 0.5, None), (0.0, None, None)],
)
def test_no_second_look_can_be_had_of_a_checkpoint_that_carries_one(told, learnt, used):
    assert _look(told, learnt) == used


def test_int8_is_not_judged_on_pictures_without_people(tmp_path):
    save_checkpoint(student_checkpoint(), tmp_path / "s.pt")
    nobody = write_people(tmp_path / "nobody-rgb", 1)
    document = json.loads((nobody / "annotations.json").read_text())
    (nobody / "annotations.json").write_text(json.dumps({**document, "annotations": []}))
    settings = export_settings(tmp_path / "s.pt", tmp_path / "m.onnx", validate=nobody, int8=Int8Settings("pictures"))
    with pytest.raises(UnusableInputError, match="--int8 must come with a --validate that shows people, got none in"):
        list(export_model(settings))


def test_the_commit_is_unknown_where_the_program_is_not_in_its_own_checkout(monkeypatch, tmp_path):
    assert _commit()
    monkeypatch.setattr(export.build, "__file__", str(tmp_path / "build.py"))
    assert _commit() == "unknown"
    monkeypatch.setenv("PATH", str(tmp_path))  # no git either
    assert _commit() == "unknown"


def test_a_presence_that_could_not_be_fitted_is_said(learnt_student, tmp_path):
    everywhere = write_people(tmp_path / "everywhere-rgb", 2)
    running = export_model(export_settings(learnt_student, tmp_path / "m.onnx", validate=everywhere))
    said = "warning: everywhere-rgb must show people in some pictures, not in all: presence is a guess"
    assert any(line == said for line in running)
    running.close()


def test_what_is_odd_about_the_pictures_is_said(learnt_student, tmp_path):
    odd = write_people(tmp_path / "odd-rgb", 2)
    document = json.loads((odd / "annotations.json").read_text())
    document["annotations"][0]["bbox"] = [80, 80, 40, 40]
    (odd / "annotations.json").write_text(json.dumps(document))
    running = export_model(export_settings(learnt_student, tmp_path / "m.onnx", validate=odd))
    assert next(running) == "warning: odd-rgb: 1 boxes reached outside their picture and were clipped"
    running.close()


def test_few_held_out_pictures_leave_what_fine_tuning_left(learnt_student, people_rgb, tmp_path):
    checkpoint = load_checkpoint(learnt_student)
    kept = {"threshold": 0.25, "calibration": {"slope": 2.0, "intercept": 0.5, "error": 0.04}}
    figures = {"before": {"ap50": 0.7}, "after": {"ap50": 0.74}}
    student = tmp_path / "student.pt"
    save_checkpoint(
        dataclasses.replace(checkpoint, settings={**checkpoint.settings, "finetune": kept | figures}), student
    )
    out = tmp_path / "m.onnx"
    said = list(export_model(export_settings(student, out, validate=people_rgb)))
    assert "both stay as fine-tuning left them: people-rgb has fewer than 20 pictures" in said
    metadata = Recognizer(out).metadata
    assert metadata.score_threshold == 0.25
    assert metadata.calibration == Calibration(2.0, 0.5, 0.04)
    assert "fitted_to" not in metadata.settings
    assert metadata.metrics["people-rgb"]["at_threshold"]["threshold"] == 0.25
    card = out.with_suffix(".md").read_text(encoding="utf-8")
    assert "cross-fitted over them, AP50 was 0.700 before and 0.740 after" in card


def test_pictures_that_all_show_somebody_leave_the_calibration_that_fine_tuning_left(learnt_student, tmp_path):
    folder = write_people(tmp_path / "crowd-rgb", 28)
    document = json.loads((folder / "annotations.json").read_text())
    document["images"] = [image for image in document["images"] if image["id"] % 4 != 3]  # those without anybody
    (folder / "annotations.json").write_text(json.dumps(document))
    checkpoint = load_checkpoint(learnt_student)
    kept = {"threshold": 0.25, "calibration": {"slope": 2.0, "intercept": 0.5, "error": 0.04}}
    told = {**kept, "before": {"ap50": 0.7}, "after": {"ap50": 0.74}}
    student = tmp_path / "student.pt"
    save_checkpoint(dataclasses.replace(checkpoint, settings={**checkpoint.settings, "finetune": told}), student)
    for file, calibration, said in (
        (student, Calibration(2.0, 0.5, 0.04), "presence stays as fine-tuning left it: crowd-rgb shows people in all"),
        (learnt_student, Calibration(1.0, 0.0), "warning: crowd-rgb must show people in some pictures, not in all: pr"),
    ):
        out = tmp_path / f"{said[:4]}.onnx"
        lines = list(export_model(export_settings(file, out, validate=folder)))
        assert any(line.startswith(said) for line in lines)
        metadata = Recognizer(out).metadata
        found = metadata.calibration
        assert (found.slope, found.intercept) == pytest.approx((calibration.slope, calibration.intercept))
        assert metadata.score_threshold != 0.25
        assert metadata.settings["fitted_to"] == "crowd-rgb"
        card = out.with_suffix(".md").read_text(encoding="utf-8")
        assert ("presence is the highest score, a guess" in card) == (file == learnt_student)
