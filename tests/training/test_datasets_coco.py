from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

from edge.records import SizeWH
from tests.training.folders import CATEGORIES, coco_document, write_coco, write_picture, write_text
from training.datasets import DatasetError, join_datasets, read_dataset
from training.datasets.labels import kind_of_class, modality_of_words, scene_of_name, size_from_header


def test_a_coco_folder_becomes_pictures_with_targets(tmp_path: Path) -> None:
    dataset = read_dataset(write_coco(tmp_path / "flights-rgb"))
    first, empty = dataset.pictures
    assert (dataset.name, dataset.modality, dataset.pedestrians, dataset.warnings) == ("flights-rgb", "rgb", 1, ())
    assert first.path.is_file()
    assert first.size_wh == SizeWH(64, 48)
    assert (first.source, first.scene) == ("ours", "flight1")
    assert first.boxes_xyxy.tolist() == [[10, 10, 18, 26]]
    assert first.boxes_xyxy.dtype == np.float32
    assert empty.boxes_xyxy.shape == empty.ignore_xyxy.shape == empty.others_xyxy.shape == (0, 4)
    assert (empty.source, empty.scene) == ("flights-rgb", "flight2")


def test_riders_and_ignore_regions_are_ignored_and_cars_are_others(tmp_path: Path) -> None:
    first = read_dataset(write_coco(tmp_path)).pictures[0]
    assert first.ignore_xyxy.tolist() == [[0, 40, 64, 48], [50, 4, 56, 13]]
    assert first.others_xyxy.tolist() == [[30, 20, 50, 30]]


@pytest.mark.parametrize("said", [1, "1", 1.0])
def test_a_crowd_of_pedestrians_is_an_ignore_region(tmp_path: Path, said: object) -> None:
    crowd = [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [0, 0, 9, 9], "iscrowd": said}]
    dataset = read_dataset(write_coco(tmp_path, coco_document(annotations=crowd)))
    assert dataset.pedestrians == 0
    assert len(dataset.pictures[0].ignore_xyxy) == 1


def test_a_field_that_is_null_is_as_if_it_were_left_out(tmp_path: Path) -> None:
    rows = [_annotation(iscrowd=None)]
    assert read_dataset(write_coco(tmp_path, coco_document(annotations=rows))).pedestrians == 1


def _annotation(**changes: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4]} | changes


BROKEN = {
    "annotations[0]: bbox must be four numbers": {"annotations": [_annotation(bbox=[1, 2, 3])]},
    "annotations[0]: bbox must be four numbers x, y, width, height, got ['1', 2, 3, 4]": {
        "annotations": [_annotation(bbox=["1", 2, 3, 4])]
    },
    "annotations[0]: bbox must be four numbers x, y, width, height, got [1, 2, 3, 1000000": {
        "annotations": [_annotation(bbox=[1, 2, 3, 10**400])]
    },
    "annotations[1]: bbox must have a positive width and height, got -3x4": {
        "annotations": [_annotation(), _annotation(bbox=[10, 2, -3, 4])]
    },
    "annotations[0]: bbox must be finite": {"annotations": [_annotation(bbox=[1, 2, float("nan"), 4])]},
    "annotations[0]: bbox must lie in its 64x48 picture, got x0, y0, x1, y1 = 64, 2, 67, 6": {
        "annotations": [_annotation(bbox=[64, 2, 3, 4])]
    },
    "annotations[0]: image_id must be the id of an image, got 8": {"annotations": [_annotation(image_id=8)]},
    "annotations[0]: category_id must be the id of a category, got 2": {"annotations": [_annotation(category_id=2)]},
    "annotations[0]: category_id must be a whole number, got 'one'": {"annotations": [_annotation(category_id="one")]},
    "annotations[0] must be an object, got 5": {"annotations": [5]},
    "annotations must be a list, got dict": {"annotations": {}},
    "annotations must be given": {"annotations": None},
    "images[1]: id must be unique, got 7 again": {"images": [coco_document()["images"][0]] * 2},
    "images[0]: file_name must be given, got only id": {"images": [{"id": 7}]},
    "images[0]: file_name must name a picture in": {"images": [{"id": 7, "file_name": "gone.png"}]},
    "images[0]: width and height must be at least 1, got 0x48": {
        "images": [{"id": 7, "file_name": "a.png", "width": 0, "height": 48}]
    },
    "images[0]: modality must be one of rgb, thermal, got 'radar'": {
        "images": [{"id": 7, "file_name": "a.png", "modality": "radar"}]
    },
    "categories must name pedestrian, person or people, got ['car']": {"categories": CATEGORIES[1:2]},
    "categories[1]: id must be unique, got 1 again": {"categories": [{"id": 1, "name": "car"}, *CATEGORIES]},
    "annotations[0]: iscrowd must be 0 or 1, got 2": {"annotations": [_annotation(iscrowd=2)]},
    "annotations[0]: bbox must be given, got only id, image_id, category_id": {"annotations": [_annotation(bbox=None)]},
    "modality must be one for all pictures, got rgb (1 pictures) and thermal (1 pictures)": {
        "images": [
            {"id": 7, "file_name": "a.png", "modality": "rgb"},
            {"id": 8, "file_name": "flight2_00012.png", "modality": "thermal"},
        ],
    },
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_annotation_is_named_with_file_entry_and_rule(message: str, tmp_path: Path) -> None:
    write_coco(tmp_path, coco_document(**BROKEN[message]))
    with pytest.raises(DatasetError) as caught:
        read_dataset(tmp_path)
    assert message in str(caught.value)
    assert str(tmp_path / "annotations.json") in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [],\n oops}', "annotations.json:2: must be JSON"),
        ("[]", "annotations.json:1: must be a JSON object"),
        ("", "annotations.json:1: must be JSON"),
    ],
)
def test_a_file_that_is_no_annotation_file_is_named_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    write_text(write_coco(tmp_path) / "annotations.json", text)
    with pytest.raises(DatasetError, match=r"annotations.json:\d") as caught:
        read_dataset(tmp_path)
    assert message in str(caught.value)


