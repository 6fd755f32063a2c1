import dataclasses
import json
import os
import time
from pathlib import Path

import cv2
import pytest

from edge.errors import InvalidValueError, ProcessingError, UnusableInputError
from tests.training.people import run_settings, write_people
from training.ablate import AblateSettings, ArmLosses, _run_all, _Told, ablate, choose_arms, jobs_of
from training.engine import TrainSettings
from training.noise import NoiseSettings
from training.pseudo_labels import LabelRule
from training.run import train


@pytest.fixture(scope="module")
def teacher(people_rgb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(run_settings(people_rgb, tmp_path_factory.mktemp("teacher") / "out", "teacher", steps=1))


def settings(
    dataset: Path, teacher: Path | None, out: Path, arms: str = "alone,soft", **changes: object
) -> AblateSettings:
    chosen = choose_arms(ArmLosses(), arms.split(","), noisy=True)
    values: dict[str, object] = {"seeds": 1, **changes}
    run = run_settings(dataset, out, steps=2, teacher=teacher)
    return AblateSettings(run, dataset, chosen, **values)  # type: ignore[arg-type]


def test_every_arm_and_the_teacher_have_a_row_and_what_is_done_is_not_done_again(people_rgb, teacher, tmp_path):
    out = tmp_path / "out"
    said = list(ablate(settings(people_rgb, teacher, out)))
    assert said[0] == "warning: 4 of 4 pictures of people-rgb are learnt, too: by heart is best"
    assert said[1] == "2 runs, 0 of them finished before"
    assert [line.split(":")[0] for line in said[2:4]] == ["alone-0", "soft-0"]
    table = (out / "table.md").read_text()
    for words in ("| labels alone | 1 |", "| + soft targets | 1 |", "| the teacher itself | 1 |"):
        assert words in table
    assert cv2.imread(str(out / "ablation.png")) is not None
    assert [s["arm"] for s in json.loads((out / "results.json").read_text())] == ["alone", "soft", "teacher"]
    stamps = {p: p.stat().st_mtime_ns for p in out.glob("*/student.pt")}
    more = list(ablate(settings(people_rgb, teacher, out, "alone,twice,soft")))
    assert more[1] == "3 runs, 2 of them finished before"
    assert {p: p.stat().st_mtime_ns for p in stamps} == stamps
    assert json.loads((out / "twice-0" / "result.json").read_text())["steps"] == 4
    assert not list(out.glob("*/last.pt"))


def test_side_by_side_a_run_that_fails_does_not_stop_the_others(people_rgb, teacher, tmp_path):
    out = tmp_path / "out"
    list(ablate(settings(people_rgb, teacher, out, "alone")))
    (out / "soft-0").write_text("mine")
    with pytest.raises(ProcessingError, match=r"1 runs failed, the first with: soft-0: out must be a folder"):
        list(ablate(settings(people_rgb, teacher, out, "alone,hard,soft", jobs=2)))
    assert (out / "hard-0" / "result.json").is_file()
    assert not (out / "hard-0" / "last.pt").exists()


def job_by_its_name(job: Path) -> _Told:
    """Stands for a run in another process."""
    job.write_text("begun")
    if job.name == "killed":
        os._exit(9)
    time.sleep(0 if job.name == "quick" else 20)
    return _Told(job.name)


def test_side_by_side_an_interrupted_ablation_begins_nothing_more(tmp_path, monkeypatch):
    monkeypatch.setattr("training.ablate._run_or_tell", job_by_its_name)
    jobs = [tmp_path / name for name in ("quick", "a", "b", "c", "d", "last")]
    lines = _run_all(jobs, 2)  # type: ignore[arg-type]
    assert next(lines) == "quick"
    with pytest.raises(KeyboardInterrupt):
        lines.throw(KeyboardInterrupt)
    assert not jobs[-1].exists()


def test_side_by_side_a_run_that_is_killed_ends_as_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("training.ablate._run_or_tell", job_by_its_name)
    with pytest.raises(ProcessingError, match=r"one that was killed.*; lower --jobs, then run this again"):
        list(_run_all([tmp_path / "killed", tmp_path / "a"], 2))  # type: ignore[list-item]


def test_the_noisy_student_learns_footage_as_well(people_rgb, learnt_student, tmp_path):
    footage = write_people(tmp_path / "footage", 3)
    out = tmp_path / "out"
    noisy = settings(
        people_rgb,
        learnt_student,
        out,
        "noisy",
        unlabelled=(str(footage / "images"),),
        noise=NoiseSettings(dropout=0.1),
        rule=LabelRule(0.2, 0.05),
    )
    said = list(ablate(noisy))
    assert any(line.startswith("taught: ") for line in said)
    assert (out / "taught.png").is_file()
    assert "noisy student | 1 |" in (out / "table.md").read_text()


def test_all_arms_have_the_schedule_the_seeds_and_the_data_of_the_first(people_rgb, tmp_path):
    arms = choose_arms(ArmLosses(), None, noisy=True)
    whole = AblateSettings(
        run_settings(people_rgb, tmp_path, teacher=Path("t.pt"), train=TrainSettings(steps=100)),
        people_rgb,
        arms,
        seeds=2,
        unlabelled=("a.mp4",),
    )
    jobs = jobs_of(whole, Path("taught.json"))
    assert [job.run.out.name for job in jobs[:6]] == [f"{arm.name}-0" for arm in arms]
    assert {job.run.train.steps for job in jobs if job.arm.name != "twice"} == {100}
    assert {job.run.train.steps for job in jobs if job.arm.name == "twice"} == {200}
    assert [job.arm.name for job in jobs if job.run.teacher is None] == ["alone", "twice"] * 2
    assert {job.arm.name for job in jobs if job.taught} == {"noisy"}
    assert {(job.run.losses.hard, job.run.losses.soft) for job in jobs if job.arm.name == "hard"} == {(0.5, 0.0)}
    assert len({job.run.out for job in jobs}) == 12


def test_arms_are_chosen_by_name_and_the_noisy_one_only_with_footage():
    assert [arm.name for arm in choose_arms(ArmLosses(), None, noisy=False)] == [
        "alone",
        "twice",
        "hard",
        "soft",
        "feature",
    ]
    with pytest.raises(InvalidValueError, match=r"arms must be among alone, twice, .*, got 'wings'"):
        choose_arms(ArmLosses(), ["alone", "wings"], noisy=True)


def test_a_folder_of_another_ablation_and_unusable_input_are_refused(people_rgb, teacher, tmp_path):
    out, full = tmp_path / "out", tmp_path / "full"
    list(ablate(settings(people_rgb, teacher, out, "alone")))
    full.mkdir()
    (full / "notes.txt").write_text("mine")
    thermal = write_people(tmp_path / "people-thermal", 4)
    other = settings(people_rgb, teacher, out, "alone")
    other = dataclasses.replace(other, run=dataclasses.replace(other.run, crop_px=96))
    cases = [
        (other, "crop must be as the run began, "),
        (settings(people_rgb, teacher, full), "out must be an empty folder or an ablation"),
        (settings(thermal, teacher, tmp_path / "free"), "teacher must be of modality thermal, got rgb"),
    ]
    for wrong, rule in cases:
        with pytest.raises(UnusableInputError, match=rule):
            list(ablate(wrong))
    with pytest.raises(InvalidValueError, match="teacher must be"):
        settings(people_rgb, None, out)
    with pytest.raises(InvalidValueError, match="arms must be without noisy"):
        settings(people_rgb, teacher, out, "noisy")
    with pytest.raises(InvalidValueError, match="seeds must be at least 1"):
        settings(people_rgb, teacher, out, seeds=0)


def test_an_arm_whose_loss_weighs_nothing_is_refused_where_it_would_run():
    nothing = ArmLosses(soft=0.0)
    assert [arm.name for arm in choose_arms(nothing, ["alone", "hard"], noisy=False)] == ["alone", "hard"]
    with pytest.raises(InvalidValueError, match="soft must be above 0 for the arm feature, got 0"):
        choose_arms(nothing, ["feature"], noisy=False)
