import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch

from edge.errors import InvalidValueError, ProcessingError, UnusableInputError
from tests.training.people import STUDENT, TEACHER, run_settings, write_people
from training.checkpoints import load_checkpoint
from training.networks.student import Student, inherit_trunk
from training.networks.teacher import Teacher
from training.run import RunSettings, train


def metrics(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def with_training(settings: RunSettings, **changes: object) -> RunSettings:
    return dataclasses.replace(settings, train=dataclasses.replace(settings.train, **changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def teacher(people_rgb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(run_settings(people_rgb, tmp_path_factory.mktemp("teacher") / "out", "teacher"))


def test_a_few_pictures_are_learnt_by_heart_in_seconds(learnt_student):
    lines = metrics(learnt_student.parent)
    assert [line["step"] for line in lines] == list(range(10, 151, 10))
    assert lines[-1]["heat"] < 0.4 * lines[0]["heat"]
    assert lines[-1]["box"] < 0.7 * lines[0]["box"]


def test_a_run_leaves_a_finished_checkpoint_that_says_how_it_was_made(learnt_student):
    checkpoint = load_checkpoint(learnt_student)
    assert checkpoint.kind == "student"
    assert checkpoint.modality == "rgb"
    assert checkpoint.settings["dataset"] == "people-rgb"
    assert checkpoint.settings["step"] == 150
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


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_batch(people_rgb, tmp_path):
    settings = with_training(run_settings(people_rgb, tmp_path / "out", steps=5), learning_rate=1e30)
    with pytest.raises(ProcessingError, match=r"must be finite, got .* at batch 1; lower the learning rate"):
        train(settings)
    assert not (tmp_path / "out" / "student.pt").exists()


def test_a_student_learns_from_a_teacher_and_says_so(people_rgb, teacher, tmp_path):
    finished = train(run_settings(people_rgb, tmp_path / "out", teacher=teacher, weights="teacher", steps=1))
    assert {"heat", "box", "soft", "soft_box", "total", "gradient"} <= metrics(tmp_path / "out")[0].keys()
    assert load_checkpoint(finished).settings["teacher"] == "teacher.pt"


def test_a_trunk_that_comes_from_the_teacher_is_the_teacher_s():
    torch.manual_seed(0)
    ours, theirs = Student(STUDENT), Teacher(TEACHER)
    assert inherit_trunk(ours, theirs) == len(ours.trunk.state_dict())
    for name, value in ours.trunk.state_dict().items():
        assert torch.equal(value, theirs.trunk.state_dict()[name])


def test_a_trunk_of_another_backbone_is_not_inherited_in_part():
    ours = Student(dataclasses.replace(STUDENT, backbone="mobilenetv2_035"))
    before = {k: v.clone() for k, v in ours.state_dict().items()}
    assert inherit_trunk(ours, Teacher(TEACHER)) == 0
    assert all(torch.equal(v, before[k]) for k, v in ours.state_dict().items())


def test_such_a_trunk_normalises_pictures_as_the_teacher_does(people_rgb, tmp_path):
    spec = {**TEACHER.to_json(), "mean": (0.4, 0.4, 0.4), "std": (0.2, 0.2, 0.2)}
    theirs = train(run_settings(people_rgb, tmp_path / "teacher", "teacher", steps=1, spec=spec))
    ours = train(run_settings(people_rgb, tmp_path / "out", teacher=theirs, weights="teacher", steps=1))
    assert load_checkpoint(ours).network().spec.mean == (0.4, 0.4, 0.4)


def test_nothing_begins_without_usable_input(people_rgb, teacher, learnt_student, tmp_path):
    thermal = write_people(tmp_path / "people-thermal", 1)
    unknown = write_people(tmp_path / "people", 1)
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
            run_settings(people_rgb, free, teacher=learnt_student),
            "teacher must be a teacher's checkpoint, got a student",
        ),
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
