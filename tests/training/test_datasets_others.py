from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from edge.records import SizeWH
from edge.sources.pictures import read_picture
from tests.training.folders import write_hit_uav, write_picture, write_text, write_visdrone, write_yolo
from tests.training.people import write_people
from training.datasets import DatasetError, read_dataset
from training.datasets.labels import size_from_header

VISDRONE = """1,2,10,20,1,1,0,0
20,2,10,20,1,2,1,1,
30,2,10,20,1,1,0,2
40,2,10,20,0,1,0,0
0,30,20,10,0,0,0,0
20,30,20,10,1,4,0,2
"""


def test_visdrone_people_are_pedestrians_and_hidden_or_unjudged_ones_are_ignored(tmp_path: Path) -> None:
    dataset = read_dataset(write_visdrone(tmp_path, VISDRONE))
    picture = dataset.pictures[0]
    assert dataset.modality == "rgb"
    assert (picture.scene, picture.source, picture.size_wh) == ("0000086", "visdrone", SizeWH(64, 48))
    assert picture.boxes_xyxy.tolist() == [[1, 2, 11, 22], [20, 2, 30, 22]]
    assert picture.ignore_xyxy.tolist() == [[30, 2, 40, 22], [40, 2, 50, 22], [0, 30, 20, 40]]
    assert picture.others_xyxy.tolist() == [[20, 30, 40, 40]]


def test_a_folder_in_visdrones_layout_is_thermal_where_its_name_says_so(tmp_path: Path) -> None:
    assert read_dataset(write_visdrone(tmp_path / "flights", VISDRONE)).modality == "rgb"
    assert read_dataset(write_visdrone(tmp_path / "flights-thermal", VISDRONE)).modality == "thermal"


def test_an_empty_visdrone_file_says_that_nobody_is_there(tmp_path: Path) -> None:
    assert read_dataset(write_visdrone(tmp_path, "")).pedestrians == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,2,3", ":2: line must have 8 columns"),
        ("1,2,10,20,1,1,0,0,0", ":2: line must have 8 columns"),
        ("a,2,10,20,1,1,0,0", ":2: left must be a number, got 'a'"),
        ("nan,2,10,20,1,1,0,0", ":2: left must be a number, got 'nan'"),
        ("1,2,-10,20,1,1,0,0", ":2: box must have a positive width and height, got -10x20"),
        ("1,2,10,20,0.7,1,0,0", ":2: score must be a whole number in 0..1, got '0.7'"),
        ("1,2,10,20,1,12,0,0", ":2: class must be a whole number in 0..11, got '12'"),
        ("1,2,10,20,1,1,2,0", ":2: truncation must be a whole number in 0..1, got '2'"),
        ("1,2,10,20,1,1,0,3", ":2: occlusion must be a whole number in 0..2, got '3'"),
        ("70,2,10,20,1,1,0,0", ":2: box must lie in its 64x48 picture"),
    ],
)
def test_a_broken_visdrone_line_is_named_with_file_line_and_rule(line: str, message: str, tmp_path: Path) -> None:
    write_visdrone(tmp_path, f"1,2,10,20,1,1,0,0\n{line}\n")
    with pytest.raises(DatasetError) as caught:
        read_dataset(tmp_path)
    assert f"annotations/0000086_00000_d_0000001.txt{message}" in str(caught.value)


def test_visdrone_pictures_and_annotation_files_go_in_pairs(tmp_path: Path) -> None:
    write_visdrone(tmp_path, VISDRONE)
    extra = write_picture(tmp_path / "images" / "alone.png")
    with pytest.raises(DatasetError, match=r"alone.txt must be a readable text file"):
        read_dataset(tmp_path)
    extra.unlink()
    write_text(tmp_path / "annotations" / "ghost.txt", "")
    with pytest.raises(DatasetError, match=r"ghost.txt must have a picture of the same name"):
        read_dataset(tmp_path)


def test_visdrone_splits_are_found_by_the_official_folder_names(tmp_path: Path) -> None:
    write_visdrone(tmp_path / "VisDrone2019-DET-val", VISDRONE)
    assert len(read_dataset(tmp_path, "val").pictures) == 1


def test_yolo_shares_become_pixels(tmp_path: Path) -> None:
    dataset = read_dataset(write_yolo(tmp_path, "0 0.5 0.5 0.2 0.4\n\n1 0.1 0.2 0.1 0.1\n"))
    first, empty = dataset.pictures
    np.testing.assert_allclose(first.boxes_xyxy, [[40, 15, 60, 35]], atol=1e-4)
    np.testing.assert_allclose(first.others_xyxy, [[5, 7.5, 15, 12.5]], atol=1e-4)
    assert (first.scene, first.size_wh) == ("a", SizeWH(100, 50))
    assert len(empty.boxes_xyxy) == 0


