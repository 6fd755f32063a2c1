import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from edge.records import Boxes
from tests.training.people import STUDENT, run_settings
from training.augment import AugmentSettings, random_view
from training.checkpoints import load_checkpoint
from training.datasets import DatasetError, LabelledPicture, ScoredBoxes, read_dataset
from training.distill import LossSettings, distill_step
from training.extra_teacher import with_predictions
from training.history import told
from training.networks.student import Student
from training.run import train
from training.scored_targets import scored_targets
from training.targets import Batch, Targets

NOTHING = np.zeros((0, 4), np.float32)


def boxes(*rows: tuple[float, ...]) -> Boxes:
    return np.array(rows, np.float32).reshape(-1, 4)


def scored(*rows: tuple[float, float, float, float, float]) -> ScoredBoxes:
    table = np.array(rows, np.float32).reshape(-1, 5)
    return ScoredBoxes(table[:, :4], table[:, 4])


def view(picture: LabelledPicture, seed: int):
    image = np.full((300, 400, 3), 60, np.uint8)
    return random_view(picture, image, None, AugmentSettings(crop_px=160), np.random.default_rng(seed))


def test_scored_boxes_travel_through_the_augmentation_as_the_labels_do():
    person = boxes((150, 100, 190, 180), (20, 30, 60, 110))
    told = ScoredBoxes(person, np.array([0.9, 0.4], np.float32))
    picture = LabelledPicture(Path("p.png"), None, person, NOTHING, "s", "o", NOTHING, told)
    seen = 0
    for seed in range(40):
        targets = view(picture, seed).targets
        assert targets.scored is not None
        np.testing.assert_array_equal(targets.scored.boxes_xyxy, targets.boxes_xyxy)
        assert set(targets.scored.scores.tolist()) <= set(told.scores.tolist())
        seen += len(targets.boxes_xyxy)
    assert seen > 20


def test_a_picture_that_no_extra_teacher_saw_has_no_scored_boxes_and_the_same_view():
    person = boxes((150, 100, 190, 180))
    unseen = LabelledPicture(Path("p.png"), None, person, NOTHING, "s", "o", NOTHING)
    seen = dataclasses.replace(unseen, scored=scored())
    assert view(unseen, 3).targets.scored is None
    assert view(seen, 3).targets.scored is not None
    np.testing.assert_array_equal(view(unseen, 3).image, view(seen, 3).image)


def entry(image_id: object, bbox: object = (10, 20, 12, 24), score: object = 0.8, **more: object) -> dict[str, object]:
    return {"image_id": image_id, "category_id": 1, "bbox": bbox, "score": score, **more}


def write(file: Path, rows: object) -> Path:
    file.write_text(json.dumps(rows))
    return file


def test_predictions_find_their_pictures_by_id_and_by_name(people_rgb, tmp_path):
    rows = [entry(0), entry("1.png", score=0.3), entry("2"), entry(2, score=0.01), entry(3, category_id=7)]
    dataset = with_predictions(read_dataset(people_rgb), people_rgb, write(tmp_path / "p.json", rows), None)
    found = [p.scored for p in dataset.pictures]
    assert [f.scores.tolist() for f in found] == [pytest.approx([0.8]), pytest.approx([0.3]), pytest.approx([0.8]), []]
    assert found[0].boxes_xyxy.tolist() == [[10, 20, 22, 44]]
    assert dataset.warnings == ("p.json has no box in 1 of 4 pictures; they count as empty of people",)


