import itertools

import pytest

from edge.errors import InvalidValueError
from edge.ladder import (
    LONG_SIDES_PX,
    Footing,
    LadderRule,
    Reading,
    ladder_for,
    largest_within,
    next_step,
    shape_on_ladder,
)
from edge.records import SizeWH

RULE = LadderRule(budget_ms=33.0, down_after_s=5.0, up_after_s=30.0)
SIDES = (320, 640, 960)


def run(rule, costs_ms, seconds, rung=2, temperature=lambda time_s: None, step_s=0.1, sides=SIDES):
    """Rungs that a machine went to, as (second, rung, reason); `costs_ms(time, rung)` is what a frame takes."""
    footing, changes = Footing(rung), []
    for k in range(round(seconds / step_s)):
        time_s = k * step_s
        reading = Reading(time_s, costs_ms(time_s, footing.rung), temperature(time_s))
        step = next_step(footing, reading, rule, sides)
        assert (step.reason is not None) == (step.footing.rung != footing.rung)
        footing = step.footing
        if step.reason:
            changes.append((round(time_s), footing.rung, step.reason))
    return changes


def test_a_machine_that_keeps_up_stays_where_it_is():
    assert run(RULE, lambda t, rung: 30.0, 300) == []


def test_sustained_overload_goes_down_step_by_step_and_says_why():
    changes = run(RULE, lambda t, rung: 100.0, 60)
    assert [(second, rung) for second, rung, _ in changes] == [(5, 1), (10, 0)]
    assert changes[0][2] == "100.0 ms a frame of 33.0 ms allowed for 5 s"


def test_one_slow_frame_is_no_overload():
    assert run(RULE, lambda t, rung: 500.0 if round(t * 10) % 50 == 0 else 10.0, 60) == []


def test_a_machine_that_recovers_goes_up_again_only_after_a_while():
    # slow for 20 s, then fast again: 10 ms at 640 px promise 22.5 ms at 960 px
    changes = run(RULE, lambda t, rung: 100.0 if t < 7 else 10.0, 100)
    assert [rung for _, rung, _ in changes] == [1, 2]
    assert changes[1][0] - changes[0][0] >= 30
    assert "headroom" in changes[1][2]


def test_it_does_not_go_up_where_the_next_size_would_be_too_slow():
    # 20 ms at 640 px promise 45 ms at 960 px
    assert run(RULE, lambda t, rung: 20.0, 200, rung=1) == []


def test_a_rise_that_fails_is_tried_ever_more_rarely():
    # 10 ms at 640 px promise 22 ms at 960 px, but there it takes 50
    changes = run(RULE, lambda t, rung: 50.0 if rung == 2 else 10.0, 1200, rung=1)
    rises = [second for second, rung, _ in changes if rung == 2]
    waits = [b - a for a, b in itertools.pairwise(rises)]
    assert len(waits) >= 3
    assert all(later > earlier * 1.5 for earlier, later in itertools.pairwise(waits))


def test_heat_goes_down_until_the_machine_has_cooled_by_some_degrees():
    rule = LadderRule(max_temperature_c=80)
    heat = {range(20): 85.0, range(20, 100): 77.0, range(100, 300): 70.0}
    changes = run(
        rule, lambda t, rung: 500.0, 200, temperature=lambda t: next(c for r, c in heat.items() if int(t) in r)
    )
    assert [rung for _, rung, _ in changes] == [1, 0, 1, 2]
    assert changes[0] == (5, 1, "85 C of 80 C allowed for 5 s")
    assert changes[2][0] >= 130  # 77 C are neither too hot nor cool


def test_a_machine_without_a_sensor_is_never_too_hot():
    assert run(LadderRule(max_temperature_c=50), lambda t, rung: 10.0, 100) == []


def test_the_smallest_size_is_the_end():
    assert run(RULE, lambda t, rung: 1000.0, 100, rung=0) == []


@pytest.mark.parametrize(
    ("costs_ms", "rung"),
    [([], 0), ([100.0], 0), ([5.0, 10.0, 20.0], 2), ([5.0, 10.0, 27.0], 1), ([5.0, 26.0, 27.0], 1), ([30.0, 40.0], 0)],
)
def test_the_largest_size_with_headroom_is_chosen(costs_ms, rung):
    assert largest_within(costs_ms, 33.0) == rung


def test_the_models_own_size_is_on_the_ladder():
    assert ladder_for(960)[-1] == 960
    assert ladder_for(700) == (320, 416, 512, 640, 700)
    assert ladder_for(700, most=1280) == (320, 416, 512, 640, 700, 800, 960, 1120, 1280)
    assert ladder_for(96) == (96,)
    assert ladder_for(960, most=10) == (320,)


@pytest.mark.parametrize(
    ("content_wh", "shape"),
    [
        ((960, 540), (960, 544)),
        ((960, 539), (960, 544)),
        ((640, 512), (640, 512)),
        ((512, 640), (512, 640)),
        ((300, 300), (320, 320)),
        ((5000, 90), (5024, 96)),  # larger than the ladder
    ],
)
def test_shapes_for_engines_come_from_a_fixed_set(content_wh, shape):
    assert shape_on_ladder(SizeWH(*content_wh), 32) == SizeWH(*shape)


def test_every_size_of_picture_fits_into_few_shapes():
    sizes = [SizeWH(w, h) for w in range(40, 1921, 37) for h in range(40, 1921, 37)]
    shapes = {shape_on_ladder(size, 32) for size in sizes}
    assert len(shapes) <= len(LONG_SIDES_PX) * 7
    for size in sizes:
        shape = shape_on_ladder(size, 32)
        assert shape.width >= size.width
        assert shape.height >= size.height


@pytest.mark.parametrize(
    ("changes", "name"), [({"budget_ms": 0.0}, "budget-ms"), ({"max_temperature_c": -1.0}, "max-temp")]
)
def test_limits_that_make_no_sense_are_refused(changes, name):
    with pytest.raises(InvalidValueError, match=name):
        LadderRule(**changes)