@pytest.mark.parametrize(
    ("description", "split"),
    [
        ("train: images/train\nnames: [person, car]\n", None),
        ("train: images/train\nval: images/none\nnames: {0: person, 1: car}\n", "train"),
        ("path: ..\ntrain: data/images/train\nnames: [person, car]\n", "train"),
        ("train: ../images/train\nval: ../images/none\nnames: [person, car]\nnc: 2\n", "train"),
        ("valid: [images/train]\nnames: [person, car]\n", "val"),
        ("train: list.txt\nnames: [person, car]\n", "train"),
    ],
)
def test_the_usual_forms_of_a_yolo_description_are_known(description: str, split: str | None, tmp_path: Path) -> None:
    folder = write_yolo(tmp_path / "data", "0 0.5 0.5 0.2 0.4\n", description)
    write_text(folder / "list.txt", "./images/train/a_001.png\n")
    assert read_dataset(folder, split).pedestrians == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 1.7 0.4", ":3: width must be in 0..1, got 1.7; YOLO labels are shares of the picture"),
        ("0 -0.5 0.5 0.7 0.4", ":3: cx must be in 0..1, got -0.5"),
        ("0 0.5 0.5 0.7", ":3: line must have 5 columns (class cx cy width height), got 4"),
        ("0 0.5 0.5 0.2 0.2 0.9", ":3: line must have 5 columns (class cx cy width height), got 6"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2", ":3: line must be a box (class cx cy width height), got 7 columns: a polygon"),
        ("2 0.5 0.5 0.1 0.4", ":3: class must be one of 0, 1 of data.yaml, got '2'"),
        ("0.5 0.5 0.5 0.1 0.4", ":3: class must be one of 0, 1 of data.yaml, got '0.5'"),
        ("person 0.5 0.5 0.1 0.4", ":3: class must be a number, got 'person'"),
    ],
)
def test_a_broken_yolo_line_is_named_with_file_line_and_rule(line: str, message: str, tmp_path: Path) -> None:
    write_yolo(tmp_path, f"0 0.5 0.5 0.2 0.4\n\n{line}\n")
    with pytest.raises(DatasetError) as caught:
        read_dataset(tmp_path)
    assert f"labels/train/a_001.txt{message}" in str(caught.value)


def test_a_share_that_misses_its_range_by_rounding_is_taken(tmp_path: Path) -> None:
    write_yolo(tmp_path, "0 0.5 0.5 0.2 1.0000004\n")
    assert read_dataset(tmp_path).pictures[0].boxes_xyxy[0, 1::2].tolist() == [0, 50]


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ("train: [images/train\n", r"data.yaml:\d: must be YAML"),
        ("names: [person]\ndate: 2026-02-30\n", "data.yaml must be readable YAML; day"),
        ("just text", "data.yaml:1: must be a YAML mapping"),
        (f"names: {'[' * 3000}", "data.yaml must be readable YAML; maximum recursion"),
        ("train: images/train\n", "names must be a list or a mapping of class names, got None"),
        ("train: images/train\nnames: [car]\n", r"names must contain pedestrian, person or people, got \['car'\]"),
        ("train: images/train\nnames: {person: 0}\n", "names must map whole numbers to text"),
        ("names: [person]\n", "one of train, val, valid, test must name a folder of pictures, got none"),
        ("train: a\nval: b\nnames: [person]\n", "split must be one of train, val, got None"),
        ("train: 5\nnames: [person]\n", "train must be a folder or a list of folders, got 5"),
        ("path: gone\ntrain: a\nnames: [person]\n", "path must be a folder"),
        ("train: gone\nnames: [person]\n", "gone must be a folder with pictures; it is missing"),
        ("train: labels\nnames: [person]\n", "labels must hold at least one picture"),
        ("train: list.txt\nnames: [person]\n", r"list.txt:1: line must name a picture, got 'gone.png'"),
    ],
)
def test_a_broken_yolo_description_is_refused(description: str, message: str, tmp_path: Path) -> None:
    write_text(write_yolo(tmp_path, "", description) / "list.txt", "gone.png\n")
    with pytest.raises(DatasetError, match=message):
        read_dataset(tmp_path)


def test_a_yolo_split_without_any_label_file_is_refused_instead_of_taken_as_empty_ground(tmp_path: Path) -> None:
    (write_yolo(tmp_path, "") / "labels" / "train" / "a_001.txt").unlink()
    with pytest.raises(DatasetError, match=r"train must have label files such as .*labels/train/a_001.txt"):
        read_dataset(tmp_path)


def test_a_yolo_list_without_pictures_is_an_empty_data_set(tmp_path: Path) -> None:
    write_text(write_yolo(tmp_path, "", "train: list.txt\nnames: [person]\n") / "list.txt", "")
    with pytest.raises(DatasetError, match="must hold at least one labelled picture, got none"):
        read_dataset(tmp_path)


def test_a_picture_that_a_yolo_list_names_twice_counts_once(tmp_path: Path) -> None:
    folder = write_yolo(tmp_path, "0 0.5 0.5 0.2 0.4\n", "train: train.txt\nnames: [person]\n")
    write_text(folder / "train.txt", "images/train/b.png\n./images/train/a_001.png\nimages/train/b.png\n")
    assert [picture.path.name for picture in read_dataset(folder).pictures] == ["b.png", "a_001.png"]


