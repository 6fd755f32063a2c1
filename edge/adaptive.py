"""Whole frames at a size that follows the load: as large as keeps up, smaller while the machine is slow or hot.

Every change is an event of the recording: `size_chosen` with the first frame, then `size_changed`, each with its
reason. The decisions themselves are `edge.ladder`'s.
"""

import time
from collections.abc import Callable
from dataclasses import replace

from edge.ladder import Footing, LadderRule, Reading, after_gap, ladder_for, largest_within, next_step
from edge.machine import temperature_c
from edge.pace import Pace
from edge.recognizer import Recognizer
from edge.records import Event, Frame, Image, Recognition, SizeWH, size_of
from edge.view import Sighting, View, WholeView

_READ_HEAT_EVERY_S = 1.0
_TIMED = 3  # recognitions of each size at the start; the median counts


class AdaptiveView(View):
    """Looks at whole frames; the size of the network's input is a rung of the fixed ladder.

    `choose`: the ladder reaches up to the frame's own size, and the first frame is used to measure what keeps up. Else
    the size begins, and is largest, as the model or the user has it. With a `pace` it says the budget, not the rule.
    Pictures of a folder, for which no budget was asked, are seen as without all this. Clock in seconds, never set back.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        rule: LadderRule,
        *,
        choose: bool,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
        thermometer: Callable[[], float | None] = temperature_c,
    ) -> None:
        self._recognizer = recognizer
        self._whole = WholeView(recognizer)
        self._rule = rule
        self._choose = choose
        self._pace = pace
        self._clock = clock
        self._thermometer = thermometer
        self._long_sides: tuple[int, ...] = ()
        self._footing = Footing(0)
        self._frame_wh: SizeWH | None = None
        self._heat_c: float | None = None
        self._heat_read_at_s: float | None = None

    def look(self, frame: Frame) -> Sighting:
        """Find the pedestrians of one frame, and learn from what it cost."""
        if frame.image is None:
            self._footing = after_gap(self._footing)
            return Sighting(None)
        if self._pace is not None and self._rule.max_temperature_c is None and not self._pace.hurries(frame):
            return self._whole.look(frame)
        if self._pace is not None:
            self._rule = replace(self._rule, budget_ms=self._pace.budget_ms(frame))
        frame_wh = frame.size_wh or size_of(frame.image)
        begun = () if frame_wh == self._frame_wh else (self._begin(frame, frame.image, frame_wh),)
        recognition = self._recognise(frame.image, self._long_side(self._footing.rung), frame_wh)
        step = next_step(self._footing, self._reading(recognition), self._rule, self._long_sides)
        before, self._footing = self._footing, step.footing
        if step.reason is None:
            return Sighting(recognition, begun)
        detail = f"input {self._input_wh(before.rung)} -> {self._input_wh(step.footing.rung)}: {step.reason}"
        return Sighting(recognition, (*begun, Event.at(frame, "size_changed", detail)))

    def input_wh(self, frame_wh: SizeWH | None) -> SizeWH | None:  # noqa: ARG002  # every view is asked
        """None: it may change. The events say what it is."""
        return None

    def _begin(self, frame: Frame, image: Image, frame_wh: SizeWH) -> Event:
        """Choose the size for frames of a new size."""
        self._frame_wh = frame_wh
        model, exact_wh = self._recognizer.metadata, self._recognizer.exact_input_wh
        most = int(frame_wh.long_side * model.max_enlarge)  # more would be padding
        own = min(model.default_long_side, most) if exact_wh is None else exact_wh.long_side
        self._long_sides = ladder_for(own, most if self._choose else None)
        rung, measured = len(self._long_sides) - 1, ""
        if self._choose and self._rule.budget_ms is not None:
            costs_ms = self._measure(image, self._rule.budget_ms)
            rung = largest_within(costs_ms, self._rule.budget_ms)
            measured = f", {costs_ms[rung]:.1f} ms a frame of {self._rule.budget_ms:.1f} ms allowed"
        self._footing = Footing(rung)
        return Event.at(frame, "size_chosen", f"input {self._input_wh(rung)}{measured}{self._blind()}")

    def _measure(self, image: Image, budget_ms: float) -> list[float]:
        """Milliseconds of each size, the smallest first, up to the first that is too slow."""
        costs_ms: list[float] = []
        for long_side in self._long_sides:
            self._recognise(image, long_side)  # memory is taken, an engine built
            costs_ms.append(sorted(self._recognise(image, long_side).total_ms for _ in range(_TIMED))[1])
            if costs_ms[-1] > budget_ms:
                break
        return costs_ms

    def _recognise(self, image: Image, long_side: int | None, frame_wh: SizeWH | None = None) -> Recognition:
        """Without a closer look: that would not be the size which is chosen here."""
        return self._recognizer.recognise(image, long_side, frame_wh, closer=False)

    def _long_side(self, rung: int) -> int | None:
        """None: as the user has set it."""
        top = rung == len(self._long_sides) - 1
        return None if top and self._recognizer.exact_input_wh is not None else self._long_sides[rung]

    def _input_wh(self, rung: int) -> SizeWH | None:
        return self._frame_wh and self._recognizer.place(self._frame_wh, self._long_side(rung)).input_wh

    def _reading(self, recognition: Recognition) -> Reading:
        now_s = self._clock()
        if self._heat_read_at_s is None or now_s - self._heat_read_at_s >= _READ_HEAT_EVERY_S:
            self._heat_c, self._heat_read_at_s = self._thermometer(), now_s
        return Reading(now_s, recognition.total_ms, self._heat_c)

    def _blind(self) -> str:
        """What to say where a temperature is limited that nobody can read."""
        if self._rule.max_temperature_c is None or self._thermometer() is not None:
            return ""
        return "; --max-temperature does nothing: this machine has no sensor that can be read"
