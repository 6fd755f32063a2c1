import dataclasses
import json
import shutil
import tomllib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edge.contract import Calibration
from edge.errors import InvalidValueError, ProcessingError, UnusableInputError
from tests.training.people import STUDENT, run_settings, write_people
from tests.training.test_snapshots import answer
from training.augment import InputRule
from training.checkpoints import load_checkpoint
from training.data_card import read_data_card
from training.datasets import load_as_learnt, read_dataset
from training.finetune import (
    TRAIN,
    FinetuneSettings,
    _compare,
    _data_card,
    _described,
    _old_pictures,
    _repeated,
    finetune,
    freeze_front,
    hold_norms,
)
from training.history import learnt_on
from training.networks.student import Student
from training.run import train
from training.snapshots import Snapshot
from training.splits import Split, split_by_scene
from training.start_point import StartPoint, read_start_point

SHORT = dataclasses.replace(TRAIN, steps=4, batch_size=4, learning_rate=1e-4, warmup_steps=1, epoch_steps=2)


@pytest.fixture(scope="module")
def place_rgb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures of six scenes."""
    return write_people(tmp_path_factory.mktemp("place") / "place-rgb", 12)


def settings(model: Path, dataset: Path, out: Path, **changes: object) -> FinetuneSettings:
    values: dict[str, object] = {"train": SHORT, "crop_px": 64, **changes}
    return FinetuneSettings(str(model), dataset, out, **values)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def adapted(learnt_student: Path, place_rgb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a finished run."""
    out = tmp_path_factory.mktemp("adapted") / "out"
    said = list(finetune(settings(learnt_student, place_rgb, out, allow_worse=True)))
    (out / "said.txt").write_text("\n".join(said))
    return out


