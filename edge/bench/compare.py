"""Two or more models on the same frames in one run, turn by turn, so that what slows the machine slows all of them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.bench.feed import EndlessSource
from edge.bench.figures import RECOGNITION_STAGES, Subject, stage_table
from edge.bench.run import BenchRequest, describe
from edge.errors import InvalidValueError, ProcessingError
from edge.interruption import Stop
from edge.machine import Machine, this_machine
from edge.recognizer import Recognizer
from edge.records import Frame, Percentiles
from edge.tally import StageTimes
from edge.view import WholeView

_WARM_UP_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Contender:
    """A loaded model and the file that it came from."""

    file: Path
    recognizer: Recognizer


@dataclass(frozen=True, slots=True)
class ComparedModel:
    """One model's times; the ratio is that of its median to the first model's."""

    subject: Subject
    stage_ms: dict[str, Percentiles]
    recognition_ms: Percentiles
    ratio: float

    def to_json(self) -> dict[str, Any]:
        """One entry of `compared`."""
        return {
            **self.subject.to_json(),
            "stage_ms": {stage: one.to_json() for stage, one in self.stage_ms.items()},
            "recognition_ms": self.recognition_ms.to_json(),
            "ratio": round(self.ratio, 4),
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """All models of one run, in the order in which they were named."""

    models: tuple[ComparedModel, ...]
    source: str
    frames: int  # each model has seen all of them
    seconds: float
    machine: Machine

    def to_json(self) -> dict[str, Any]:
        """The content of `--json`."""
        return {
            "compared": [model.to_json() for model in self.models],
            "source": self.source,
            "frames": self.frames,
            "seconds": round(self.seconds, 3),
            "machine": self.machine.to_json(),
            "date": self.machine.date,
        }


def compare(contenders: Sequence[Contender], request: BenchRequest, stop: Stop) -> Comparison:
    """Recognise each frame once with every model. The turn rotates, so that nobody always finds a warm cache.

    Raises:
        InvalidValueError: fewer than two models.
        KestrelError: the source cannot be opened, or ended within the warm-up.
    """
    if len(contenders) < 2:
        raise InvalidValueError(
            "models", "at least two", len(contenders), "for example `kestrel bench --compare A.onnx B.onnx`"
        )
    clocks = [_Clock(one.recognizer) for one in contenders]
    frames, began = 0, 0.0
    now = time.perf_counter()

    def enough() -> bool:
        return stop.requested or (frames > _WARM_UP_ROUNDS and now - began >= request.seconds)

    grey = contenders[0].recognizer.info.modality == "thermal"
    with EndlessSource(request.source, enough, grey=grey) as source:
        for frame in source:
            if frame.image is None:
                continue
            for turn in range(len(clocks)):
                clocks[(frames + turn) % len(clocks)].run(frame, counted=frames >= _WARM_UP_ROUNDS)
            frames, now = frames + 1, time.perf_counter()
            if frames == _WARM_UP_ROUNDS:
                began = now
    if frames <= _WARM_UP_ROUNDS:
        raise ProcessingError(f"the run ended before a frame was measured; the warm-up takes {_WARM_UP_ROUNDS}")
    subjects = [describe(one.recognizer, one.file, source.info.size_wh) for one in contenders]
    first = clocks[0].recognition().p50
    return Comparison(
        models=tuple(clock.compared(subject, first) for clock, subject in zip(clocks, subjects, strict=True)),
        source=source.info.uri,
        frames=frames - _WARM_UP_ROUNDS,
        seconds=now - began,
        machine=this_machine(),
    )


def comparison_in_words(comparison: Comparison) -> str:
    """The comparison for a terminal: each model's stages, then the ratios."""
    lines = [
        f"{comparison.source}: {comparison.frames} frames through each model in turn, {comparison.seconds:.1f} s",
        str(comparison.machine),
    ]
    for model in comparison.models:
        rows = [*model.stage_ms.items(), ("recognition", model.recognition_ms)]
        lines += ["", f"{model.subject.file}: {model.subject}", stage_table(rows)]
    lines += ["", "ratio of medians, preprocess to boxes"]
    first = comparison.models[0]
    for model in comparison.models[1:]:
        lines.append(f"{model.subject.file} / {first.subject.file}: {model.ratio:.3f}")
    return "\n".join(lines)


class _Clock:
    """The times of one model, which sees a frame as `kestrel watch` does."""

    def __init__(self, recognizer: Recognizer) -> None:
        self._view = WholeView(recognizer)
        self._stages = {stage: StageTimes() for stage in RECOGNITION_STAGES}
        self._recognition = StageTimes()

    def run(self, frame: Frame, *, counted: bool) -> None:
        found = self._view.look(frame).recognition
        if found is None or not counted:
            return
        stage_ms = (found.preprocess_ms, found.infer_ms, found.postprocess_ms)
        for times, ms in zip(self._stages.values(), stage_ms, strict=True):
            times.add(ms)
        self._recognition.add(sum(stage_ms))

    def recognition(self) -> Percentiles:
        return _known(self._recognition)

    def compared(self, subject: Subject, first_p50: float) -> ComparedModel:
        mine = self.recognition()
        stages = {stage: _known(times) for stage, times in self._stages.items()}
        return ComparedModel(subject, stages, mine, mine.p50 / first_p50)


def _known(times: StageTimes) -> Percentiles:
    found = times.percentiles()
    if found is None:
        raise ProcessingError("not one frame was measured")
    return found
