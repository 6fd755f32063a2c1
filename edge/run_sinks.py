"""The outputs of one run: which sinks its records go to, and which of them have a thread of their own."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from edge.errors import KestrelError
from edge.outputs import STDOUT, OutputOptions, name_of_run, size_bytes
from edge.results import CHART, PICTURES, RECORDS, SUMMARY, VIDEO
from edge.sinks import AnnotatedPicturesSink, ChartSink, CsvSink, JsonLinesSink, Sink, SummarySink, VideoSink
from edge.sinks.board import SinkState
from edge.sinks.clips import ClipsSink
from edge.sinks.queued import CLOSE_WITHIN_S, Deadline, QueuedSink, QueueRule
from edge.sinks.segments import SegmentsSink
from edge.sinks.shared import SharedOutputs
from edge.sinks.summary import Asked
from edge.sources import Source
from edge.sources.pictures import PicturesSource

_VIDEO_QUEUE = QueueRule(live=False, capacity=1, images=True)
_LIVE_LINES = QueueRule(live=True, capacity=1000, images=False)
_LIVE_PICTURES = QueueRule(live=True, capacity=8, images=True)
LIVE_FSYNC_S = 1.0  # with a record a second, a power cut so loses at most two
LIVE_SEGMENT_S = 600.0


@dataclass(frozen=True, slots=True)
class Run:
    """What the outputs of a run are made for."""

    folder: Path
    options: OutputOptions
    source: Source
    enter: float  # presence, which the chart marks
    asked: Asked = field(default_factory=dict)  # how frames are to be looked at


def make_sinks(run: Run, shared: SharedOutputs | None = None) -> list[Sink]:
    """Create the outputs of one run; `shared` is what all sources share.

    Those of a live run have threads of their own: none can stall the loop or another, and none ends the run.

    Raises:
        KestrelError: one of them cannot be created; those before it are closed again.
    """
    sources = 1 if shared is None else shared.sources
    sinks: list[Sink] = []
    try:
        for sink in _live(run, sources) if run.source.info.live else _recorded(run):
            sinks.append(sink)
    except KestrelError:
        for sink in sinks:
            sink.close()
        raise
    if shared is not None:
        sinks += shared.sinks(name_of_run(run.folder), partial(states, tuple(sinks)))
    return sinks


def states(sinks: Sequence[Sink]) -> list[SinkState]:
    """How those outputs do that can fail on their own."""
    return [
        SinkState(sink.name, sink.dropped, sink.failures, sink.failing)
        for sink in sinks
        if isinstance(sink, QueuedSink)
    ]


def _live(run: Run, sources: int) -> Iterator[Sink]:
    folder, options, fps = run.folder, run.options, run.source.info.fps
    fsync_s = LIVE_FSYNC_S if options.fsync_s is None else options.fsync_s
    deadline = Deadline(CLOSE_WITHIN_S)

    def queued(name: str, make: Callable[[], Sink], rule: QueueRule = _LIVE_LINES) -> Sink:
        return QueuedSink(name, make, rule, deadline)

    yield queued("summary", partial(SummarySink, folder / SUMMARY, asked=run.asked))
    yield queued("records", _records(run, append=True, fsync_s=fsync_s))
    if options.csv is not None:
        csv = None if options.csv == STDOUT else options.csv
        yield queued("csv", partial(CsvSink, csv, append=True, fsync_s=fsync_s))
    if options.video:
        segment_s, budget = options.segment_s or LIVE_SEGMENT_S, options.video_budget.share(sources)
        segments = partial(SegmentsSink, folder, segment_s, fps, budget, fsync_s)
        yield queued("annotated video", segments, _LIVE_PICTURES)
    if options.clips is not None:
        name = name_of_run(folder)
        clips = replace(options.clips, budget=options.clips.budget.share(sources))
        if sources > 1:
            clips = replace(clips, folder=clips.folder / name)
        yield queued("clips", partial(ClipsSink, clips, name, fps, fsync_s), _LIVE_PICTURES)
    yield queued("chart", partial(ChartSink, folder / CHART, run.enter, quick=True))


def _recorded(run: Run) -> Iterator[Sink]:
    folder, options, info = run.folder, run.options, run.source.info

    def queued(name: str, make: Callable[[], Sink]) -> Sink:
        """Drawn and encoded while the next frames are recognised."""
        return QueuedSink(name, make, _VIDEO_QUEUE, Deadline(None))

    yield SummarySink(folder / SUMMARY, size_bytes(info.uri), options.clips_folder, run.asked)
    if options.csv is not None:  # where it or clips cannot be begun, nothing else is
        yield CsvSink(None if options.csv == STDOUT else options.csv, fsync_s=options.fsync_s)
    if options.clips is not None:
        name = folder.name or "kestrel"
        yield queued("clips", partial(ClipsSink, options.clips, name, info.fps, options.fsync_s))
    yield _records(run, append=False, fsync_s=options.fsync_s)()
    if options.video and isinstance(run.source, PicturesSource):
        yield queued("annotated pictures", partial(AnnotatedPicturesSink, folder / PICTURES))
    elif options.video and options.segment_s is not None:
        segments = partial(SegmentsSink, folder, options.segment_s, info.fps, options.video_budget, options.fsync_s)
        yield queued("annotated video", segments)
    elif options.video and info.size_wh is not None:
        yield queued("annotated video", partial(VideoSink, folder / VIDEO, info.size_wh, info.fps))
    yield ChartSink(folder / CHART, run.enter)


def _records(run: Run, *, append: bool, fsync_s: float | None) -> Callable[[], Sink]:
    path = run.options.jsonl or run.folder / RECORDS
    rotation = run.options.rotation
    return partial(JsonLinesSink, None if path == STDOUT else path, append=append, fsync_s=fsync_s, rotation=rotation)
