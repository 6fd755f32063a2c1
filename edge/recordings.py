"""Recordings, one after another: a folder of results each, what is finished already is left alone, a broken one does
not stop the rest."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edge import outputs
from edge.errors import InvalidValueError, KestrelError, OutputClosedError, ProcessingError, UnusableInputError
from edge.one_source import WatchRequest, asked_of, watch_one, words_to
from edge.recognizer import Recognizer
from edge.results import SUMMARY, read_summary
from edge.sources import LiveOptions, expand_recordings
from edge.watch import Session
from edge.whole_file import write_whole

# What `--resume` need not do again.
_FINISHED = ("end_of_source", "truncated")


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


def watch_recordings(request: WatchRequest, session: Session) -> int:
    """Watch one recording, or several one after another; the exit code is 1 where one of several failed.

    Raises:
        KestrelError: nothing could be done, or the only one failed on the way.
    """
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


def _refuse_live_options(live: LiveOptions) -> None:
    """Raises InvalidValueError for what a recording would look otherwise with, if it did anything there.

    What concerns the connection alone may stay: a file of options for a camera is tried on a recording.
    """
    for name in ("width", "height", "fps", "rotate", "flip"):
        value = getattr(live.capture, name)
        if value != getattr(LiveOptions().capture, name):
            advice = "turn the file itself" if name in ("rotate", "flip") else ""
            raise InvalidValueError(name, "left out for recordings, it is for live sources", value, advice)


def watch_several(recordings: Sequence[str], folder: Path, request: WatchRequest, session: Session) -> int:
    """Watch recordings one after another into folders inside `folder`; a broken one does not stop the rest.

    Raises:
        InvalidValueError: the outputs that were asked for cannot hold several recordings.
    """
    if len(recordings) > 1:
        outputs.refuse_shared_files(request.outputs)
    outcomes: list[Outcome] = []
    for recording, name in zip(recordings, outputs.folder_names(recordings), strict=True):
        if session.stop.requested:
            break
        outcomes.append(_attempt(recording, folder / name, request, session))
        write_combined(folder / SUMMARY, outcomes, len(recordings))
    return _report(outcomes, len(recordings), folder, request)


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
    print(f"{folder}/ is finished already{words}", file=words_to(request.outputs))


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
    print(f"{words}; all results: {folder}/", file=words_to(request.outputs))
    for outcome in failed:
        print(f"failed: {outcome.source}: {outcome.error}", file=sys.stderr)
    return 1 if failed else 0
