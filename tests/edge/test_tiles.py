import numpy as np
import pytest

from edge.errors import InvalidValueError
from edge.geometry import Detections
from edge.records import SizeWH
from edge.tiles import (
    OVERLAP_PX,
    Seen,
    Tile,
    cut_boxes,
    left_to_tiles,
    merge,
    plan_tiles,
    plan_tiles_of,
)

FRAME = SizeWH(1000, 600)
LEFT, RIGHT = Tile(0, 0, 550, 600, 0.5), Tile(450, 0, 1000, 600, 0.5)  # they share 100 px
NOBODY = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


def found(*rows: tuple[float, ...]) -> Detections:
    """Rows of x0, y0, x1, y1, score."""
    table = np.array(rows, np.float32).reshape(-1, 5)
    return Detections(table[:, :4], table[:, 4])


def merged(left=(), right=(), overview=(), max_iou=0.5):
    result = merge(found(*overview), [Seen(LEFT, found(*left)), Seen(RIGHT, found(*right))], FRAME, max_iou)
    return [
        (*box, round(score, 3)) for box, score in zip(result.boxes_xyxy.tolist(), result.scores.tolist(), strict=True)
    ]


@pytest.mark.parametrize("frame_wh", [(3840, 2160), (1920, 1080), (2000, 2000), (4000, 3000), (1281, 721), (5, 5)])
def test_tiles_cover_the_frame_and_overlap_by_a_person_at_least(frame_wh):
    frame_wh = SizeWH(*frame_wh)
    plan = plan_tiles(frame_wh, SizeWH(960, 544), 32)
    seen = np.zeros((frame_wh.height, frame_wh.width), np.uint8)
    for tile in plan.tiles:
        seen[tile.y0 : tile.y1, tile.x0 : tile.x1] += 1
        assert tile.size_wh.width <= plan.tile_wh.width
        assert tile.size_wh.height <= plan.tile_wh.height
    assert seen.min() >= 1
    assert plan.tile_wh.width % 32 == plan.tile_wh.height % 32 == 0
    for a, b in zip(plan.tiles, plan.tiles[1:], strict=False):
        if a.y0 == b.y0:
            assert a.x1 - b.x0 >= OVERLAP_PX
        else:
            assert a.y1 - b.y0 >= OVERLAP_PX
    assert sum(tile.share for tile in plan.tiles) == pytest.approx(1)
    assert len({str(tile.size_wh) for tile in plan.tiles}) == 1  # so that padding stays padding


def test_4k_is_sixteen_tiles_that_are_hardly_larger_than_they_need_to_be():
    plan = plan_tiles(SizeWH(3840, 2160), SizeWH(960, 544), 32)
    assert len(plan.tiles) == 16
    assert plan.tile_wh == SizeWH(1056, 640)


@pytest.mark.parametrize(
    ("frame_wh", "least_wh"), [((5760, 1080), (384, 96)), ((4096, 300), (384, 32)), ((3840, 2160), (384, 224))]
)
def test_a_wide_frame_is_not_looked_at_many_times_over(frame_wh, least_wh):
    plan = plan_tiles(SizeWH(*frame_wh), SizeWH(*least_wh), 32)
    looked_at = len(plan.tiles) * plan.tile_wh.width * plan.tile_wh.height
    assert looked_at < 3 * frame_wh[0] * frame_wh[1]


def test_a_frame_that_is_hardly_larger_than_a_tile_is_one_tile():
    assert len(plan_tiles(SizeWH(1280, 720), SizeWH(960, 544), 32).tiles) == 1


def test_tiles_of_a_given_size_are_as_few_as_can_be():
    plan = plan_tiles_of(SizeWH(1000, 600), SizeWH(640, 640))
    assert [(t.x0, t.y0, t.x1, t.y1) for t in plan.tiles] == [(0, 0, 640, 600), (360, 0, 1000, 600)]
    with pytest.raises(InvalidValueError, match="size must be larger than the tiles' overlap of 96 px, got '96x640'"):
        plan_tiles_of(SizeWH(1000, 600), SizeWH(96, 640))


