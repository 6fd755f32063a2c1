"""The sustained run: `edge.watch` itself, with sinks that measure instead of writing files that anybody keeps.

As in `kestrel watch`, decoding, recognition, and drawing with encoding each have a thread of their own. So the frames a
second may well be more than the stages' milliseconds added up would allow.
"""

import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from edge.bench.encoder import EncodingSink
from edge.bench.feed import EndlessSource
from edge.bench.figures import BenchReport, Subject
from edge.bench.meter import Meter
from edge.errors import InvalidValueError
from edge.interruption import Stop
from edge.recognizer import Recognizer
from edge.records import SizeWH
from edge.sinks import JsonLinesSink, Sink
from edge.sinks.queued import Deadline, QueuedSink, QueueRule
from edge.sources import is_live
from edge.sources.ahead import ReadAhead
from edge.view import ViewSettings, open_view
from edge.watch import Session, watch

_WARM_UP_S = 1.0
_WARM_UP_SHARE = 0.2  # of a short run
_MOST_SECONDS = 7 * 86_400.0
_ENCODER_QUEUE = QueueRule(live=False, capacity=1, images=True)  # as `kestrel watch` has it


@dataclass(frozen=True, slots=True)
class BenchRequest:
    """What to measure, apart from the model. `source` None: frames made by code."""

    source: str | None = None
    seconds: float = 10.0
    video: bool = True  # draw and encode, as `kestrel watch` does

    def __post_init__(self) -> None:
        if not 0.0 < self.seconds <= _MOST_SECONDS:
            raise InvalidValueError("seconds", f"above 0 and at most {_MOST_SECONDS:.0f}", self.seconds)

    @property
    def frame_per_core(self) -> bool:
        """As `kestrel watch` looks at a recording; made frames come one by one, for the time of one recognition."""
        return self.source is not None and not is_live(self.source)

    @property
    def warm_up_s(self) -> float:
        """What passes before the first frame is counted."""
        return min(_WARM_UP_S, _WARM_UP_SHARE * self.seconds)


def run_bench(
    request: BenchRequest, recognizer: Recognizer, model_file: Path, stop: Stop, notes: Sequence[str] = ()
) -> BenchReport:
    """Watch for `request.seconds` after a warm-up, or until a stop is asked for. `notes` are warnings from before.

    Raises:
        KestrelError: the source cannot be opened or breaks off, or not one frame could be measured.
    """
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        meter = Meter(request.seconds, request.warm_up_s)
        source = stack.enter_context(_open(request, recognizer, meter))
        sinks: list[Sink] = [stack.enter_context(JsonLinesSink(Path(os.devnull))), meter]
        if request.video:
            encoding = EncodingSink(scratch, meter)
            sinks.append(stack.enter_context(QueuedSink("encoder", lambda: encoding, _ENCODER_QUEUE, Deadline(None))))
        frames = source if source.info.live else stack.enter_context(ReadAhead(source))
        view = open_view(recognizer, ViewSettings(), lambda: source.info)
        summary = watch(frames, Session(recognizer, stop, notes), sinks, view=view)
        return meter.report(describe(recognizer, model_file, source.info.size_wh), source.info, summary.warnings)


def _open(request: BenchRequest, recognizer: Recognizer, meter: Meter) -> EndlessSource:
    grey = recognizer.info.modality == "thermal"
    fit = None if request.video else lambda frame_wh: recognizer.place(frame_wh).content_wh
    return EndlessSource(request.source, lambda: meter.enough, grey=grey, fit=fit)


def describe(recognizer: Recognizer, model_file: Path, frame_wh: SizeWH | None) -> Subject:
    """The subject of a measurement on frames of that size."""
    input_wh = recognizer.exact_input_wh if frame_wh is None else recognizer.place(frame_wh).input_wh
    return Subject(recognizer.info, model_file.name, input_wh, recognizer.provider, recognizer.threads)