def test_pictures_of_one_name_in_two_folders_keep_their_own_boxes(people_rgb, tmp_path):
    folder = tmp_path / "flights-rgb"
    shutil.copytree(people_rgb, folder)
    document = json.loads((folder / "annotations.json").read_text())
    for number, image in enumerate(document["images"][:2]):
        place = folder / "images" / f"flight{number}" / "1.png"
        place.parent.mkdir()
        (folder / "images" / image["file_name"]).rename(place)
        image["file_name"] = f"flight{number}/1.png"
    (folder / "annotations.json").write_text(json.dumps(document))
    ids = [image["id"] for image in document["images"]]
    rows = [entry(ids[0], (10, 20, 12, 24)), entry("flight1/1.png", (40, 20, 12, 24)), entry(ids[1], (5, 5, 6, 6))]
    pictures = with_predictions(read_dataset(folder), folder, write(tmp_path / "p.json", rows), None).pictures
    assert pictures[0].scored.boxes_xyxy.tolist() == [[10, 20, 22, 44]]
    assert pictures[1].scored.boxes_xyxy.tolist() == [[40, 20, 52, 44], [5, 5, 11, 11]]
    with pytest.raises(DatasetError, match="image_id must be the id or file name of a picture"):
        with_predictions(read_dataset(folder), folder, write(tmp_path / "p.json", [entry("1.png")]), None)


def test_the_category_of_pedestrians_is_the_data_set_s_own_unless_told(people_rgb, tmp_path):
    folder = shutil.copytree(people_rgb, tmp_path / "people-rgb")
    document = json.loads((folder / "annotations.json").read_text())
    document["categories"] = [{"id": 1, "name": "car"}, {"id": 5, "name": "person"}]
    (folder / "annotations.json").write_text(json.dumps(document).replace('"category_id": 1', '"category_id": 5'))
    file = write(tmp_path / "p.json", [entry(0, category_id=0), entry(0, category_id=5, score=0.7)])
    for category, score in ((None, 0.7), (0, 0.8)):
        seen = with_predictions(read_dataset(folder), folder, file, category).pictures[0].scored
        assert seen.scores.tolist() == pytest.approx([score])


def test_boxes_are_clipped_and_a_few_outside_are_left_out(people_rgb, tmp_path):
    rows = [entry(0, (-5, -5, 20, 20))] + [entry(1)] * 199 + [entry(0, (500, 0, 10, 10))]
    pictures = with_predictions(read_dataset(people_rgb), people_rgb, write(tmp_path / "p.json", rows), None).pictures
    assert pictures[0].scored.boxes_xyxy.tolist() == [[0, 0, 15, 15]]


@pytest.mark.parametrize(
    ("rows", "rule"),
    [
        ({"annotations": []}, "must be a list of objects with image_id, .* got an object; labels are no predictions"),
        ([1, 2], "got a list of others"),
        ([], "must hold at least one box, got none"),
        ([entry(9)], r"p\.json\[0\]: image_id must be the id or file name of a picture of the data set, got 9"),
        ([entry("nobody.png")], "got 'nobody.png'; run the detector on these very pictures"),
        ([{"image_id": 0, "category_id": 1, "bbox": [1, 2, 3, 4]}], r"\[0\]: score must be in 0\.\.1, got None"),
        ([entry(0, score=7)], r"score must be in 0\.\.1, got 7"),
        ([entry(0, score=float("nan"))], r"score must be in 0\.\.1, got nan"),
        ([entry(0, bbox=[1, 2, 3])], "bbox must be four numbers"),
        ([entry(0, bbox=[1, 2, float("inf"), 4])], "bbox must be finite"),
        ([entry(0, category_id=3)], r"must hold boxes of category 1 .*, got category_id \{3: 1\}; name the category"),
        ([entry(0, score=0.01)], "with a score of 0.05 and more"),
        ([entry(0), entry(0, (500, 0, 9, 9))], "boxes must lie in their pictures, got 1 of 2 outside; write pixels of"),
    ],
)
def test_predictions_that_are_none_are_refused_with_the_reason(people_rgb, tmp_path, rows, rule):
    with pytest.raises(DatasetError, match=rule):
        with_predictions(read_dataset(people_rgb), people_rgb, write(tmp_path / "p.json", rows), None)


