import dataclasses
import json

import numpy as np
import pytest

from edge.errors import ProcessingError
from tests.training.folders import write_coco as make_coco
from tests.training.folders import write_picture
from training.datasets import read_dataset
from training.datasets.coco_writing import write_coco


def test_what_is_written_is_read_back_as_it_was(tmp_path):
    ours = read_dataset(make_coco(tmp_path / "thermal"))
    file = write_coco(tmp_path / "copy" / "annotations.json", ours.pictures, "rgb")
    again = read_dataset(tmp_path / "copy")
    assert again.modality == "rgb"
    assert len(again.pictures) == len(ours.pictures)
    for one, other in zip(again.pictures, ours.pictures, strict=True):
        for name in ("path", "size_wh", "scene", "source"):
            assert getattr(one, name) == getattr(other, name)
        for name in ("boxes_xyxy", "ignore_xyxy", "others_xyxy"):
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-3)
    assert not list(file.parent.glob("*.partial"))


def test_pictures_beside_the_file_have_short_names_and_scores_are_kept(tmp_path):
    ours = read_dataset(make_coco(tmp_path / "rgb"))
    scores = {ours.pictures[0].path: np.array([0.75], np.float32)}
    write_coco(tmp_path / "rgb" / "scored.json", ours.pictures, None, scores)
    document = json.loads((tmp_path / "rgb" / "scored.json").read_text())
    assert [image["file_name"] for image in document["images"]] == ["a.png", "flight2_00012.png"]
    assert [a.get("score") for a in document["annotations"] if a["category_id"] == 1] == [0.75]
    assert document["info"] == {}


def test_two_links_to_one_picture_stay_two(tmp_path):
    picture = write_picture(tmp_path / "store" / "1.png")
    links = [tmp_path / "all" / name for name in ("a.png", "b.png")]
    links[0].parent.mkdir()
    for link in links:
        link.symlink_to(picture)
    ours = read_dataset(make_coco(tmp_path / "rgb")).pictures[0]
    file = write_coco(tmp_path / "out.json", [dataclasses.replace(ours, path=link) for link in links], "rgb")
    assert [picture.path for picture in read_dataset(file).pictures] == links


def test_no_pictures_make_an_empty_file(tmp_path):
    document = json.loads(write_coco(tmp_path / "a.json", [], "rgb").read_text())
    assert (document["images"], document["annotations"]) == ([], [])


def test_a_place_that_cannot_be_written_is_one_error(tmp_path):
    (tmp_path / "images").write_text("mine")
    with pytest.raises(ProcessingError, match=r"images must be a folder"):
        write_coco(tmp_path / "a.json", [], "rgb")