@pytest.mark.parametrize("inner", ["", "normal_json"])
def test_hit_uav_is_read_in_its_own_layout(inner: str, tmp_path: Path) -> None:
    dataset = read_dataset(write_hit_uav(tmp_path) / inner)
    picture = dataset.pictures[0]
    assert (dataset.name, dataset.modality) == ("hit-uav", "thermal")
    assert (picture.scene, picture.source) == ("20210119", "hit-uav")
    assert picture.boxes_xyxy.tolist() == [[10, 20, 15, 32]]
    assert picture.others_xyxy.tolist() == [[30, 20, 39, 29]]
    assert picture.ignore_xyxy.tolist() == [[40, 30, 49, 39]]


def test_whoever_learns_takes_train_of_several_splits_and_whoever_judges_val(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        write_hit_uav(tmp_path, split)
    for usual in ("train", "val"):
        dataset = read_dataset(tmp_path, usual=usual)
        assert dataset.name.endswith(f"-{usual}")
        assert dataset.warnings[-1] == f"of the splits train, val, test, {usual} is used"
        assert read_dataset(tmp_path, usual).warnings == dataset.warnings[:-1]


def test_a_yolo_folder_with_splits_is_learnt_from(tmp_path: Path) -> None:
    description = "train: images/train\nvalid: images/none\nnames: [person, car]\n"
    folder = write_yolo(tmp_path / "data", "0 0.5 0.5 0.2 0.4\n", description)
    assert read_dataset(folder, usual="train").name == "data-train"
    with pytest.raises(DatasetError, match="none"):
        read_dataset(folder, usual="val")  # Roboflow's valid
    with pytest.raises(DatasetError, match="split must be one of train, valid, got 'test'; let one be called test"):
        read_dataset(folder, usual="test")


def test_one_of_several_hit_uav_splits_must_be_named(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_hit_uav(tmp_path, split)
    assert len(read_dataset(tmp_path, "val").pictures) == 1
    with pytest.raises(DatasetError, match="split must be one of train, val, got None"):
        read_dataset(tmp_path)


def test_a_scene_may_reach_from_one_yolo_split_into_another(tmp_path: Path) -> None:
    folder = write_yolo(tmp_path, "0 0.5 0.5 0.2 0.4\n", "train: images/train\nval: images/val\nnames: [person]\n")
    write_picture(folder / "images" / "val" / "a_002.png", 100, 50)
    write_text(folder / "labels" / "val" / "a_002.txt", "")
    scenes = [{p.scene for p in read_dataset(folder, split).pictures} for split in ("train", "val")]
    assert scenes == [{"a", "b"}, {"a"}]


def test_visdrone_pictures_of_one_name_in_two_folders_have_labels_of_their_own(tmp_path: Path) -> None:
    for folder, line in (("day", VISDRONE), ("night", "")):
        write_picture(tmp_path / "images" / folder / "0001.png")
        write_text(tmp_path / "annotations" / folder / "0001.txt", line)
    day, night = read_dataset(tmp_path).pictures
    assert len(day.boxes_xyxy) > 0
    assert len(night.boxes_xyxy) == 0
    write_picture(tmp_path / "images" / "night" / "0001.jpg")
    with pytest.raises(DatasetError, match=r"0001.png must have a name of its own, got that of 0001.jpg"):
        read_dataset(tmp_path)


def test_pictures_of_a_linked_folder_are_read_and_hidden_files_are_not(tmp_path: Path) -> None:
    write_visdrone(tmp_path / "flights", VISDRONE)
    for name in ("images", "annotations"):
        (tmp_path / "all" / name).mkdir(parents=True)
        (tmp_path / "all" / name / "day1").symlink_to(tmp_path / "flights" / name)
        write_text(tmp_path / "all" / name / "._macos.jpg", "")
    write_text(tmp_path / "all" / "annotations" / "._macos.txt", "")
    assert len(read_dataset(tmp_path / "all").pictures) == 1


def test_a_link_that_leads_back_to_a_folder_around_it_is_not_entered(tmp_path: Path) -> None:
    write_visdrone(tmp_path, VISDRONE)
    images = tmp_path / "images"
    for name, to in (("again", images), ("up", tmp_path), ("down/two", images / "down" / "one")):
        (images / name).parent.mkdir(exist_ok=True)
        (images / name).symlink_to(to)
    (images / "down" / "one").mkdir()
    (images / "down" / "one" / "round").symlink_to(images / "down" / "two")
    assert len(read_dataset(tmp_path).pictures) == 1


def test_a_split_that_is_named_of_a_folder_without_splits_is_refused(tmp_path: Path) -> None:
    folder = write_people(tmp_path / "people-rgb", 2)
    with pytest.raises(DatasetError, match=r"split must be left out for .*people-rgb, got 'test'"):
        read_dataset(folder, "test")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
def test_the_size_of_a_turned_picture_is_that_of_its_decoded_pixels(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"turned.{suffix}"
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    PillowImage.new("RGB", (30, 20), "red").save(path, exif=exif)
    image = read_picture(path).image
    assert image is not None
    assert size_from_header(path) == SizeWH(image.shape[1], image.shape[0]) == SizeWH(20, 30)