@pytest.mark.parametrize(("content", "rule"), [(None, "must be a readable file"), (b"{", "must be JSON")])
def test_a_file_that_cannot_be_read_is_refused(people_rgb, tmp_path, content, rule):
    if content is not None:
        (tmp_path / "p.json").write_bytes(content)
    with pytest.raises(DatasetError, match=rule):
        with_predictions(read_dataset(people_rgb), people_rgb, tmp_path / "p.json", None)


def test_scored_boxes_become_maps_as_labels_do():
    told = scored((8, 8, 24, 40, 0.9), (8, 8, 24, 40, 0.2), (40, 40, 48, 56, 0.4))
    ignored = boxes((0, 0, 64, 8))
    images = torch.zeros(3, 3, 64, 64)
    seen = Targets(NOTHING, ignored, told)
    maps = scored_targets([seen, Targets(NOTHING, NOTHING, scored()), Targets(NOTHING, NOTHING)], 4, images)
    assert maps.heat.shape == (3, 16, 16)
    assert maps.score[0, 6, 4].item() == pytest.approx(0.9)  # of two boxes at one place the surer one
    assert maps.score[0, 12, 11].item() == pytest.approx(0.4)
    assert maps.score.count_nonzero() == 2
    assert ((maps.heat == 1) == (maps.score > 0)).all()
    assert maps.boxes_xyxy[0, :, 6, 4].tolist() == [8, 8, 24, 40]
    assert (maps.counted[0, :2] == 0).all()
    assert maps.counted[1].all()  # looked at, and nobody found
    assert not maps.counted[2].any()  # never looked at
    assert scored_targets([Targets(NOTHING, NOTHING)], 4, images) is None


def test_a_student_learns_of_an_extra_teacher_and_says_so(people_rgb, tmp_path):
    file = write(tmp_path / "p.json", [entry(k) for k in range(4)])
    train(run_settings(people_rgb, tmp_path / "out", extra_teacher=file, steps=1))
    line = json.loads((tmp_path / "out" / "metrics.jsonl").read_text())
    assert line.keys() >= {"extra", "extra_box", "share_extra"}
    assert line["extra"] > 0
    settings = load_checkpoint(tmp_path / "out" / "student.pt").settings
    assert settings["extra_teacher"] == "p.json"
    assert "and the predictions `p.json` (weights: box 5, extra 0.5, extra_box 1)" in told(settings)[0]


def test_the_extra_teacher_s_box_is_learnt_where_it_is_better_than_the_student_s():
    person = np.array([[20, 20, 32, 44]], np.float32)
    image = torch.zeros(1, 3, 96, 96)
    student = Student(STUDENT)

    def loss(box: tuple[float, float, float, float, float]) -> float:
        batch = Batch(image, (Targets(person, NOTHING, scored(box)),))
        return distill_step(student.eval(), None, batch, LossSettings()).named["extra_box"].item()

    assert loss((20, 20, 32, 44, 0.9)) > 0
    assert loss((60, 60, 90, 90, 0.9)) == 0


@pytest.mark.parametrize("splits", [("train",), ("train", "val"), ("train-a",)])
def test_ids_are_those_of_the_split_that_is_learnt_from(people_rgb, tmp_path, splits):
    folder = tmp_path / "flights-rgb"
    for split in splits:
        shutil.copytree(people_rgb / "images", folder / split)
        document = json.loads((people_rgb / "annotations.json").read_text())
        for image in document["images"]:
            image["id"] = 10 - image["id"]
        for label in document["annotations"]:
            label["image_id"] = 10 - label["image_id"]
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(document))
    read = read_dataset(folder, usual="train")
    file = write(tmp_path / "p.json", [entry(10, (10, 20, 12, 24)), entry(7, (40, 20, 12, 24))])
    found = {p.path.stem: p.scored.boxes_xyxy.tolist() for p in with_predictions(read, folder, file, None).pictures}
    assert (found["0"], found["3"]) == ([[10, 20, 22, 44]], [[40, 20, 52, 44]])
