import numpy as np
import pytest

from edge import geometry
from edge.errors import InvalidValueError
from edge.geometry import Placement
from edge.records import SizeWH

NO_BOXES = np.zeros((0, 4), np.float32)


@pytest.mark.parametrize(
    ("frame", "content", "network_input"),
    [
        ((1920, 1080), (960, 540), (960, 544)),
        ((1080, 1920), (540, 960), (544, 960)),
        ((3840, 2160), (960, 540), (960, 544)),
        ((400, 300), (600, 450), (608, 480)),  # small pictures gain from being enlarged
        ((960, 960), (960, 960), (960, 960)),
        ((1, 1), (2, 2), (32, 32)),
        ((1, 5000), (1, 960), (32, 960)),
        ((5000, 3), (960, 1), (960, 32)),
    ],
)
def test_the_input_follows_the_models_rule(frame, content, network_input):
    placement = geometry.place_by_rule(SizeWH(*frame), default_long_side=960, max_enlarge=1.5, multiple=32)
    assert placement == Placement(SizeWH(*frame), SizeWH(*content), SizeWH(*network_input))


@pytest.mark.parametrize(
    ("frame", "network_input", "content"),
    [
        ((1920, 1080), (1280, 736), (1280, 720)),
        ((1920, 1080), (320, 736), (320, 180)),
        ((100, 100), (320, 736), (320, 320)),
        ((1, 1), (64, 32), (32, 32)),
        ((9999, 1), (32, 32), (32, 1)),
    ],
)
def test_a_frame_fills_an_exact_input_with_its_aspect_kept(frame, network_input, content):
    assert geometry.place_into(SizeWH(*frame), SizeWH(*network_input)).content_wh == SizeWH(*content)


def test_content_larger_than_the_input_is_refused():
    with pytest.raises(InvalidValueError, match="content_wh must be at most the input's 32x32, got '33x1'"):
        Placement(SizeWH(1, 1), SizeWH(33, 1), SizeWH(32, 32))


def test_boxes_go_back_to_the_frame():
    placement = Placement(SizeWH(200, 50), SizeWH(100, 100), SizeWH(128, 128))
    boxes = np.array([[10, 20, 30, 40]], np.float32)
    assert geometry.to_frame(boxes, placement).tolist() == [[20, 10, 60, 20]]
    assert geometry.to_frame(NO_BOXES, placement).shape == (0, 4)


@pytest.mark.parametrize(
    ("box", "stays"),
    [
        ((10, 10, 20, 20), True),
        ((95, 10, 105, 20), False),  # its centre is the first padded column
        ((94, 10, 104, 20), True),
        ((10, 70, 20, 90), False),
        ((10, 70, 20, 88), True),
    ],
)
def test_a_box_centred_in_the_padding_is_known(box, stays):
    placement = Placement(SizeWH(50, 40), SizeWH(100, 80), SizeWH(128, 96))
    assert geometry.centred_in_content(np.array([box], np.float32), placement).tolist() == [stays]


def test_boxes_are_cut_to_the_frame_and_empty_ones_are_known():
    boxes = np.array(
        [[-5, -5, 5, 5], [90, 90, 120, 120], [100, 0, 110, 10], [4, 4, 4.004, 9], [4, 4, 4.006, 9]], np.float32
    )
    cut = geometry.clip(boxes, SizeWH(100, 100))
    assert cut[:3].tolist() == [[0, 0, 5, 5], [90, 90, 100, 100], [100, 0, 100, 10]]
    assert geometry.not_empty(cut).tolist() == [True, True, False, False, True]
    assert geometry.not_empty(NO_BOXES).tolist() == []


def test_nms_of_nothing_is_nothing():
    assert geometry.nms(NO_BOXES, np.zeros(0, np.float32), 0.5).tolist() == []


def test_nms_keeps_the_better_of_two_and_the_first_of_equals():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10], [0, 0, 10, 10]], np.float32)
    assert geometry.nms(boxes, np.array([0.5, 0.9, 0.1, 0.5], np.float32), 0.5).tolist() == [1, 2]
    assert geometry.nms(boxes, np.full(4, 0.5, np.float32), 0.5).tolist() == [0, 2]


