"""One source: open it, make its outputs, run the loop.

watch_one("flight.mp4", Path("flight"), request, session)
"""

import sys
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

from edge import outputs
from edge.interruption import Stop
from edge.outputs import OutputOptions
from edge.recognizer import Recognizer
from edge.records import SourceInfo, Summary
from edge.results import clear
from edge.run_sinks import Run, make_sinks
from edge.side_by_side import LabelledSink, SharedView, Turn
from edge.sinks import Sink
from edge.sinks.shared import SharedOutputs
from edge.sinks.summary import Asked
from edge.sinks.terminal import TerminalSink
from edge.sources import LiveOptions, is_live, open_source, redact
from edge.sources.ahead import ReadAhead
from edge.sources.shrink import Fit
from edge.supervisor import Supervisor, SupervisorSink
from edge.verdict import Judge, VerdictOptions
from edge.view import ViewSettings, open_view
from edge.watch import Selection, Session, watch


@dataclass(frozen=True, slots=True)
class WatchRequest:
    """All that `kestrel watch` was asked for, apart from the model."""

    sources: tuple[str, ...]
    outputs: OutputOptions = field(default_factory=OutputOptions)
    selection: Selection = field(default_factory=Selection)
    live: LiveOptions = field(default_factory=LiveOptions)
    verdict: VerdictOptions = field(default_factory=VerdictOptions)
    view: ViewSettings = field(default_factory=ViewSettings)
    resume: bool = False
    show: bool = False
    shared: SharedOutputs | None = None  # page and messages, where they are open
    supervisor: Supervisor = field(default_factory=Supervisor)  # systemd, where it started us

    @property
    def frame_per_core(self) -> bool:
        """Whether each core may look at a frame of its own: a recording has the next one ready."""
        return self.view.plain and not any(is_live(uri) for uri in self.sources)


def watch_one(uri: str, folder: Path, request: WatchRequest, session: Session, turn: Turn | None = None) -> Summary:
    """Watch one source into one folder; where it shares the network with others, they take turns by `turn`.

    Raises:
        KestrelError: it cannot be opened, or failed on the way.
    """
    outputs.refuse_clashes(folder, request.outputs, uri)
    if is_live(uri):
        outputs.refuse_recorded(folder)
    elif request.resume:
        outputs.refuse_foreign(folder, request.outputs)
    session = replace(session, recognizer=session.recognizer.for_another_thread())  # palettes are a source's own
    recognizer, stop = session.recognizer, session.stop
    label = redact(uri) if turn is None else turn.label
    rule = request.verdict.applied_to(recognizer.metadata.verdict)

    def still_running() -> bool:
        request.supervisor.wait(label)
        return not stop.requested

    with ExitStack() as stack:
        source = stack.enter_context(
            open_source(uri, request.live, still_running=still_running, fit=_fit(request, recognizer))
        )
        sharers = 1 if turn is None else turn.sharers
        view = open_view(recognizer, request.view, lambda: source.info, sharers, request.selection.every)
        sinks: list[Sink] = _shown(request, stop)
        if not source.info.live:
            clear(folder, request.outputs.jsonl)
        run = Run(folder, request.outputs, source, rule.enter, asked_of(request, recognizer))
        sinks += make_sinks(run, request.shared)
        frames = expected_frames(source.info, request.selection)
        title = label if source.info.live else Path(uri).name or uri  # `.` and `/` have no name
        sinks.append(TerminalSink(title, folder, frames, words_to(request.outputs)))
        if request.supervisor.listens:
            sinks.append(SupervisorSink(request.supervisor, label))
        for sink in sinks:
            stack.enter_context(sink)
        if turn is not None:
            view, sinks = SharedView(view, turn.lock), [LabelledSink(sink, label) for sink in sinks]
        frames_of = source if source.info.live else stack.enter_context(ReadAhead(source))
        return watch(frames_of, session, sinks, request.selection, view, Judge(rule))


def _fit(request: WatchRequest, recognizer: Recognizer) -> Fit | None:
    """The network's own size, where only the network looks at the pictures, and once; else None, for whole pictures."""
    page = request.shared is not None and request.shared.http is not None
    if request.outputs.need_pictures or request.show or page or not request.view.plain:
        return None
    return lambda frame_wh: recognizer.place(frame_wh).content_wh


def asked_of(request: WatchRequest, recognizer: Recognizer) -> Asked:
    """How frames are to be looked at, apart from model and threshold, by the words of the command line."""
    exact_wh = recognizer.exact_input_wh
    rule = request.verdict.applied_to(recognizer.metadata.verdict)
    return {
        "--every": request.selection.every,
        "--size": "auto" if request.view.follow_load else str(exact_wh) if exact_wh else "the model's",
        "--tiles": request.view.tiles,
        "--enter": rule.enter,
        "--leave": rule.leave,
        "--enter-s": rule.enter_s,
        "--leave-s": rule.leave_s,
    }


def expected_frames(info: SourceInfo, selection: Selection) -> int | None:
    """How many frames of the source the loop will see, recognised or skipped; None where nobody knows."""
    counts = [info.frame_count, selection.limit and (selection.limit - 1) * selection.every + 1]
    return min((count for count in counts if count), default=None)


def _shown(request: WatchRequest, stop: Stop) -> list[Sink]:
    if not request.show:
        return []
    from edge.sinks.window import WindowSink

    return [WindowSink(stop)]


def words_to(options: OutputOptions) -> TextIO:
    """Where words for people go: standard output, unless records go there."""
    return sys.stderr if outputs.STDOUT in (options.jsonl, options.csv) else sys.stdout