@pytest.mark.parametrize(
    ("left", "right", "overview", "people"),
    [
        ([], [], [], []),
        # one person in the overlap, seen whole by both: the surer box
        ([(480, 100, 500, 150, 0.8)], [(481, 101, 501, 151, 0.9)], [], [(481, 101, 501, 151, 0.9)]),
        # two people who are seen by one tile each
        (
            [(10, 100, 30, 150, 0.8)],
            [(900, 100, 920, 150, 0.9)],
            [],
            [(900, 100, 920, 150, 0.9), (10, 100, 30, 150, 0.8)],
        ),
        # cut by the left tile's side, however sure that is: the neighbour sees all of them
        ([(530, 100, 550, 150, 0.9)], [(530, 100, 570, 150, 0.5)], [], [(530, 100, 570, 150, 0.5)]),
        # cut by both: larger than the overlap, both parts are one
        ([(400, 100, 550, 300, 0.7)], [(450, 100, 600, 300, 0.6)], [], [(400, 100, 600, 300, 0.7)]),
        # cut by one tile and seen by nobody else: better a part than nobody
        ([(530, 100, 550, 150, 0.6)], [], [], [(530, 100, 550, 150, 0.6)]),
        # two people side by side on the seam stay two
        (
            [(500, 100, 518, 150, 0.9), (520, 100, 538, 150, 0.8)],
            [(500, 100, 518, 150, 0.85), (520, 100, 538, 150, 0.95)],
            [],
            [(520, 100, 538, 150, 0.95), (500, 100, 518, 150, 0.9)],
        ),
        # the overview sees the person whole that both tiles cut
        (
            [(300, 100, 550, 500, 0.7)],
            [(450, 100, 700, 500, 0.9)],
            [(300, 100, 700, 500, 0.5)],
            [(300, 100, 700, 500, 0.5)],
        ),
        # a whole box of a tile fits better than the overview's
        ([(100, 100, 200, 300, 0.5)], [], [(110, 80, 190, 250, 0.9)], [(100, 100, 200, 300, 0.5)]),
        # what reaches out of the frame is cut there
        ([(-9, 100, 20, 150, 0.5)], [], [], [(0, 100, 20, 150, 0.5)]),
    ],
)
def test_a_person_on_a_seam_is_one_person(left, right, overview, people):
    assert merged(left, right, overview) == [tuple(pytest.approx(v, abs=1e-3) for v in person) for person in people]


def test_a_person_in_the_corner_of_four_tiles_is_one_person():
    frame_wh = SizeWH(1000, 1000)
    tiles = [Tile(x, y, x + 550, y + 550, 0.25) for y in (0, 450) for x in (0, 450)]
    person = np.array([[300, 300, 700, 700]], np.float32)
    seen = []
    for tile in tiles:
        part = np.clip(person, [tile.x0, tile.y0] * 2, [tile.x1, tile.y1] * 2).astype(np.float32)
        seen.append(Seen(tile, Detections(part, np.array([0.8], np.float32))))
    assert merge(NOBODY, seen, frame_wh, 0.5).boxes_xyxy.tolist() == person.tolist()


def test_people_who_are_whole_in_several_tiles_are_counted_once_wherever_they_stand():
    plan = plan_tiles(SizeWH(2000, 1500), SizeWH(640, 480), 32)
    people = np.array([[x, y, x + 30, y + 60] for y in range(20, 1400, 90) for x in range(20, 1900, 70)], np.float32)
    seen = []
    for tile in plan.tiles:
        inside = np.clip(people, [tile.x0, tile.y0] * 2, [tile.x1, tile.y1] * 2).astype(np.float32)
        enough = (inside[:, 2:] - inside[:, :2]).min(axis=1) >= 6
        seen.append(Seen(tile, Detections(inside[enough], np.full(enough.sum(), 0.7, np.float32))))
    result = merge(NOBODY, seen, plan.frame_wh, 0.5)
    assert sorted(result.boxes_xyxy.tolist()) == sorted(people.tolist())


def test_boxes_are_cut_only_by_sides_beyond_which_the_frame_goes_on():
    boxes = np.array([[0, 0, 20, 50], [530, 100, 549, 150], [200, 550, 220, 600], [200, 200, 220, 250]], np.float32)
    assert cut_boxes(boxes, LEFT, FRAME).tolist() == [False, True, False, False]
    assert cut_boxes(boxes[:0], LEFT, FRAME).tolist() == []


def test_tiles_answer_for_small_people_where_they_were_looked_at():
    overview = found((100, 100, 130, 160, 0.9), (100, 100, 200, 400, 0.9), (800, 100, 830, 160, 0.9))
    assert left_to_tiles(overview, [LEFT]).tolist() == [True, False, False]
    assert left_to_tiles(overview, []).tolist() == [False, False, False]
    assert left_to_tiles(NOBODY, [LEFT]).tolist() == []
