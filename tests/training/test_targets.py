import numpy as np
import pytest
import torch

from edge.records import Boxes
from training.targets import DenseTargets, Targets, dense_targets

IMAGES = torch.zeros(1, 3, 64, 96, dtype=torch.uint8)


def boxes(*rows: tuple[float, ...]) -> Boxes:
    return np.array(rows, dtype=np.float32).reshape(-1, 4)


def maps(people: Boxes, ignored: Boxes | None = None, stride: int = 4) -> DenseTargets:
    return dense_targets([Targets(people, boxes() if ignored is None else ignored)], stride, IMAGES)


def test_a_picture_without_people_is_all_background():
    empty = maps(boxes())
    assert empty.heat.shape == empty.counted.shape == empty.box_weight.shape == (1, 16, 24)
    assert empty.boxes_xyxy.shape == (1, 4, 16, 24)
    assert empty.pedestrians == 0
    assert empty.heat.sum() == empty.box_weight.sum() == 0
    assert (empty.counted == 1).all()


@pytest.mark.parametrize("stride", [4, 8])
@pytest.mark.parametrize(
    ("box", "centre_xy"),
    [
        ((20, 12, 28, 36), (24, 24)),
        ((0, 0, 3, 5), (1.5, 2.5)),
        ((40, 20, 42, 22), (41, 21)),  # smaller than a cell
        ((92, 60, 96, 64), (94, 62)),  # in the last cell
        ((0, 0, 96, 64), (48, 32)),  # as large as the picture
    ],
)
def test_the_cell_of_a_person_s_centre_is_1_and_carries_the_box(box, centre_xy, stride):
    made = maps(boxes(box), stride=stride)
    column, row = (int(c // stride) for c in centre_xy)
    assert made.heat[0, row, column] == 1
    assert made.pedestrians == 1
    assert made.boxes_xyxy[0, :, row, column].tolist() == list(box)
    assert made.box_weight[0].argmax() == row * made.heat.shape[2] + column


def test_a_centre_on_the_far_edge_falls_into_the_last_cell():
    assert maps(boxes((96, 64, 96, 64))).heat[0, 15, 23] == 1


def test_the_box_weight_of_every_person_sums_to_1():
    one, other = (4, 4, 12, 28), (60, 30, 90, 62)
    weight = maps(boxes(one, other)).box_weight
    assert weight[0, :, :8].sum().item() == pytest.approx(1, rel=1e-5)
    assert weight[0, :, 12:].sum().item() == pytest.approx(1, rel=1e-5)
    assert weight.sum().item() == pytest.approx(2, rel=1e-5)


@pytest.mark.parametrize("small_first", [True, False])
def test_a_small_person_wins_the_cell_that_it_shares_with_a_big_one(small_first):
    small, big = (45, 29, 49, 35), (30, 8, 66, 58)
    made = maps(boxes(small, big) if small_first else boxes(big, small))
    row, column = 32 // 4, 47 // 4
    assert made.boxes_xyxy[0, :, row, column].tolist() == list(small)
    assert made.boxes_xyxy[0, :, row - 3, column].tolist() == list(big)


def test_heat_falls_off_from_the_centre_and_stays_within_the_person():
    heat = maps(boxes((24, 16, 56, 48))).heat[0]
    middle = heat[8, 10:14]
    assert middle.argmax() == 0
    assert (middle.diff() < 0).all()
    assert (heat[:4] == 0).all()
    assert (heat[12:] == 0).all()


def test_cells_that_an_ignored_region_touches_do_not_count():
    counted = maps(boxes(), boxes((5, 8, 12.5, 16), (90, 60, 96, 64))).counted[0]
    expected = torch.ones(16, 24)
    expected[2:4, 1:4] = 0
    expected[15:, 22:] = 0
    assert torch.equal(counted, expected)
