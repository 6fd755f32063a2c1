"""The loop: every frame goes from the source through the recognizer and the verdict to every sink."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from itertools import islice

from edge.at_once import looked_at
from edge.errors import BrokenStreamError, InvalidValueError, KestrelError, OutputClosedError
from edge.interruption import Stop
from edge.modality import appearance_of
from edge.recognizer import Recognizer
from edge.records import Event, ExitReason, Frame, Record, Summary
from edge.reports import make_frame_record, make_header
from edge.sinks.sink import Sink
from edge.sources.source import Source
from edge.tally import Tally
from edge.verdict import Judge
from edge.view import View, WholeView

_FIRST_LOOK_FRAMES = 3  # before the header is written; one unless the recording begins with blank frames


@dataclass(frozen=True, slots=True)
class Selection:
    """Which frames are recognised: every n-th of the source, and at most `limit` of them."""

    every: int = 1
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.every < 1:
            raise InvalidValueError("every", "at least 1", self.every)
        if self.limit is not None and self.limit < 1:
            raise InvalidValueError("limit", "at least 1", self.limit)

    def takes(self, frame: Frame) -> bool:
        """Whether there is a record of the frame. A live source always tells that its signal is lost."""
        return frame.seq % self.every == 0 or (frame.signal != "ok" and frame.captured_at is not None)


_EVERY_FRAME = Selection()


@dataclass(frozen=True, slots=True)
class Session:
    """What all sources of one run of the program share."""

    recognizer: Recognizer
    stop: Stop = field(default_factory=Stop)
    notes: Sequence[str] = ()  # warnings from before the run


def watch(
    source: Source,
    session: Session,
    sinks: Sequence[Sink],
    selection: Selection = _EVERY_FRAME,
    view: View | None = None,
    judge: Judge | None = None,
) -> Summary:
    """Watch until the source ends, the limit is reached, or a stop is asked for: header, frames and events, summary.

    `view` None: every frame as a whole; `judge` None: by the model's rule.

    Raises:
        KestrelError: source, recognizer or a sink failed on the way; every sink that still works has its summary.
    """
    recognizer, stop = session.recognizer, session.stop
    view = view or WholeView(recognizer)
    tally, judge = Tally(), judge or Judge(recognizer.metadata.verdict)
    missed = 0  # dropped before frames that are not recognised (`--every`)
    frames = iter(source)
    first_frames = first_look(frames, 1 if source.info.live else _FIRST_LOOK_FRAMES)
    header = make_header(source.info, recognizer, view, first_frames, all_warnings(session.notes, source, sinks))
    try:
        publish(sinks, header)
        with closing(looked_at(handed_on(first_frames, frames), view, selection.takes)) as looking:
            for looked in looking:
                if stop.requested:
                    break
                frame, sighting = looked.frame, looked.sighting
                if sighting is None:
                    skip(sinks, frame)
                    missed += frame.dropped
                    continue
                if missed:
                    frame, missed = replace(frame, dropped=frame.dropped + missed), 0
                ruling = judge.judge(frame, sighting.recognition)
                record = make_frame_record(frame, sighting.recognition, ruling.verdict)
                publish(sinks, record, frame)
                publish_events(sinks, (*sighting.events, *ruling.events))
                tally.add(record)
                if tally.frames == selection.limit:
                    break
        for sink in sinks:
            sink.settle()
        reason = exit_reason(stop.requested, tally.frames == selection.limit, source.ended_early)
        summary = tally.summary(reason, all_warnings(header.warnings, source, sinks))
        publish(sinks, summary)
    except KestrelError as failure:
        warnings = (*all_warnings(header.warnings, source, sinks), *failure_note(failure))
        publish_last(sinks, tally.summary(reason_of(failure), warnings))
        raise
    return summary


def first_look(frames: Iterator[Frame], at_most: int) -> list[Frame]:
    """The frames up to the first one that shows something, to see whether it is what the model has learnt."""
    seen: list[Frame] = []
    for frame in islice(frames, at_most):
        seen.append(frame)
        if frame.image is not None and appearance_of(frame.image) != "blank":
            break
    return seen


def handed_on(seen: list[Frame], frames: Iterator[Frame]) -> Iterator[Frame]:
    """Those that were seen, and let go of, then the rest."""
    while seen:
        yield seen.pop(0)
    yield from frames


def publish(sinks: Iterable[Sink], record: Record, frame: Frame | None = None) -> None:
    """Hand the same record to every sink."""
    for sink in sinks:
        sink.write(record, frame)


def publish_events(sinks: Iterable[Sink], events: Iterable[Event]) -> None:
    """Hand on what changed with a frame, after its record."""
    for event in events:
        publish(sinks, event)


def publish_last(sinks: Iterable[Sink], summary: Summary) -> None:
    """Hand the summary of a failed run to the sinks that still work."""
    for sink in sinks:
        with suppress(KestrelError):
            sink.write(summary, None)


def skip(sinks: Iterable[Sink], frame: Frame) -> None:
    """Show a frame that is not recognised to every sink."""
    for sink in sinks:
        sink.skip(frame)


def all_warnings(notes: Sequence[str], source: Source, sinks: Iterable[Sink]) -> tuple[str, ...]:
    """What there is to warn of so far, each thing once."""
    said = (*notes, *source.warnings, *(warning for sink in sinks for warning in sink.warnings))
    return tuple(dict.fromkeys(said))


def exit_reason(stopped: bool, limited: bool, ended_early: bool) -> ExitReason:
    """Why the frames ended."""
    if stopped:
        return "interrupted"
    if limited:
        return "limit"
    return "truncated" if ended_early else "end_of_source"


def reason_of(failure: KestrelError) -> ExitReason:
    """The summary's word for a failure."""
    if isinstance(failure, BrokenStreamError):
        return "signal_lost"
    return "interrupted" if isinstance(failure, OutputClosedError) else "failed"


def failure_note(failure: KestrelError) -> tuple[str, ...]:
    """What the summary says of a failure; that nobody reads the output any more is none."""
    return () if isinstance(failure, OutputClosedError) else (str(failure),)
