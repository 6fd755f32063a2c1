import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch

from edge.errors import InvalidValueError, ProcessingError, UnusableInputError
from tests.training.people import STUDENT, TEACHER, run_settings, write_people
from training.checkpoints import load_checkpoint
from training.datasets import DatasetError, read_dataset
from training.distill import LossSettings
from training.history import entries, told
from training.networks.inherit import inherit
from training.networks.student import Student
from training.networks.teacher import Teacher
from training.run import RunSettings, _bar, train


def metrics(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def with_training(settings: RunSettings, **changes: object) -> RunSettings:
    return dataclasses.replace(settings, train=dataclasses.replace(settings.train, **changes))  # type: ignore[arg-type]


def broken_people(folder: Path, **changes: object) -> Path:
    """The folder of `write_people` with one picture, parts of its annotation file replaced."""
    file = write_people(folder, 1) / "annotations.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return folder


@pytest.fixture(scope="module")
def teacher(people_rgb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(run_settings(people_rgb, tmp_path_factory.mktemp("teacher") / "out", "teacher"))


def test_the_bar_of_a_resumed_run_reckons_with_what_it_has_done_itself():
    with _bar("student", True, 0.5) as bar:
        assert bar.n == 500


def test_a_few_pictures_are_learnt_by_heart_in_seconds(learnt_student):
    lines = metrics(learnt_student.parent)
    assert [line["step"] for line in lines] == list(range(10, 251, 10))
    assert lines[-1]["heat"] < 0.4 * lines[0]["heat"]
    assert lines[-1]["box"] < 0.8 * lines[0]["box"]


def test_a_run_leaves_a_finished_checkpoint_that_says_how_it_was_made(learnt_student):
    checkpoint = load_checkpoint(learnt_student)
    assert checkpoint.kind == "student"
    assert checkpoint.modality == "rgb"
    assert checkpoint.settings["dataset"] == "people-rgb"
    assert checkpoint.settings["step"] == 250
    assert checkpoint.settings["weights"] == "none"
    assert checkpoint.settings["teacher"] is None
    assert checkpoint.settings["augment"]["crop_px"] == 64
    assert checkpoint.network().spec == STUDENT


def test_a_run_that_was_cut_off_and_resumed_ends_where_an_uninterrupted_one_does(people_rgb, tmp_path):
    whole = with_training(run_settings(people_rgb, tmp_path / "whole", steps=6), flat_share=1.0)
    train(whole)
    train(with_training(dataclasses.replace(whole, out=tmp_path / "cut"), steps=4))  # its last.pt: after 4 of 6 steps
    (tmp_path / "cut" / "student.pt").unlink()
    train(dataclasses.replace(whole, out=tmp_path / "cut", resume=True))
    ours, theirs = (load_checkpoint(tmp_path / name / "last.pt") for name in ("cut", "whole"))
    for part in ("current", "averaged"):
        for name, value in getattr(theirs, part).items():
            torch.testing.assert_close(getattr(ours, part)[name], value, msg=name)
    assert [line["step"] for line in metrics(tmp_path / "cut")] == [2, 4, 6]
    assert [line["total"] for line in metrics(tmp_path / "cut")] == pytest.approx(
        [line["total"] for line in metrics(tmp_path / "whole")], rel=1e-3
    )


def test_what_was_written_after_the_last_checkpoint_is_written_again(people_rgb, tmp_path):
    settings = run_settings(people_rgb, tmp_path / "out", steps=4)
    train(dataclasses.replace(settings, train=dataclasses.replace(settings.train, steps=2)))
    (tmp_path / "out" / "last.pt.partial").write_bytes(b"half of a checkp")
    with (tmp_path / "out" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "seconds": 9.0, "total": 99.0}\n{"step": 6, "sec')
    train(dataclasses.replace(settings, resume=True))
    assert [line["step"] for line in metrics(tmp_path / "out")] == [2, 4]
    assert metrics(tmp_path / "out")[-1]["total"] < 99


def test_a_resumed_run_with_another_teacher_remembers_the_first_chapter(people_rgb, teacher, tmp_path):
    alone = run_settings(people_rgb, tmp_path / "out", steps=2)
    train(alone)
    taught = with_training(dataclasses.replace(alone, teacher=teacher, resume=True), steps=4)
    finished = load_checkpoint(train(taught)).settings
    assert [(e["from_step"], e["teacher"]) for e in entries(finished)] == [(0, None), (2, "teacher.pt")]
    assert finished["teacher"] == "teacher.pt"  # of the last start, where readers have always looked
    assert told(finished) == (
        "Steps 0 to 2: labels of people-rgb alone (weights: box 5), 4 crops a batch, learning rate 0.003, seed 0.",
        "Steps 2 to 4: labels of people-rgb and the teacher `teacher.pt` (weights: box 5, soft 0.5, soft_box 2), "
        "4 crops a batch, learning rate 0.003, seed 0.",
    )
    again = load_checkpoint(train(dataclasses.replace(taught, resume=True))).settings
    assert entries(again) == entries(finished)


def test_feature_distillation_can_come_and_go_and_its_adaptor_is_thrown_away(people_rgb, teacher, tmp_path):
    """The teacher is wider than the student, so that a 1x1 convolution must learn to translate."""
    wide = train(run_settings(people_rgb, tmp_path / "wide", "teacher", 1, spec={**TEACHER.to_json(), "width": 24}))
    losses = LossSettings(feature=2.0)
    with_features = run_settings(people_rgb, tmp_path / "out", teacher=wide, losses=losses, steps=2)
    train(with_features)
    last = load_checkpoint(tmp_path / "out" / "last.pt")
    assert last.adaptor["weight"].shape == (24, 16, 1, 1)
    assert len(last.optimizer["param_groups"]) == 5  # trunk and head, decayed and not; the adaptor
    finished = load_checkpoint(tmp_path / "out" / "student.pt")
    assert not finished.adaptor
    assert not any("adaptor" in name for name in finished.averaged)
    go_on = with_training(dataclasses.replace(with_features, resume=True), steps=4)
    train(go_on)
    moved = load_checkpoint(tmp_path / "out" / "last.pt").adaptor["weight"]
    assert not torch.equal(moved, last.adaptor["weight"])
    train(with_training(dataclasses.replace(go_on, losses=LossSettings()), steps=6))
    assert not load_checkpoint(tmp_path / "out" / "last.pt").adaptor
    train(with_training(go_on, steps=8))
    assert [line.keys() >= {"feature", "share_feature"} for line in metrics(tmp_path / "out")] == [
        True,
        True,
        False,
        True,
    ]


def test_a_larger_student_can_teach(people_rgb, learnt_student, tmp_path):
    train(run_settings(people_rgb, tmp_path / "out", teacher=learnt_student, steps=1))
    assert "soft" in metrics(tmp_path / "out")[0]


def test_teachers_that_outweigh_the_labels_are_warned_of_once(people_rgb, teacher, tmp_path, capsys):
    losses = LossSettings(soft=100_000.0)
    train(run_settings(people_rgb, tmp_path / "out", teacher=teacher, losses=losses, steps=4))
    assert capsys.readouterr().err.count("warning: teachers have ") == 1


def test_the_shares_of_the_gradient_are_logged_and_sum_to_1(people_rgb, teacher, tmp_path):
    train(run_settings(people_rgb, tmp_path / "out", teacher=teacher, steps=2))
    line = metrics(tmp_path / "out")[0]
    shares = [line[f"share_{name}"] for name in ("heat", "box", "soft", "soft_box")]
    assert sum(shares) == pytest.approx(1, abs=1e-3)
    assert all(share >= 0 for share in shares)


def test_a_dataset_that_was_read_already_and_a_start_of_one_s_own_are_used(people_rgb, tmp_path):
    dataset = dataclasses.replace(read_dataset(people_rgb), name="mine")
    prepared = []

    def start(network):
        with torch.no_grad():
            network.head.classify.bias.fill_(-3.0)

    settings = run_settings(tmp_path / "nowhere", tmp_path / "out", steps=1, epoch_steps=1)
    settings = with_training(settings, learning_rate=1e-9)
    finished = load_checkpoint(train(settings, dataset, start=start, prepare=prepared.append))
    assert finished.settings["dataset"] == "mine"
    assert finished.averaged["head.classify.bias"].item() == pytest.approx(-3.0, abs=1e-3)
    assert len(prepared) == 1


def test_resuming_what_was_never_begun_begins_it(people_rgb, tmp_path):
    assert train(run_settings(people_rgb, tmp_path / "out", steps=1, resume=True)).is_file()


def test_resuming_with_another_network_is_refused(people_rgb, teacher, tmp_path):
    shutil.copytree(teacher.parent, tmp_path / "out")
    thermal = write_people(tmp_path / "people-thermal", 1)
    other = {**TEACHER.to_json(), "width": 24}
    for settings in (
        run_settings(people_rgb, tmp_path / "out", "student", resume=True),
        run_settings(people_rgb, tmp_path / "out", "teacher", resume=True, spec=other),
        run_settings(thermal, tmp_path / "out", "teacher", resume=True),
    ):
        with pytest.raises(UnusableInputError, match=r"--resume must go on with the network of .*last\.pt"):
            train(settings)


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_batch(people_rgb, tmp_path, monkeypatch):
    monkeypatch.setattr("training.engine.MOST_LEARNING_RATE", 1e30)
    settings = with_training(run_settings(people_rgb, tmp_path / "out", steps=5), learning_rate=1e30)
    with pytest.raises(ProcessingError, match=r"must be finite, got .* at batch 1 \(.*\.png.*\); lower the lea"):
        train(settings)
    assert not (tmp_path / "out" / "student.pt").exists()


def test_first_weights_are_made_of_the_teacher_before_anything_moves_to_the_device(
    people_rgb, teacher, tmp_path, monkeypatch
):
    there = torch.device("meta")  # stands for a GPU: nothing can be read from it
    moved = []
    monkeypatch.setattr("training.run._device", lambda _: there, raising=False)
    monkeypatch.setattr("training.run._learn", lambda run: moved.extend((run.learner.network, run.teacher)))
    train(run_settings(people_rgb, tmp_path / "out", teacher=teacher, weights="teacher"))
    assert {p.device for network in moved for p in network.parameters()} == {there}


def test_a_student_learns_from_a_teacher_and_says_so(people_rgb, teacher, tmp_path):
    finished = train(run_settings(people_rgb, tmp_path / "out", teacher=teacher, weights="teacher", steps=1))
    assert {"heat", "box", "soft", "soft_box", "total", "gradient"} <= metrics(tmp_path / "out")[0].keys()
    assert load_checkpoint(finished).settings["teacher"] == "teacher.pt"


def test_a_trunk_that_comes_from_the_teacher_is_the_teacher_s():
    torch.manual_seed(0)
    ours, theirs = Student(STUDENT), Teacher(TEACHER)
    assert inherit(ours, theirs, list) == len(ours.trunk.state_dict())
    for name, value in ours.trunk.state_dict().items():
        assert torch.equal(value, theirs.trunk.state_dict()[name])


def test_a_trunk_of_another_backbone_is_not_inherited_in_part():
    ours = Student(dataclasses.replace(STUDENT, backbone="mobilenetv2_035"))
    before = {k: v.clone() for k, v in ours.state_dict().items()}
    assert inherit(ours, Teacher(TEACHER), list) == 0
    assert all(torch.equal(v, before[k]) for k, v in ours.state_dict().items())


def test_such_a_trunk_normalises_pictures_as_the_teacher_does(people_rgb, tmp_path):
    spec = {**TEACHER.to_json(), "mean": (0.4, 0.4, 0.4), "std": (0.2, 0.2, 0.2)}
    theirs = train(run_settings(people_rgb, tmp_path / "teacher", "teacher", steps=1, spec=spec))
    ours = train(run_settings(people_rgb, tmp_path / "out", teacher=theirs, weights="teacher", steps=1))
    assert load_checkpoint(ours).network().spec.mean == (0.4, 0.4, 0.4)


def test_nothing_begins_without_usable_input(people_rgb, teacher, learnt_student, tmp_path):
    thermal = write_people(tmp_path / "people-thermal", 1)
    unknown = write_people(tmp_path / "people", 1)
    nobody = broken_people(tmp_path / "nobody-rgb", annotations=[])
    outside = broken_people(
        tmp_path / "outside-rgb", annotations=[{"image_id": 0, "category_id": 1, "bbox": [200, 10, 12, 24]}]
    )
    cars = broken_people(tmp_path / "cars-rgb", categories=[{"id": 1, "name": "car"}])
    empty = broken_people(tmp_path / "empty-rgb", images=[], annotations=[])
    mixed = write_people(tmp_path / "mixed", 2)
    document = json.loads((mixed / "annotations.json").read_text())
    for image, modality in zip(document["images"], ("rgb", "thermal"), strict=True):
        image["modality"] = modality
    (mixed / "annotations.json").write_text(json.dumps(document))
    full, file, free = tmp_path / "full", tmp_path / "file", tmp_path / "free"
    full.mkdir()
    (full / "notes.txt").write_text("mine")
    file.write_text("mine")
    cases = [
        (run_settings(people_rgb, full), "out must be an empty folder, got .*; add --resume or name another"),
        (run_settings(people_rgb, file), "out must be a folder, got the file"),
        (run_settings(people_rgb, file / "deeper"), "out must be a folder that can be made"),
        (run_settings(tmp_path / "nowhere", free), "dataset must be a folder that exists"),
        (run_settings(unknown, free), "dataset must say whether it is rgb or thermal, got neither in people; put"),
        (run_settings(thermal, free, teacher=teacher), "teacher must be of modality thermal, got rgb"),
        (
            run_settings(people_rgb, free, teacher=learnt_student, spec={**STUDENT.to_json(), "stride": 8}),
            r"teacher must be one with a head at stride 8, got 'strides \[4\]'; choose --stride 4, or another teacher",
        ),
        (run_settings(people_rgb, free, losses=LossSettings(feature=1.0)), "feature must be 0 without a teacher"),
        (
            run_settings(people_rgb, free, teacher=teacher, losses=LossSettings(soft=0.0, soft_box=0.0)),
            "soft, hard, soft-box, feature must be positive, one at least, with a teacher",
        ),
        (run_settings(nobody, free), "must hold at least one pedestrian, got none in 1 pictures; check the names"),
        (run_settings(outside, free), r"annotations\[0\]: bbox must lie in its 96x96 picture"),
        (run_settings(mixed, free), r"modality must be one for all pictures, got rgb \(1 .* and thermal \(1 "),
        (run_settings(cars, free), r"categories must name pedestrian, person or people, got \['car'\]"),
        (run_settings(empty, free), "must hold at least one labelled picture, got none"),
        (run_settings(people_rgb, free, teacher=tmp_path / "no.pt"), "checkpoint must be an existing file"),
        (run_settings(people_rgb, free, weights="teacher"), "'teacher' without a teacher of the same backbone"),
        (run_settings(people_rgb, free, weights="pip"), "weights must be a file or hub for test_efficientnet"),
    ]
    for settings, rule in cases:
        with pytest.raises(UnusableInputError, match=rule):
            train(settings)
    assert not free.exists()


def test_metrics_that_cannot_be_written_are_one_error(people_rgb, tmp_path):
    (tmp_path / "out" / "metrics.jsonl").mkdir(parents=True)
    with pytest.raises(ProcessingError, match=r"metrics\.jsonl must be writable"):
        train(run_settings(people_rgb, tmp_path / "out", steps=1, resume=True))


def test_a_crop_that_the_pyramid_cannot_halve_is_refused(people_rgb, tmp_path):
    with pytest.raises(InvalidValueError, match="crop must be a multiple of 32, got 100"):
        run_settings(people_rgb, tmp_path, crop_px=100)


def test_a_damaged_picture_is_named_before_anything_is_learnt(tmp_path):
    people = write_people(tmp_path / "people-rgb")
    damaged = people / "images" / "0.png"
    damaged.write_bytes(damaged.read_bytes()[:200])
    with pytest.raises(DatasetError, match=r"0\.png must be a picture that OpenCV can decode"):
        train(run_settings(people, tmp_path / "out"))
    assert not list((tmp_path / "out").glob("*.pt"))