def test_boxes_over_the_border_are_clipped_and_empty_ones_left_out_with_a_warning(tmp_path: Path) -> None:
    boxes = [[-4, -2, 10, 10], [60, 40, 10, 10], [-0.05, 0, 5, 5], [5, 5, 0, 9], [64 - 1e-7, 5, 5, 9]]
    rows = [_annotation(bbox=box) for box in boxes]
    dataset = read_dataset(write_coco(tmp_path, coco_document(annotations=rows)))
    assert dataset.pictures[0].boxes_xyxy[:2].tolist() == [[0, 0, 6, 8], [60, 40, 64, 48]]
    assert dataset.pedestrians == 3
    assert dataset.warnings == (
        "2 boxes reached outside their picture and were clipped",
        "2 boxes without width or height were left out",
    )


def test_an_empty_data_set_and_one_without_pedestrians_are_refused_where_asked(tmp_path: Path) -> None:
    write_coco(tmp_path, coco_document(annotations=[]))
    assert len(read_dataset(tmp_path).pictures) == 2
    with pytest.raises(DatasetError, match="must hold at least one pedestrian, got none in 2 pictures"):
        read_dataset(tmp_path, require_pedestrians=True)
    write_coco(tmp_path, coco_document(images=[], annotations=[]))
    with pytest.raises(DatasetError, match="must hold at least one labelled picture"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("name", ["missing", "."])
def test_what_is_no_labelled_folder_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"must be a (folder that exists|labelled folder)"):
        read_dataset(tmp_path / name)


def test_a_folder_without_its_pictures_is_refused(tmp_path: Path) -> None:
    write_text(
        tmp_path / "annotations.json", '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "person"}]}'
    )
    with pytest.raises(DatasetError, match="images must be a folder with the pictures"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("annotations", "pictures", "split"),
    [
        ("annotations.json", "images", None),
        ("_annotations.coco.json", ".", None),
        ("train/_annotations.coco.json", "train", "train"),
        ("annotations/instances_val.json", "val", "val"),
        ("annotations/instances_val.json", "images/val", "val"),
        ("annotations/instances_val.json", "images", "val"),
    ],
)
def test_the_usual_places_of_a_coco_file_are_known(
    annotations: str, pictures: str, split: str | None, tmp_path: Path
) -> None:
    source = write_coco(tmp_path / "source")
    write_text(tmp_path / "target" / annotations, (source / "annotations.json").read_text())
    for name in ("a.png", "flight2_00012.png"):
        write_picture(tmp_path / "target" / pictures / name)
    assert len(read_dataset(tmp_path / "target", split).pictures) == 2


def test_sizes_that_the_file_omits_come_from_the_picture_as_opencv_would_decode_it(tmp_path: Path) -> None:
    path = tmp_path / "upright.jpg"
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    PillowImage.new("RGB", (40, 20)).save(path, exif=exif)
    image = cv2.imread(str(path))
    assert image is not None
    assert size_from_header(path) == SizeWH(image.shape[1], image.shape[0]) == SizeWH(20, 40)


def test_numbers_of_thousands_of_digits_are_refused(tmp_path: Path) -> None:
    write_text(write_coco(tmp_path) / "annotations.json", f'{{"images": [{"1" * 5000}]}}')
    with pytest.raises(DatasetError, match=r"annotations.json must be readable JSON"):
        read_dataset(tmp_path)


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    cut_off = bytearray(write_picture(tmp_path / "cut.png").read_bytes())
    cut_off[11] = 1  # how long its first part says that it is
    (tmp_path / "cut.png").write_bytes(cut_off)
    with pytest.raises(DatasetError, match=r"cut.png must be a picture"):
        size_from_header(tmp_path / "cut.png")
    with pytest.raises(DatasetError, match=r"fake.jpg must be a picture"):
        size_from_header(write_text(tmp_path / "fake.jpg", "text"))