def test_an_iou_of_exactly_the_limit_does_not_suppress():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5]], np.float32)
    assert geometry.nms(boxes, np.array([0.9, 0.8], np.float32), 0.5).tolist() == [0, 1]


def random_boxes(random: np.random.Generator, count: int, whole_pixels: bool) -> np.ndarray:
    corners = random.uniform(0, 60, (count, 2))
    boxes = np.hstack([corners, corners + random.uniform(0, 30, (count, 2))])
    return (boxes.round() if whole_pixels else boxes).astype(np.float32)


@pytest.mark.parametrize("max_iou", [0.1, 0.3, 0.5, 0.55, 0.7, 1.0])
@pytest.mark.parametrize("count", [1, 2, 30, 500])
def test_nms_is_that_of_torchvision_ties_and_empty_boxes_included(count, max_iou):
    torch = pytest.importorskip("torch")
    ops = pytest.importorskip("torchvision.ops")
    random = np.random.default_rng(count)
    for attempt in range(10):
        boxes = random_boxes(random, count, whole_pixels=attempt % 2 == 0)
        scores = random.uniform(0, 1, count).round(1 if attempt % 3 == 0 else 6).astype(np.float32)
        theirs = ops.nms(torch.from_numpy(boxes), torch.from_numpy(scores), max_iou)
        assert geometry.nms(boxes, scores, max_iou).tolist() == theirs.tolist()


@pytest.mark.parametrize("spread", ["one place", "a row", "all over", "two sizes", "around zero"])
def test_nms_is_that_of_torchvision_however_people_stand(spread):
    torch = pytest.importorskip("torch")
    ops = pytest.importorskip("torchvision.ops")
    random = np.random.default_rng(1)
    corners = {
        "one place": random.normal(50, 3, (400, 2)),
        "a row": np.stack([random.uniform(0, 4000, 400), np.full(400, 70.0)], axis=1),
        "all over": random.uniform(0, 4000, (400, 2)),
        "two sizes": random.uniform(0, 300, (400, 2)),
        "around zero": random.uniform(-40, 40, (400, 2)),
    }[spread]
    sides = random.uniform(5, 60, (400, 2)) * (np.where(np.arange(400) % 9, 1, 20)[:, None] if "sizes" in spread else 1)
    boxes = np.hstack([corners, corners + sides]).astype(np.float32)
    boxes[::7, 2:] = boxes[::7, :2]  # some without area
    scores = random.uniform(0, 1, 400).round(2).astype(np.float32)
    theirs = ops.nms(torch.from_numpy(boxes), torch.from_numpy(scores), 0.4)
    assert geometry.nms(boxes, scores, 0.4).tolist() == theirs.tolist()


def test_nms_of_boxes_without_area_keeps_all():
    boxes = np.array([[3, 3, 3, 3], [3, 3, 3, 3], [0, 5, 9, 5]], np.float32)
    assert geometry.nms(boxes, np.array([0.1, 0.9, 0.5], np.float32), 0.5).tolist() == [1, 2, 0]


def test_boxes_that_overlap_are_paired_once_and_few_others_are():
    random = np.random.default_rng(2)
    corners = random.uniform(0, 2000, (500, 2))
    boxes = np.hstack([corners, corners + random.uniform(10, 60, (500, 2))]).astype(np.float32)
    pairs = [tuple(sorted(pair)) for pair in geometry.overlapping_pairs(boxes).tolist()]
    overlap = np.triu(np.nan_to_num(geometry.pairwise_iou(boxes)) > 0, 1)
    assert len(set(pairs)) == len(pairs)
    assert set(map(tuple, np.argwhere(overlap).tolist())) <= set(pairs)
    assert len(pairs) < 500 * 4  # every pair would be 124,750
    assert geometry.overlapping_pairs(NO_BOXES).shape == (0, 2)
