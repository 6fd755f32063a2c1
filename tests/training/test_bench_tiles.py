import numpy as np
import pytest

from edge.records import SizeWH
from tests.bench_tiles import MOSAIC_WH, Mosaic, make_mosaic, placed, write_coco
from training.datasets import read_dataset


def test_a_mosaic_is_labelled_in_its_own_pixels(people_rgb, tmp_path):
    pictures = read_dataset(people_rgb).pictures
    mosaic = make_mosaic([*pictures] * 6)
    assert mosaic.image.shape == (MOSAIC_WH.height, MOSAIC_WH.width, 3)
    assert len(mosaic.boxes_xyxy) > 0
    first, scale = pictures[0], 720 / pictures[0].size_wh.height
    assert mosaic.boxes_xyxy[: len(first.boxes_xyxy)] == pytest.approx(first.boxes_xyxy * scale, abs=0.01)
    write_coco(tmp_path / "crowded", [mosaic], "crowded")
    [read] = read_dataset(tmp_path / "crowded").pictures
    assert read.size_wh == MOSAIC_WH
    assert read.boxes_xyxy == pytest.approx(mosaic.boxes_xyxy, abs=0.01)
    assert len(read.ignore_xyxy) == len(mosaic.ignore_xyxy)


def test_too_few_pictures_are_no_mosaic(people_rgb):
    with pytest.raises(ValueError, match="too few for a mosaic"):
        make_mosaic(read_dataset(people_rgb).pictures[:1])


def test_people_at_a_cut_are_labelled_where_enough_of_them_is_left():
    boxes = np.array([[0, 0, 10, 20], [94, 0, 104, 20], [97, 0, 107, 20], [200, 0, 210, 20]], np.float32)
    part = placed(boxes, 1000, 720, SizeWH(100, 100))
    assert part.boxes_xyxy.tolist() == [[1000, 720, 1010, 740], [1094, 720, 1100, 740]]
    assert part.ignore_xyxy.tolist() == [[1097, 720, 1100, 740]]
    assert placed(boxes[:0], 0, 0, SizeWH(100, 100)).all_xyxy.shape == (0, 4)


def test_a_mosaic_of_nobody_is_written(tmp_path):
    nobody = np.zeros((0, 4), np.float32)
    write_coco(tmp_path / "empty", [Mosaic(np.zeros((2160, 3840, 3), np.uint8), nobody, nobody)], "empty")
    [read] = read_dataset(tmp_path / "empty").pictures
    assert len(read.boxes_xyxy) == 0
