"""One source, several recordings one after another, or several live sources at once: open, create the outputs, run
the loop, say how it went."""

import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import repeat
from pathlib import Path
from threading import Lock
from typing import Any, Literal, TextIO

from edge import outputs
from edge.errors import InvalidValueError, KestrelError, OutputClosedError, ProcessingError, UnusableInputError
from edge.interruption import Stop
from edge.outputs import OutputOptions
from edge.recognizer import Recognizer
from edge.records import SourceInfo, Summary
from edge.results import SUMMARY, clear, read_summary
from edge.run_sinks import Run, make_sinks
from edge.side_by_side import LabelledSink, SharedView, Turn, run_side_by_side
from edge.sinks import Sink
from edge.sinks.shared import SharedOutputs
from edge.sinks.summary import Asked
from edge.sinks.terminal import TerminalSink
from edge.sources import LiveOptions, expand_recordings, is_live, open_source, redact
from edge.sources.ahead import ReadAhead
from edge.sources.shrink import Fit
from edge.supervisor import Supervisor, SupervisorSink
from edge.tally import Tally
from edge.tiles import refuse_small
from edge.verdict import Judge, VerdictOptions
from edge.view import ViewSettings, open_view
from edge.watch import Selection, Session, watch
from edge.whole_file import write_whole

