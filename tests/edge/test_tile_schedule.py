import numpy as np
import pytest

from edge.tile_schedule import (
    Memory,
    affordable,
    coverage,
    enough_to_stay_fresh,
    fresh,
    most_urgent,
    tiles_with,
)
from edge.tiles import Tile

TILES = tuple(Tile(x, 0, x + 120, 100, 0.25) for x in (0, 100, 200, 300))
STILL = np.zeros(4, np.bool_)


def test_what_was_never_looked_at_comes_first():
    memories = [Memory(9.9, people=True), Memory(), Memory(0.0), Memory()]
    assert most_urgent(memories, STILL, 10.0, 2.0, 2) == (1, 3)
    assert most_urgent(memories, STILL, 10.0, 2.0, 3) == (1, 2, 3)


def test_of_equally_old_tiles_those_with_people_or_motion_come_first():
    memories = [Memory(9.0), Memory(9.0, people=True), Memory(9.0), Memory(9.0)]
    assert most_urgent(memories, STILL, 10.0, 2.0, 1) == (1,)
    assert most_urgent(memories, np.array([False, False, False, True]), 10.0, 2.0, 2) == (1, 3)


@pytest.mark.parametrize("walking", [False, True])
def test_no_tile_is_forgotten_for_those_with_people(walking):
    # one tile a frame, people in two of eight tiles, ten frames a second, the greatest age is 2 s
    moving = np.array([walking and k < 2 for k in range(8)])
    memories = [Memory(0.0, people=k < 2) for k in range(8)]
    oldest = 0.0
    for step in range(1, 200):
        now_s = step / 10
        [k] = most_urgent(memories, moving, now_s, 2.0, 1)
        memories[k] = Memory(now_s, people=k < 2)
        oldest = max(oldest, *(now_s - memory.looked_at_s for memory in memories))
    assert oldest <= 2.0


def test_tiles_with_people_are_looked_at_more_often():
    memories, looks = [Memory(0.0, people=k == 3) for k in range(8)], [0] * 8
    for step in range(1, 200):
        now_s = step / 10
        for k in most_urgent(memories, np.zeros(8, np.bool_), now_s, 2.0, 2):
            memories[k] = Memory(now_s, people=k == 3)
            looks[k] += 1
    assert looks[3] > 1.5 * max(looks[:3] + looks[4:])


@pytest.mark.parametrize(
    ("looked_at_s", "is_fresh"), [(None, False), (10.0, True), (8.0, True), (7.9, False), (10.1, False)]
)
def test_a_look_is_good_for_a_while_only(looked_at_s, is_fresh):
    assert fresh(Memory(looked_at_s), 10.0, 2.0) == is_fresh


def test_coverage_is_one_exactly_where_every_tile_is_fresh():
    assert coverage(TILES, [Memory()] * 4, 10.0, 2.0) == 0.0
    assert coverage(TILES, [Memory(9.0), Memory(9.0), Memory(1.0), Memory()], 10.0, 2.0) == 0.5
    assert coverage(TILES, [Memory(9.0)] * 4, 10.0, 2.0) == 1.0
    almost = (Tile(0, 0, 1, 1, 0.0000001), Tile(1, 0, 100, 1, 0.9999999))
    assert coverage(almost, [Memory(), Memory(9.0)], 10.0, 2.0) < 1


def test_people_are_awaited_in_every_tile_that_they_reach_into():
    assert tiles_with(np.array([[105, 10, 115, 30]], np.float32), TILES) == (True, True, False, False)
    assert tiles_with(np.zeros((0, 4), np.float32), TILES) == (False, False, False, False)


@pytest.mark.parametrize(
    ("budget_ms", "picture_ms", "count"),
    [(33.0, 10.0, 1), (33.0, 100.0, 1), (100.0, 10.0, 6), (1e6, 10.0, 17), (50.0, 10.0, 3)],
)
def test_as_many_tiles_as_the_budget_leaves_beside_the_overview(budget_ms, picture_ms, count):
    assert affordable(budget_ms, picture_ms, 17) == count


@pytest.mark.parametrize(("step_s", "count"), [(0.0, 1), (1 / 30, 1), (0.1, 2), (0.5, 8), (2.0, 16), (60.0, 16)])
def test_without_a_budget_every_tile_is_seen_twice_within_the_greatest_age(step_s, count):
    assert enough_to_stay_fresh(step_s, 2.0, 16) == count