def test_a_run_says_who_teaches_and_who_judges_and_leaves_a_report(adapted):
    said = (adapted / "said.txt").read_text()
    assert said.startswith("learns from 8 pictures (")
    assert "is judged by 4 (" in said
    assert "warning: fewer than 20 pictures" in said
    assert f"kestrel-export {adapted / 'student.pt'} my-model.onnx --validate {adapted / 'held-out.json'}" in said
    assert "AP50:95" in (adapted / "before-after.txt").read_text()
    figures = json.loads((adapted / "before-after.json").read_text())
    assert figures["before"]["ap50"] > 0.3  # it knows such people already
    assert cv2.imread(str(adapted / "before-after.png")) is not None
    lines = [json.loads(line) for line in (adapted / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4]
    assert "held_out" in lines[0]


def test_the_adapted_student_says_where_it_comes_from(adapted, learnt_student):
    checkpoint = load_checkpoint(adapted / "student.pt")
    assert (checkpoint.kind, checkpoint.modality, checkpoint.settings["weights"]) == ("student", "rgb", "student")
    assert checkpoint.settings["dataset"] == "place-rgb"
    chapters = [(c["from_step"], c["dataset"]) for c in checkpoint.settings["history"]]
    assert chapters == [(0, "people-rgb"), (250, "place-rgb")]
    assert checkpoint.settings["step"] in (252, 254)
    described = checkpoint.settings["finetune"]
    assert described["frozen"] == 0.75
    assert 0 < described["threshold"] <= 1
    assert described["calibration"]["slope"] > 0
    assert checkpoint.settings["augment"]["default_long_side"] == 960
    assert checkpoint.network().spec == STUDENT


def test_most_of_the_trunk_and_all_statistics_stay_as_they_were_and_the_head_learns(adapted, learnt_student):
    before, after = (load_checkpoint(f).averaged for f in (learnt_student, adapted / "student.pt"))
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert any(name.startswith("head.") for name in changed)
    assert not any("running" in name for name in changed)
    trunk = [name for name in before if name.startswith("trunk.") and name.endswith("weight")]
    assert 0 < sum(name in changed for name in trunk) <= 0.4 * len(trunk)
    assert trunk[0] not in changed


def test_the_held_out_pictures_and_the_data_card_are_what_export_reads(adapted, place_rgb):
    held = read_dataset(adapted / "held-out.json")
    assert len(held.pictures) == 4
    assert {p.path.parent for p in held.pictures} == {(place_rgb / "images").resolve()}
    assert read_data_card(adapted / "data-card.toml").data[-1].name == "place-rgb"


def test_the_held_out_pictures_have_a_name_of_their_own(adapted):
    """Else they would pass for what was learnt, where OUT is called like the data."""
    assert read_dataset(adapted / "held-out.json").name == "out/held-out.json"


def test_older_pictures_that_repeat_held_out_ones_are_left_out(learnt_student, place_rgb, people_rgb, tmp_path):
    start = read_start_point(str(learnt_student), [])
    split = split_by_scene(read_dataset(place_rgb), 0.3, 0)
    held_out = split.held_out
    asked = settings(learnt_student, place_rgb, tmp_path / "out", replay=place_rgb)
    old = _old_pictures(asked, start, split)
    assert old is not None
    names = {picture.path.name for picture in held_out.pictures}
    assert not names & {picture.path.name for picture in old.pictures}
    assert "nearly repeat held-out ones, or are of their scenes, and are left out" in old.warnings[-1]
    only = dataclasses.replace(asked, replay=people_rgb)
    with pytest.raises(UnusableInputError, match="replay must hold other pictures than those held out, got people-rgb"):
        _old_pictures(only, start, dataclasses.replace(split, held_out=read_dataset(people_rgb)))


@pytest.mark.parametrize("by_scene", [True, False])
def test_older_pictures_of_a_held_out_scene_are_left_out(learnt_student, place_rgb, tmp_path, by_scene):
    start = read_start_point(str(learnt_student), [])
    whole = read_dataset(place_rgb)
    first, second, *_ = whole.pictures
    assert first.scene == second.scene
    held_out = dataclasses.replace(whole, pictures=(first,))
    asked = settings(learnt_student, place_rgb, tmp_path / "out", replay=place_rgb)
    old = _old_pictures(asked, start, Split(whole, held_out, by_scene))
    assert old is not None
    names = {picture.path.name for picture in old.pictures}
    assert first.path.name not in names
    assert (second.path.name in names) == (not by_scene)


def test_scenes_of_the_same_name_in_another_folder_are_other_scenes(learnt_student, place_rgb, tmp_path):
    start = read_start_point(str(learnt_student), [])
    elsewhere = write_people(tmp_path / "elsewhere" / place_rgb.name, 3)
    for number in range(3):  # other pictures of the same names
        picture = np.random.default_rng(number).integers(0, 255, (96, 96, 3), np.uint8)
        cv2.imwrite(str(elsewhere / "images" / f"{number}.png"), cv2.GaussianBlur(picture, (0, 0), 9) * 9)
    split = split_by_scene(read_dataset(place_rgb), 0.3, 0)
    asked = settings(learnt_student, place_rgb, tmp_path / "out", replay=elsewhere)
    old = _old_pictures(asked, start, dataclasses.replace(split, held_out=read_dataset(place_rgb), by_scene=True))
    assert old is not None
    assert len(old.pictures) == 3


def test_a_shipped_model_file_is_adapted_and_its_sources_are_kept(shipped_model, place_rgb, tmp_path):
    out = tmp_path / "out"
    assert list(finetune(settings(shipped_model, place_rgb, out, allow_worse=True)))
    values = tomllib.loads((out / "data-card.toml").read_text())
    assert values["intended_use"] == 'Say "hello".'
    assert [entry["name"] for entry in values["data"]] == ["Rectangles", "place-rgb"]
    assert load_checkpoint(out / "student.pt").settings["weights"] == "people"


def test_a_student_that_got_worse_is_not_written_unless_that_is_allowed(learnt_student, place_rgb, tmp_path):
    ruinous = dataclasses.replace(SHORT, learning_rate=0.3)
    out = tmp_path / "out"
    with pytest.raises(ProcessingError, match=r"got worse on the held-out pictures, .*AP50 .* add --allow-worse"):
        list(finetune(settings(learnt_student, place_rgb, out, train=ruinous)))
    assert (out / "before-after.png").is_file()
    assert not (out / "student.pt").exists()


def test_a_run_stops_when_nothing_gets_better(learnt_student, place_rgb, tmp_path):
    ruinous = dataclasses.replace(SHORT, learning_rate=0.3, steps=40, epoch_steps=1)
    out = tmp_path / "out"
    list(finetune(settings(learnt_student, place_rgb, out, train=ruinous, patience=1, allow_worse=True)))
    assert len((out / "metrics.jsonl").read_text().splitlines()) < 20


def test_a_teacher_and_older_pictures_are_mixed_in_against_forgetting(learnt_student, place_rgb, people_rgb, tmp_path):
    teacher = train(run_settings(people_rgb, tmp_path / "teacher", "teacher", steps=1))
    out = tmp_path / "out"
    mixed = settings(learnt_student, place_rgb, out, teacher=teacher, replay=people_rgb, allow_worse=True)
    assert list(finetune(mixed))
    line = json.loads((out / "metrics.jsonl").read_text().splitlines()[0])
    assert {"soft", "soft_box"} <= line.keys()
    described = load_checkpoint(out / "student.pt").settings
    assert (described["teacher"], described["finetune"]["replay"]) == ("teacher.pt", "people-rgb")
    assert {"place-rgb", "people-rgb"} <= learnt_on(described)


def test_nothing_begins_without_usable_input(learnt_student, place_rgb, people_rgb, tmp_path, monkeypatch):
    monkeypatch.setattr("training.finetune._ask", lambda *_: pytest.fail("asked before all was checked"))
    damaged = write_people(tmp_path / "damaged-rgb", 4)
    (damaged / "images" / "2.png").write_bytes(b"no picture")
    thermal = write_people(tmp_path / "place-thermal", 4)
    teacher = train(run_settings(people_rgb, tmp_path / "teacher", "teacher", steps=1))
    cases = [
        (settings(learnt_student, place_rgb, tmp_path), "out must be an empty folder"),
        (settings(learnt_student, thermal, tmp_path / "free"), "dataset must be rgb as student is, got 'thermal'"),
        (settings(teacher, place_rgb, tmp_path / "free"), "MODEL must be a student, got a teacher's checkpoint"),
        (settings(tmp_path / "no.pt", place_rgb, tmp_path / "free"), "checkpoint must be an existing file"),
        (settings(tmp_path / "no.onnx", place_rgb, tmp_path / "free"), "model must be one of rgb"),
        (settings(learnt_student, place_rgb, tmp_path / "free", replay=thermal), "replay must be rgb"),
        (settings(learnt_student, place_rgb, tmp_path / "free", replay=damaged), "2.png must be a picture"),
        (settings(learnt_student, place_rgb, tmp_path / "free", teacher=tmp_path / "no"), "checkpoint must be an"),
    ]
    for wrong, rule in cases:
        with pytest.raises(UnusableInputError, match=rule):
            list(finetune(wrong))
    assert not (tmp_path / "free").exists()


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"frozen": 1.5}, "frozen must"),
        ({"patience": 0}, "patience must"),
        ({"crop_px": 100}, "crop must be a multiple of 32, got 100"),
    ],
)
def test_settings_out_of_range_are_refused(changes, rule):
    with pytest.raises(InvalidValueError, match=rule):
        settings(Path("a"), Path("b"), Path("c"), **changes)