# What `--resume` need not do again.
_FINISHED = ("end_of_source", "truncated")


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


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one of several recordings went."""

    source: str
    folder: Path
    status: Literal["done", "skipped", "failed", "interrupted"]
    summary: dict[str, Any] | None  # the recording's own; None where it was not watched, or not as far as to have one
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """One entry of the combined summary."""
        return {
            "source": self.source,
            "folder": str(self.folder),
            "status": self.status,
            "error": self.error,
            "summary": self.summary,
        }


def watch_sources(request: WatchRequest, session: Session) -> int:
    """Watch what the request names; the exit code is 1 where one of several sources failed.

    Raises:
        KestrelError: nothing could be done, or the only source failed on the way.
    """
    _refuse_misfits(request, session.recognizer)
    live = [is_live(uri) for uri in request.sources]
    if any(live) and not all(live):
        raise UnusableInputError(
            "SOURCEs must be all live or all recordings; start another `kestrel watch` for the rest"
        )
    if any(live):
        return watch_live(request, session)
    _refuse_live_options(request.live)
    if request.outputs.segment_s is None and request.outputs.video_budget.max_mb is not None:
        limit = request.outputs.video_budget.max_mb
        raise InvalidValueError("video_max_mb", "used together with --segment-s for recordings", limit)
    recordings = [recording for uri in request.sources for recording in expand_recordings(uri)]
    several = recordings != [request.sources[0]]
    out = request.outputs.out
    folder = outputs.choose_folder(request.sources[0], out) if len(request.sources) == 1 else out or Path("watched")
    if not request.resume:
        outputs.refuse_existing(folder, request.outputs)
    elif several:
        outputs.refuse_foreign_summary(folder, request.outputs)
    if several:
        return watch_several(recordings, folder, request, session)
    if request.resume and is_finished(recordings[0], folder, request):
        _say_finished(folder, session.recognizer, request)
        return 0
    watch_one(recordings[0], folder, request, session)
    return 0


def _refuse_misfits(request: WatchRequest, recognizer: Recognizer) -> None:
    """Before anything is written: raises InvalidValueError for options that do not go together with this model."""
    request.verdict.applied_to(recognizer.metadata.verdict)
    if request.view.tiles != "off" and recognizer.exact_input_wh is not None:
        refuse_small(recognizer.exact_input_wh)


def watch_live(request: WatchRequest, session: Session) -> int:
    """Watch cameras and streams: one, or several side by side with one model, each into a folder of its own.

    Raises:
        KestrelError: none could be opened, or the only one failed.
    """
    uris, out = request.sources, request.outputs.out
    if request.resume:
        raise UnusableInputError("--resume cannot be used with live sources; with --out they append to their results")
    if len(uris) == 1:
        watch_one(uris[0], outputs.choose_folder(uris[0], out), request, session)
        return 0
    refuse_shared_files(request.outputs)
    if request.show:
        raise UnusableInputError("--show cannot be used with several sources; watch one of them alone")
    turns = [Turn(lock, len(uris), label) for lock, label in zip(repeat(Lock()), told_apart(uris))]
    folders = outputs.choose_live_folders(uris, out)
    for uri in uris:
        open_source(uri, request.live).close()  # a typo in one is told before any of them begins
    runs = zip(uris, folders, turns, strict=True)
    return run_side_by_side(
        [partial(_watch_beside, uri, folder, request, session, turn) for uri, folder, turn in runs], session.stop
    )


def told_apart(uris: Sequence[str]) -> list[str]:
    """Their addresses without credentials; those that then look alike are numbered."""
    shown = [redact(uri) for uri in uris]
    return [one if shown.count(one) == 1 else f"{one} #{shown[: k + 1].count(one)}" for k, one in enumerate(shown)]


def _watch_beside(uri: str, folder: Path, request: WatchRequest, session: Session, turn: Turn) -> None:
    try:
        watch_one(uri, folder, request, session, turn)
    except KestrelError as error:
        if request.shared is not None and error.exit_code:
            request.shared.tell_lost(outputs.name_of_run(folder), Tally().summary("failed", (str(error),)))
        raise


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
        sinks.append(TerminalSink(_title(uri, source.info), folder, frames, _words(request.outputs)))
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


def watch_several(recordings: Sequence[str], folder: Path, request: WatchRequest, session: Session) -> int:
    """Watch recordings one after another into folders inside `folder`; a broken one does not stop the rest.

    Raises:
        InvalidValueError: the outputs that were asked for cannot hold several recordings.
    """
    if len(recordings) > 1:
        refuse_shared_files(request.outputs)
    outcomes: list[Outcome] = []
    for recording, name in zip(recordings, outputs.folder_names(recordings), strict=True):
        if session.stop.requested:
            break
        outcomes.append(_attempt(recording, folder / name, request, session))
        write_combined(folder / SUMMARY, outcomes, len(recordings))
    return _report(outcomes, len(recordings), folder, request)


def refuse_shared_files(options: OutputOptions) -> None:
    """Raises InvalidValueError where several recordings or sources would write into one file."""
    if options.csv == outputs.STDOUT:
        advice = "its rows do not say whose they are; the lines of --jsonl - do"
        raise InvalidValueError("csv", "left out for several recordings", "-", advice)
    for name, file in (("jsonl", options.jsonl), ("csv", options.csv)):
        if file not in (None, outputs.STDOUT):
            rule = "left out or '-'" if name == "jsonl" else "left out"  # as said above
            advice = "each one's folder has its own records.jsonl"
            raise InvalidValueError(name, f"{rule} for several recordings", str(file), advice)


def _attempt(recording: str, folder: Path, request: WatchRequest, session: Session) -> Outcome:
    try:
        if request.resume and is_finished(recording, folder, request):
            _say_finished(folder, session.recognizer, request)
            return Outcome(recording, folder, "skipped", read_summary(folder))
        summary = watch_one(recording, folder, request, session)
    except OutputClosedError:
        raise
    except KestrelError as error:
        print(f"kestrel: {error}", file=sys.stderr)
        nothing_written = isinstance(error, UnusableInputError)  # what is there is an earlier run's
        return Outcome(recording, folder, "failed", None if nothing_written else read_summary(folder), str(error))
    interrupted = summary.exit_reason == "interrupted"
    return Outcome(recording, folder, "interrupted" if interrupted else "done", read_summary(folder))


def is_finished(recording: str, folder: Path, request: WatchRequest) -> bool:
    """Whether an earlier run came to the end, or as far as the limit of this one, and wrote all that is asked for.

    Raises:
        InvalidValueError: it watched another recording.
    """
    selection, summary = request.selection, read_summary(folder)
    if summary is None:
        return False
    if not _is_of(recording, summary):
        if request.outputs.overwrite:
            return False
        advice = "add --overwrite to replace its results, or choose another folder with --out"
        earlier = f"{folder} of {summary.get('source')}"
        raise InvalidValueError("output", f"a folder of {recording} as it is now", earlier, advice)
    if not outputs.are_there(folder, request.outputs):
        return False
    if summary.get("exit_reason") == "limit" and selection.limit is not None:
        return int(summary.get("frames", 0)) >= selection.limit
    return summary.get("exit_reason") in _FINISHED


def _is_of(recording: str, summary: dict[str, Any]) -> bool:
    """Whether a summary is of this recording: as large, or, where it does not say how large, under the same path."""
    earlier, size = summary.get("source_bytes"), outputs.size_bytes(recording)
    if earlier is not None and size is not None:
        return bool(earlier == size)
    path = str(summary.get("source", recording))
    return not Path(path).exists() or Path(path).resolve() == Path(recording).resolve()


def _refuse_live_options(live: LiveOptions) -> None:
    """Raises InvalidValueError for what a recording would look otherwise with, if it did anything there.

    What concerns the connection alone may stay: a file of options for a camera is tried on a recording.
    """
    for name in ("width", "height", "fps", "rotate", "flip"):
        value = getattr(live.capture, name)
        if value != getattr(LiveOptions().capture, name):
            advice = "turn the file itself" if name in ("rotate", "flip") else ""
            raise InvalidValueError(name, "left out for recordings, it is for live sources", value, advice)


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


def _say_finished(folder: Path, recognizer: Recognizer, request: WatchRequest) -> None:
    """It stands as the earlier run left it: in what that was asked otherwise is said."""
    earlier = read_summary(folder) or {}
    model, threshold, before = (earlier.get(name) for name in ("model", "threshold", "asked"))
    other = []
    if model is not None and model.get("sha256") != recognizer.info.sha256:
        other.append(f"another model ({model.get('name')} {model.get('version')})")
    elif threshold not in (None, recognizer.threshold):
        other.append(f"--threshold {threshold:g}")
    if isinstance(before, dict):
        asked = asked_of(request, recognizer)
        other += [f"{name} {before[name]}" for name in asked if name in before and before[name] != asked[name]]
    words = f" with {' and '.join(other)}; leave out --resume and add --overwrite to do it again" if other else ""
    print(f"{folder}/ is finished already{words}", file=_words(request.outputs))


def expected_frames(info: SourceInfo, selection: Selection) -> int | None:
    """How many frames of the source the loop will see, recognised or skipped; None where nobody knows."""
    counts = [info.frame_count, selection.limit and (selection.limit - 1) * selection.every + 1]
    return min((count for count in counts if count), default=None)


def write_combined(path: Path, outcomes: Sequence[Outcome], recordings: int) -> None:
    """The summary of several recordings, whole or not at all.

    Raises:
        ProcessingError: it cannot be written.
    """
    combined = {
        "recordings": recordings,
        **{status: _count(outcomes, status) for status in ("done", "skipped", "failed", "interrupted")},
        "outcomes": [outcome.to_json() for outcome in outcomes],
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(combined, indent=2) + "\n")
    except OSError as error:
        raise ProcessingError(f"{path} could not be written: {error.strerror}") from None


def _count(outcomes: Sequence[Outcome], status: str) -> int:
    return sum(outcome.status == status for outcome in outcomes)


def _report(outcomes: Sequence[Outcome], recordings: int, folder: Path, request: WatchRequest) -> int:
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    done, skipped, interrupted = (_count(outcomes, status) for status in ("done", "skipped", "interrupted"))
    words = f"{done + skipped} of {recordings} recordings watched"
    words += f" ({skipped} of them earlier)" if skipped else ""
    words += ", the last one not to its end" if interrupted else ""
    print(f"{words}; all results: {folder}/", file=_words(request.outputs))
    for outcome in failed:
        print(f"failed: {outcome.source}: {outcome.error}", file=sys.stderr)
    return 1 if failed else 0


def _shown(request: WatchRequest, stop: Stop) -> list[Sink]:
    if not request.show:
        return []
    from edge.sinks.window import WindowSink

    return [WindowSink(stop)]


def _words(options: OutputOptions) -> TextIO:
    """Where words for people go: standard output, unless records go there."""
    return sys.stderr if outputs.STDOUT in (options.jsonl, options.csv) else sys.stdout


def _title(uri: str, info: SourceInfo) -> str:
    return info.uri if info.live else Path(uri).name or uri  # `.` and `/` have no name
