"""How the cost grows: frames a second against the size of the input, milliseconds against people in the frame."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from edge.bench.crowd import crowd
from edge.bench.feed import MADE_WH, MadeFrames
from edge.bench.figures import Subject
from edge.bench.run import describe
from edge.drawing import draw
from edge.errors import ProcessingError
from edge.geometry import scale_to_long_side
from edge.interruption import Stop
from edge.machine import Machine, this_machine
from edge.recognizer import Recognizer, RecognizerSettings
from edge.records import Frame, Recognition, SizeWH
from edge.reports import make_frame_record
from edge.tally import StageTimes

LONG_SIDES_PX = (320, 480, 640, 800, 960, 1280, 1600, 1920)
PEOPLE = (0, 25, 50, 75, 100, 150, 200, 250, 300)
_HALF = PEOPLE.index(150)
_LEAST_ROUNDS = 3  # the first of them warms up


@dataclass(frozen=True, slots=True)
class SizePoint:
    """Resize to boxes at one size of the input."""

    input_wh: SizeWH
    ms: float  # median

    @property
    def fps(self) -> float:
        """Frames a second if nothing else had to be done."""
        return 1000 / self.ms

    def to_json(self) -> dict[str, Any]:
        """One entry of `sizes`."""
        return {"input_wh": self.input_wh.to_json(), "ms": round(self.ms, 3), "fps": round(self.fps, 2)}


@dataclass(frozen=True, slots=True)
class StageGrowth:
    """Medians of a stage against `PEOPLE`."""

    name: str
    ms: tuple[float, ...]

    @property
    def exponent(self) -> float | None:
        """p where the cost of people grows with the p-th power of their number from 150 to 300; 1 is linear.

        None where people cost too little to tell.
        """
        half, all_of_them = self.ms[_HALF] - self.ms[0], self.ms[-1] - self.ms[0]
        return math.log2(all_of_them / half) if half > 0 and all_of_them > 0 else None

    def to_json(self) -> dict[str, Any]:
        """One entry of `stages`."""
        exponent = self.exponent
        return {
            "stage": self.name,
            "ms": [round(ms, 4) for ms in self.ms],
            "exponent": None if exponent is None else round(exponent, 2),
        }


@dataclass(frozen=True, slots=True)
class Sweep:
    """Both curves of one model."""

    subject: Subject
    sizes: tuple[SizePoint, ...]
    stages: tuple[StageGrowth, ...]
    machine: Machine

    def to_json(self) -> dict[str, Any]:
        """The content of `--json`."""
        return {
            **self.subject.to_json(),
            "sizes": [point.to_json() for point in self.sizes],
            "people": list(PEOPLE),
            "stages": [stage.to_json() for stage in self.stages],
            "machine": self.machine.to_json(),
            "date": self.machine.date,
        }


def run_sweep(model_file: Path, settings: RecognizerSettings, seconds: float, stop: Stop) -> Sweep:
    """Two thirds of `seconds` for the sizes, the rest for people; at least a few rounds of each.

    Raises:
        ModelError: no Kestrel model.
        ProcessingError: stopped before there was anything to tell.
    """
    recognizer = Recognizer(model_file, settings)
    return Sweep(
        subject=describe(recognizer, model_file, MADE_WH),
        sizes=sweep_sizes(model_file, settings, seconds * 2 / 3, stop),
        stages=sweep_people(recognizer, seconds / 3, stop),
        machine=this_machine(),
    )


def sweep_sizes(model_file: Path, settings: RecognizerSettings, seconds: float, stop: Stop) -> tuple[SizePoint, ...]:
    """1080p frames through every size of the ladder, turn by turn."""
    rungs = [Recognizer(model_file, replace(settings, input_wh=_input_wh(long_side))) for long_side in LONG_SIDES_PX]
    images = [frame.image for frame in islice(MadeFrames(grey=rungs[0].info.modality == "thermal"), 32)]
    times = [StageTimes() for _ in rungs]

    def one_round(number: int) -> None:
        image = images[number % len(images)]
        for rung, clock in zip(rungs, times, strict=True):
            if image is None:
                continue
            found = rung.recognise(image, closer=False)
            if number:
                clock.add(found.total_ms)

    _rounds(one_round, seconds, stop)
    sizes = [rung.place(MADE_WH).input_wh for rung in rungs]
    return tuple(SizePoint(size, _median(clock)) for size, clock in zip(sizes, times, strict=True))


def sweep_people(recognizer: Recognizer, seconds: float, stop: Stop) -> tuple[StageGrowth, ...]:
    """What follows the network on a 1080p frame, with every number of people in turn."""
    frame = next(iter(MadeFrames()))
    clocks = {stage: [StageTimes() for _ in PEOPLE] for stage in ("postprocess", "draw", "json")}

    def one_round(number: int) -> None:
        for index, people in enumerate(PEOPLE):
            for stage, ms in cost_of(people, frame, recognizer).items():
                if number:
                    clocks[stage][index].add(ms)

    _rounds(one_round, seconds, stop)
    return tuple(StageGrowth(stage, tuple(map(_median, row))) for stage, row in clocks.items())


def cost_of(people: int, frame: Frame, recognizer: Recognizer) -> dict[str, float]:
    """Milliseconds of postprocess, draw and json for one frame with so many people.

    All three run in one thread, so its CPU time is what they take: what else the machine does cannot bend the curve.
    """
    if frame.image is None:
        return {}
    height, width = frame.image.shape[:2]
    placement = recognizer.place(SizeWH(width, height))
    predictions = crowd(people, placement)
    started = time.thread_time()
    found = recognizer.postprocess(predictions, placement)
    postprocessed = time.thread_time()
    recognition = Recognition(predictions.presence, found.boxes_xyxy, found.scores, 0.0, 0.0, 0.0)
    record = make_frame_record(frame, recognition, "pedestrian" if people else "clear")
    drawing = time.thread_time()
    draw(frame.image, record)
    drawn = time.thread_time()
    json.dumps(record.to_json(), allow_nan=False)
    written = time.thread_time()
    ms = {
        "postprocess": postprocessed - started,
        "draw": drawn - drawing,
        "json": written - drawn + drawing - postprocessed,  # the record is made for it
    }
    return {stage: 1000 * value for stage, value in ms.items()}


def sweep_in_words(sweep: Sweep) -> str:
    """Both tables for a terminal."""
    lines = [str(sweep.subject), str(sweep.machine), "", f"{'input':12}{'ms':>9}{'fps':>9}   resize to boxes, 1080p"]
    lines += [f"{point.input_wh!s:12}{point.ms:9.2f}{point.fps:9.1f}" for point in sweep.sizes]
    lines += ["", f"{'people':12}" + "".join(f"{people:9}" for people in PEOPLE) + "   exponent"]
    for stage in sweep.stages:
        exponent = "-" if stage.exponent is None else f"{stage.exponent:.2f}"
        lines.append(f"{stage.name + ' ms':12}" + "".join(f"{ms:9.3f}" for ms in stage.ms) + f"   {exponent:>8}")
    return "\n".join([*lines, "exponent: 1 is linear in people from 150 to 300, 2 would be quadratic"])


def _input_wh(long_side: int) -> SizeWH:
    return scale_to_long_side(MADE_WH, long_side)


def _rounds(one_round: Callable[[int], None], seconds: float, stop: Stop) -> None:
    """Round 0 warms up; then until the time is over, at least a few."""
    until, number = time.perf_counter() + seconds, 0
    while not stop.requested and (number < _LEAST_ROUNDS or time.perf_counter() < until):
        one_round(number)
        number += 1


def _median(times: StageTimes) -> float:
    found = times.percentiles()
    if found is None:
        raise ProcessingError("the run ended before anything was measured")
    return found.p50