def test_what_is_odd_about_the_pictures_is_said(place_rgb):
    dataset = dataclasses.replace(read_dataset(place_rgb), warnings=("of the splits a, b, a is used",))
    assert next(_described(split_by_scene(dataset, 0.3))) == "warning: of the splits a, b, a is used"


@pytest.mark.parametrize(("share", "learning"), [(0.0, 1.0), (0.5, 0.5), (1.0, 0.0)])
def test_a_share_of_the_trunk_is_frozen_from_the_picture_on(share, learning):
    student = Student(STUDENT)
    layers = sum(isinstance(m, torch.nn.Conv2d) for m in student.trunk.modules())
    assert freeze_front(student.trunk, share) == pytest.approx(learning * layers, abs=1)
    flags = [p.requires_grad for p in student.trunk.parameters()]
    assert flags == sorted(flags)
    assert np.mean(flags) == pytest.approx(learning, abs=0.2)
    assert all(p.requires_grad for p in student.head.parameters())


def test_norms_that_are_held_answer_while_learning_as_they_do_when_judged():
    torch.manual_seed(0)
    student = Student(STUDENT).train()
    hold_norms(student)
    images = torch.rand(2, 3, 64, 64) * 255
    learning = student(images)[4].logits
    assert torch.equal(learning, student.eval()(images)[4].logits)


