"""The fixed ladder of input sizes, and when a machine under load goes down or up on it. Pure: no clock, no sensor.

Down one rung after `down_after_s` of overload (a frame takes longer than the budget) or heat, without a break. Up one
rung after `up_after_s` in which the next larger size would have taken at most `HEADROOM` of the budget and the
machine was `COOL_BY_C` below its limit. A rise that has to be taken back within `PROBATION_S` doubles the wait before
the next one, so that a machine at its limit does not swing to and fro.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edge.errors import InvalidValueError
from edge.records import SizeWH

LONG_SIDES_PX = (320, 416, 512, 640, 800, 960, 1120, 1280, 1600, 1920)
HEADROOM = 0.8  # of the budget: decoding and the sinks want a part of the machine, too
COOL_BY_C = 5.0
PROBATION_S = 60.0
LONGEST_UP_AFTER_S = 600.0
_SMOOTHING_S = 1.0
_ASPECTS = (16 / 9, 4 / 3, 5 / 4, 1.0)


@dataclass(frozen=True, slots=True)
class LadderRule:
    """What makes a size too large. What is None is no limit."""

    budget_ms: float | None = None
    max_temperature_c: float | None = None
    down_after_s: float = 5.0
    up_after_s: float = 30.0

    def __post_init__(self) -> None:
        if self.budget_ms is not None and not 0 < self.budget_ms < math.inf:
            raise InvalidValueError("budget-ms", "above 0", self.budget_ms)
        if self.max_temperature_c is not None and not 0 < self.max_temperature_c < 150:
            raise InvalidValueError("max-temperature", "above 0 and below 150 degrees Celsius", self.max_temperature_c)


@dataclass(frozen=True, slots=True)
class Reading:
    """What one frame cost, and how warm the machine was. `time_s` is that of a clock that is never set back."""

    time_s: float
    recognise_ms: float
    temperature_c: float | None = None


@dataclass(frozen=True, slots=True)
class Footing:
    """Where on the ladder a machine stands, and since when something has spoken for a change without a break."""

    rung: int  # index of the size, the smallest first
    average_ms: float | None = None  # smoothed over about a second; None right after a change or a gap
    read_at_s: float | None = None
    too_much_since_s: float | None = None
    easy_since_s: float | None = None
    went_up_at_s: float | None = None
    up_after_s: float | None = None  # None: the rule's own


@dataclass(frozen=True, slots=True)
class Step:
    """The footing after one more frame; `reason` says why the rung changed, None where it did not."""

    footing: Footing
    reason: str | None = None


def ladder_for(long_side: int, most: float | None = None) -> tuple[int, ...]:
    """The long sides that a model may be run at: the ladder's and the model's own, up to `most`, or up to its own."""
    limit = long_side if most is None else most
    sides = sorted({*LONG_SIDES_PX, long_side})
    return tuple(side for side in sides if side <= limit) or (sides[0],)


def largest_within(costs_ms: Sequence[float], budget_ms: float) -> int:
    """The largest size that keeps `HEADROOM` of the budget, as an index; the smallest where none does.

    `costs_ms` may stop early, at the first size that is too slow.
    """
    fitting = [k for k, cost in enumerate(costs_ms) if cost <= HEADROOM * budget_ms]
    return fitting[-1] if fitting else 0


def next_step(footing: Footing, reading: Reading, rule: LadderRule, long_sides: Sequence[int]) -> Step:
    """The footing after one more frame."""
    average_ms = smoothed(footing, reading)
    now = replace(footing, average_ms=average_ms, read_at_s=reading.time_s)
    trouble = what_is_too_much(average_ms, reading, rule)
    if trouble is not None:
        since_s = reading.time_s if footing.too_much_since_s is None else footing.too_much_since_s
        if reading.time_s - since_s >= rule.down_after_s and footing.rung > 0:
            return Step(_down(footing, reading, rule), f"{trouble} for {reading.time_s - since_s:.0f} s")
        return Step(replace(now, too_much_since_s=since_s, easy_since_s=None))
    if footing.rung + 1 >= len(long_sides) or not _would_be_easy(average_ms, reading, rule, footing.rung, long_sides):
        return Step(replace(now, too_much_since_s=None, easy_since_s=None))
    since_s = reading.time_s if footing.easy_since_s is None else footing.easy_since_s
    patience_s = footing.up_after_s or rule.up_after_s
    if reading.time_s - since_s >= patience_s:
        up = Footing(footing.rung + 1, went_up_at_s=reading.time_s, up_after_s=footing.up_after_s)
        return Step(up, f"enough headroom for {reading.time_s - since_s:.0f} s")
    return Step(replace(now, too_much_since_s=None, easy_since_s=since_s))


def after_gap(footing: Footing) -> Footing:
    """The footing after a frame without a picture, which cost nothing: what spoke for a change has to begin anew."""
    return replace(footing, average_ms=None, too_much_since_s=None, easy_since_s=None)


def smoothed(footing: Footing, reading: Reading) -> float:
    """Milliseconds a frame, an exponential mean over time: a single slow frame is no overload."""
    if footing.average_ms is None or footing.read_at_s is None:
        return reading.recognise_ms
    weight = 1 - math.exp(-max(0.0, reading.time_s - footing.read_at_s) / _SMOOTHING_S)
    return footing.average_ms + weight * (reading.recognise_ms - footing.average_ms)


def what_is_too_much(average_ms: float, reading: Reading, rule: LadderRule) -> str | None:
    """What speaks for a smaller size, in words; None: nothing."""
    limit_c, heat_c = rule.max_temperature_c, reading.temperature_c
    if limit_c is not None and heat_c is not None and heat_c >= limit_c:
        return f"{heat_c:.0f} C of {limit_c:.0f} C allowed"
    if rule.budget_ms is not None and average_ms > rule.budget_ms:
        return f"{average_ms:.1f} ms a frame of {rule.budget_ms:.1f} ms allowed"
    return None


def _would_be_easy(average_ms: float, reading: Reading, rule: LadderRule, rung: int, long_sides: Sequence[int]) -> bool:
    """Whether the next larger size would fit; its cost grows with its pixels."""
    limit_c, heat_c = rule.max_temperature_c, reading.temperature_c
    if limit_c is not None and heat_c is not None and heat_c > limit_c - COOL_BY_C:
        return False
    growth = (long_sides[rung + 1] / long_sides[rung]) ** 2
    return rule.budget_ms is None or average_ms * growth <= HEADROOM * rule.budget_ms


def _down(footing: Footing, reading: Reading, rule: LadderRule) -> Footing:
    """One rung down; the wait for the next rise is doubled where the last one did not last."""
    patience_s = footing.up_after_s or rule.up_after_s
    failed = footing.went_up_at_s is not None and reading.time_s - footing.went_up_at_s <= PROBATION_S
    patience_s = min(2 * patience_s, LONGEST_UP_AFTER_S) if failed else rule.up_after_s
    return Footing(footing.rung - 1, up_after_s=patience_s)


def shape_on_ladder(content_wh: SizeWH, multiple: int) -> SizeWH:
    """The smallest of a fixed set of shapes that holds `content_wh`: few engines are built, not one for each size
    of picture. Sides are multiples of `multiple`; what is larger than all of them is rounded up.
    """
    shapes = [
        SizeWH(_up(width, multiple), _up(height, multiple))
        for long_side in LONG_SIDES_PX
        for aspect in _ASPECTS
        for width, height in ((long_side, long_side / aspect), (long_side / aspect, long_side))
    ]
    fitting = [s for s in shapes if s.width >= content_wh.width and s.height >= content_wh.height]
    own = SizeWH(_up(content_wh.width, multiple), _up(content_wh.height, multiple))
    return min(fitting, key=lambda s: (s.width * s.height, s.width), default=own)


def _up(side: float, multiple: int) -> int:
    return math.ceil(side / multiple) * multiple
