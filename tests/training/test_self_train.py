import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import pytest

from edge.errors import InvalidValueError, SourceError, UnusableInputError
from tests.edge.videos import make_video
from tests.training.people import draw_people, run_settings, write_people
from training.checkpoints import load_checkpoint
from training.datasets import read_dataset
from training.noise import NoiseSettings
from training.pseudo_labels import LabelRule
from training.self_train import SelfTrainSettings, self_train

RULE = LabelRule(0.2, 0.05)  # a student of a few steps is not sure of much


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures of people, and of the same picture once more."""
    folder = tmp_path_factory.mktemp("footage")
    places = [[(10, 20)], [(10, 20)], [(60, 50), (20, 10)], []]
    for k, corners in enumerate(places):
        assert cv2.imwrite(str(folder / f"flight_{k}.png"), draw_people(corners, seed=k))
    return folder


def settings(dataset: Path, teacher: Path, out: Path, *unlabelled: Path, **changes: object) -> SelfTrainSettings:
    values: dict[str, object] = {"rule": RULE, "noise": NoiseSettings(dropout=0.1), **changes}
    run = run_settings(dataset, out, steps=2)
    return SelfTrainSettings(run, teacher, tuple(map(str, unlabelled)), **values)  # type: ignore[arg-type]


def test_footage_is_labelled_learnt_and_its_student_teaches_the_next_round(
    people_rgb, learnt_student, footage, tmp_path
):
    out = tmp_path / "out"
    once = settings(people_rgb, learnt_student, out, footage)
    said = list(self_train(once))
    assert said[0] == f"{footage}: 3 of 4 frames are kept"
    assert said[1].startswith("round-1: ")
    assert said[-1] == f"wrote {out / 'student.pt'}"
    taught = read_dataset(out / "round-1.json")
    assert taught.modality == "rgb"
    assert taught.pedestrians > 0
    assert {p.source for p in taught.pictures} == {"unlabelled"}
    assert cv2.imread(str(out / "round-1.png")) is not None
    scores = [a["score"] for a in json.loads((out / "round-1.json").read_text())["annotations"] if "score" in a]
    assert len(scores) == taught.pedestrians
    described = load_checkpoint(out / "student.pt").settings
    assert described["dataset"] == "people-rgb+unlabelled"
    assert described["self_train"]["teacher"] == "student.pt"
    assert described["self_train"]["dropout"] == 0.1
    shutil.copy(learnt_student, out / "round-1" / "student.pt")  # two steps make no teacher
    again = dataclasses.replace(once, run=dataclasses.replace(once.run, resume=True), rounds=2)
    assert "round 2: wrote" in "\n".join(self_train(again))
    assert read_dataset(out / "round-2.json").pedestrians == taught.pedestrians


def test_the_sure_people_of_a_teacher_are_where_people_are(people_rgb, learnt_student, footage, tmp_path):
    out = tmp_path / "out"
    list(self_train(settings(people_rgb, learnt_student, out, footage)))
    by_name = {p.path.stem: p for p in read_dataset(out / "round-1.json").pictures}
    box = next(p.boxes_xyxy[0] for name, p in by_name.items() if name.endswith("000000"))
    assert abs((box[0] + box[2]) / 2 - 16) < 8
    assert abs((box[1] + box[3]) / 2 - 32) < 12


def test_a_run_that_was_cut_off_goes_on_with_the_labels_that_it_had(people_rgb, learnt_student, footage, tmp_path):
    out, gone = tmp_path / "out", tmp_path / "gone"
    shutil.copytree(footage, gone)
    whole = settings(people_rgb, learnt_student, out, gone)
    list(self_train(whole))
    (out / "student.pt").unlink()
    with pytest.raises(UnusableInputError, match="add --resume or name another"):
        list(self_train(whole))
    shutil.rmtree(gone)
    again = dataclasses.replace(whole, run=dataclasses.replace(whole.run, resume=True))
    namesake = tmp_path / "elsewhere" / learnt_student.name
    others = (
        {"unlabelled": ("elsewhere.mp4",)},
        {"teacher": namesake},
        {"rule": LabelRule(0.3, 0.05)},
        {"noise": NoiseSettings()},
    )
    namesake.parent.mkdir()
    shutil.copy(learnt_student, namesake)
    for changes, name in zip(others, ("unlabelled", "teacher_file", "floor", "dropout"), strict=True):
        with pytest.raises(UnusableInputError, match=f"^{name} must be as the run began, .* name another folder"):
            list(self_train(dataclasses.replace(again, **changes)))  # type: ignore[arg-type]
    said = list(self_train(again))
    assert said[0] == f"round-1: goes on with {out / 'round-1.json'}"
    assert (out / "student.pt").is_file()


def test_a_grey_video_is_told_from_colour_and_without_anybody_teaches_nothing(people_rgb, learnt_student, tmp_path):
    make_video(tmp_path / "flight.mp4", 4)
    strict = settings(people_rgb, learnt_student, tmp_path / "out", tmp_path / "flight.mp4", rule=LabelRule(0.99, 0.9))
    lines = self_train(strict)
    assert next(lines).endswith("1 of 1 frames are kept")
    assert next(lines).startswith("warning: these pictures are grey like thermal ones")
    with pytest.raises(UnusableInputError, match=r"must show somebody .* lower --floor \(now 0.99\)"):
        next(lines)


def test_nothing_begins_without_usable_input(people_rgb, learnt_student, footage, tmp_path):
    thermal = write_people(tmp_path / "people-thermal", 4)
    free = tmp_path / "free"
    with pytest.raises(UnusableInputError, match="teacher must be of modality thermal, got rgb"):
        list(self_train(settings(thermal, learnt_student, free, footage)))
    with pytest.raises(SourceError, match=r"nowhere\.mp4"):
        list(self_train(settings(people_rgb, learnt_student, free, tmp_path / "nowhere.mp4")))
    with pytest.raises(InvalidValueError, match="unlabelled must be at least one recording"):
        settings(people_rgb, learnt_student, free)
    with pytest.raises(InvalidValueError, match="stochastic_depth must be 0 for a network without residual blocks"):
        list(self_train(settings(people_rgb, learnt_student, free, footage, noise=NoiseSettings(0.1, 0.1))))
    asked = settings(people_rgb, learnt_student, free, footage)
    without = dataclasses.replace(asked, run=dataclasses.replace(asked.run, weights="no.pt"))
    with pytest.raises(UnusableInputError, match=r"weights must be none, pip, hub or a file, got 'no\.pt'"):
        list(self_train(without))
    with pytest.raises(InvalidValueError, match="rounds must be at least 1"):
        settings(people_rgb, learnt_student, free, footage, rounds=0)
    assert not free.exists()