def test_few_held_out_pictures_leave_threshold_and_calibration_as_they_were():
    known = StartPoint("m", Student(STUDENT), "rgb", InputRule(), {}, threshold=0.42, calibration=Calibration(2.0, 0.1))
    found = tuple(answer(k % 3 > 0, f"p{k}", f"s{k}", empty=k % 3 == 2) for k in range(24))
    for count, stays in ((6, True), (24, False)):
        snapshots = (Snapshot(25, {}, found[:count]),)
        comparison = _compare(known, found[:count], snapshots)
        assert (comparison.threshold == 0.42) is stays
        assert (comparison.calibration == known.calibration) is stays


def test_false_colours_are_learnt_as_they_fly_where_only_the_model_says_that_they_are_thermal(
    learnt_student, place_rgb, tmp_path, monkeypatch
):
    folder = shutil.copytree(place_rgb, tmp_path / "pictures")
    start = dataclasses.replace(read_start_point(str(learnt_student), []), modality="thermal")
    monkeypatch.setattr("training.finetune.read_start_point", lambda *_: start)
    read: list[object] = []
    monkeypatch.setattr(
        "training.batches.load_as_learnt",
        lambda picture, modality: read.append(modality) or load_as_learnt(picture, modality),
    )
    assert read_dataset(folder).modality is None
    assert list(finetune(settings(learnt_student, folder, tmp_path / "out", replay=folder, allow_worse=True)))
    assert set(read) == {"thermal"}


def test_what_was_fitted_to_two_looks_does_not_judge_one():
    known = StartPoint("m", Student(STUDENT), "rgb", InputRule(), {}, threshold=0.42, calibration=Calibration(2.0, 0.1))
    twice = dataclasses.replace(known, second_look=0.5)
    found = tuple(answer(k % 3 > 0, f"p{k}", f"s{k}", empty=k % 3 == 2) for k in range(24))
    snapshots = (Snapshot(25, {}, found),)
    assert _compare(twice, found, snapshots).before == _compare(twice, found, snapshots).after
    assert _compare(known, found, snapshots).before != _compare(known, found, snapshots).after


def test_held_out_pictures_that_repeat_learnt_ones_are_told(place_rgb):
    """Names that are no numbers make every picture a scene of its own."""
    whole = read_dataset(place_rgb)
    twins = dataclasses.replace(whole, pictures=(whole.pictures[0], whole.pictures[0]))
    split = Split(dataclasses.replace(twins, pictures=twins.pictures[:1]), twins, by_scene=True)
    [said] = _repeated(split)
    assert said.startswith("warning: 2 of 2 held-out pictures nearly repeat one that is learnt")


def test_the_data_card_is_toml_whatever_a_folder_is_called(learnt_student):
    start = read_start_point(str(learnt_student), [])
    card = tomllib.loads(_data_card(start, 'flug \U0001f681 "a"', ["older"]))
    assert card["data"][-2]["name"] == "older"
    assert card["data"][-1]["name"] == 'flug \U0001f681 "a"'