def test_thermal_and_colour_are_never_joined(tmp_path: Path) -> None:
    parts = [read_dataset(write_coco(tmp_path / name)) for name in ("a-rgb", "b", "c-thermal")]
    joined = join_datasets(parts[:2])
    assert (joined.name, joined.modality, len(joined.pictures)) == ("a-rgb+b", "rgb", 4)
    with pytest.raises(DatasetError, match="must share one modality, got a-rgb: rgb, c-thermal: thermal"):
        join_datasets([parts[0], parts[2]])
    with pytest.raises(DatasetError, match="at least one"):
        join_datasets([])


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("pedestrian", "pedestrian"),
        ("Person", "pedestrian"),
        ("people", "pedestrian"),
        ("ignored regions", "ignore"),
        ("DontCare", "ignore"),
        ("rider", "ignore"),
        ("car", "other"),
        ("", "other"),
    ],
)
def test_class_names_say_what_a_box_is(name: str, kind: str) -> None:
    assert kind_of_class(name) == kind


@pytest.mark.parametrize(
    ("text", "modality"),
    [("thermal-val", "thermal"), ("flights_RGB", "rgb"), ("rgb-and-thermal", None), ("tiny", None), ("", None)],
)
def test_a_folder_name_may_say_the_modality(text: str, modality: str | None) -> None:
    assert modality_of_words(text) == modality


@pytest.mark.parametrize(
    ("name", "scene"),
    [
        ("flight7_00012.jpg", "flight7"),
        ("day1/flight7_frame12.jpg", "day1/flight7"),
        ("beach-3_jpg.rf.0a1b2c.jpg", "beach"),
        ("00012.jpg", "."),
        ("day1/frame_0012.jpg", "day1"),
        ("IMG_0001.png", "IMG"),
        ("DJI_20230615143010_0001_T.JPG", "DJI"),
        ("DJI_20230615143012_0002.JPG", "DJI"),
        ("DJI_0001_W.JPG", "DJI"),
        ("clip_03_0001.jpg", "clip_03"),
        ("lonely.png", "lonely"),
    ],
)
def test_numbered_frames_of_one_flight_share_a_scene(name: str, scene: str) -> None:
    assert scene_of_name(name) == scene


def test_of_several_splits_the_usual_one_is_read_and_said(tmp_path: Path) -> None:
    for split in ("train2017", "val2017"):
        write_coco(tmp_path / split)
        (tmp_path / split / "images").rename(tmp_path / "pictures")
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / split / "annotations.json").rename(tmp_path / "annotations" / f"instances_{split}.json")
        (tmp_path / split).rmdir()
        (tmp_path / "pictures").rename(tmp_path / split)
    learnt, judged = (read_dataset(tmp_path, usual=usual) for usual in ("train", "val"))
    assert learnt.name == f"{tmp_path.name}-train2017"
    assert learnt.pictures[0].path.parent.name == "train2017"
    assert learnt.warnings == ("of the splits train2017, val2017, train2017 is used",)
    assert judged.pictures[0].path.parent.name == "val2017"
    assert read_dataset(tmp_path, "val2017").warnings == ()
    one = read_dataset(tmp_path / "annotations" / "instances_val2017.json")
    assert one.pictures[0].path.parent.name == "val2017"


def test_a_folder_of_coco_folders_holds_splits(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        write_coco(tmp_path / split)
        for picture in (tmp_path / split / "images").iterdir():
            picture.rename(tmp_path / split / picture.name)
        (tmp_path / split / "annotations.json").rename(tmp_path / split / "_annotations.coco.json")
    assert read_dataset(tmp_path, usual="train").pictures[0].path.parent.name == "train"
    assert read_dataset(tmp_path, usual="val").pictures[0].path.parent.name == "valid"


def test_pictures_that_do_not_look_like_what_others_say_are_refused(tmp_path: Path) -> None:
    document = coco_document()
    document["images"][0]["modality"] = "thermal"
    folder = write_coco(tmp_path, document)
    assert read_dataset(folder).modality == "thermal"  # the other one is grey
    colours = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    colourful = cv2.resize(colours, (64, 48), interpolation=cv2.INTER_NEAREST)
    assert cv2.imwrite(str(folder / "images" / "flight2_00012.png"), colourful)
    with pytest.raises(DatasetError, match=r"modality must be one for all pictures, got thermal and others .*_00012"):
        read_dataset(folder)


def test_a_picture_that_is_listed_twice_is_refused(tmp_path: Path) -> None:
    document = coco_document()
    document["images"][1]["file_name"] = "a.png"
    with pytest.raises(DatasetError, match=r"file_name must be unique, got 'a\.png' again"):
        read_dataset(write_coco(tmp_path, document))


def test_neighbouring_ids_of_64_bits_are_two(tmp_path: Path) -> None:
    document = coco_document()
    large = {image["id"]: 1234567890123456789 + k for k, image in enumerate(document["images"])}
    for image in document["images"]:
        image["id"] = large[image["id"]]
    for label in document["annotations"]:
        label["image_id"] = large[label["image_id"]]
    write_coco(tmp_path, document)
    assert [len(p.boxes_xyxy) for p in read_dataset(tmp_path).pictures] == [1, 0]
