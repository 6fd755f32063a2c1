"""What a person sees of a run: warnings, a progress bar, and the summary in words."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from edge.drawing import clock
from edge.records import PROCESSOR, Event, ExitReason, Frame, Header, Record, Summary
from edge.sinks.sink import Sink
from edge.stdio import let_go

_MOST_TOLD = 8  # sightings by their times; the chart and the records have all


class TerminalSink(Sink):
    """Warnings, lost signals and sizes that follow the load go to stderr as they come, the summary to `words`.

    The progress bar (frames, time left, frames a second) is drawn only where stderr is a terminal.
    """

    def __init__(self, title: str, results: Path, frames: int | None, words: TextIO) -> None:
        """`frames` is how many are expected; None where that is unknown, as for a camera."""
        self.warnings: list[str] = []
        self._title = title
        self._results = results
        self._words = words
        self._said: set[str] = set()
        self._sightings = Sightings()
        self._bar = tqdm(total=frames, desc=title, unit=" frames", disable=not sys.stderr.isatty(), leave=False)

    def write(self, record: Record, frame: Frame | None) -> None:
        """Show what the record says to a person."""
        if frame is not None:
            self._bar.update(1)
        if isinstance(record, Header) and record.provider != PROCESSOR:
            self._say(f"{self._title}: the network runs on {record.provider}")
        if isinstance(record, Event):
            self._sightings.add(record)
        if isinstance(record, Event) and record.event.startswith("size_"):
            self._say(f"{self._title}: {record.event.replace('_', ' ')}: {record.detail}")
        if isinstance(record, Event) and record.event.startswith("signal_"):
            why = f": {record.detail}" if record.detail else ""
            self._say(f"{self._title}: {record.event.replace('_', ' ')} at {record.captured_at or record.time_s}{why}")
        if isinstance(record, Header | Summary):
            for warning in _news(record):
                if warning not in self._said:
                    self._said.add(warning)
                    self._say(f"warning: {self._title}: {warning}")
        if isinstance(record, Summary):
            self.close()
            results = self._results if record.exit_reason != "failed" or _holds_anything(self._results) else None
            _print(in_words(self._title, record, results, self._sightings), self._words)

    def skip(self, frame: Frame) -> None:  # noqa: ARG002
        """A skipped frame is progress, too."""
        self._bar.update(1)

    def close(self) -> None:
        """Take the progress bar away."""
        self._bar.close()

    def _say(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._bar.clear()
        _print(text, sys.stderr)


class Sightings:
    """From when to when pedestrians were there, by the events of a recording; those of live runs do not count."""

    def __init__(self) -> None:
        self._count = 0
        self._begun: list[float] = []  # seconds, of the first ones
        self._ended: list[float] = []  # one fewer while the last goes on

    def add(self, event: Event) -> None:
        """Count an event."""
        if event.time_s is None or event.captured_at is not None:
            return
        if event.event == "appeared":
            self._count += 1
            if self._count <= _MOST_TOLD:
                self._begun.append(event.time_s)
        elif event.event == "gone" and len(self._ended) < len(self._begun):
            self._ended.append(event.time_s)

    def __str__(self) -> str:
        ends = [*(clock(end_s) for end_s in self._ended), "the last frame"]
        spans = [f"{clock(start_s)} to {end}" for start_s, end in zip(self._begun, ends, strict=False)]
        more = self._count - len(spans)
        return ", ".join(spans) + (f", and {more} {'time' if more == 1 else 'times'} more" if more else "")


def _print(text: str, to: TextIO) -> None:
    """Words for whoever reads; that nobody does, or that a log's disk is full, is no reason to stop watching."""
    try:
        print(f"{text}\n", end="", file=to, flush=True)  # in one piece: other sources write beside us
    except BrokenPipeError:
        let_go(to)
    except (OSError, ValueError):
        pass


def _news(record: Header | Summary) -> tuple[str, ...]:
    """The warnings; the last one of a failed run is its error, which ends the program and is shown then."""
    failed = isinstance(record, Summary) and record.exit_reason in ("failed", "signal_lost")
    return record.warnings[:-1] if failed else record.warnings


def _holds_anything(folder: Path) -> bool:
    """Whether a folder has a file that is not empty."""
    with suppress(OSError):
        return any(file.is_file() and file.stat().st_size for file in folder.iterdir())
    return False


def in_words(title: str, summary: Summary, results: Path | None, sightings: Sightings) -> str:
    """The summary for a person: how long it took, where people are, and where to look; `results` None: nowhere."""
    speed = "" if summary.fps is None else f" ({summary.fps:.1f} a second)"
    judged = "them" if summary.judged == summary.frames else f"the {summary.judged} that could be judged"
    frames = "1 frame" if summary.frames == 1 else f"{summary.frames} frames"
    lines = [f"{title}: {frames} in {summary.seconds:.1f} s{speed}, {_ENDS[summary.exit_reason]}"]
    if summary.pedestrian_share is None:
        lines.append("  no frame could be judged")
    elif summary.pedestrian_share == 0 and summary.max_count:  # many tiles, or a sighting too short for a verdict
        lines.append(f"  no frame was judged to show a pedestrian, though up to {summary.max_count} boxes were found")
    elif summary.pedestrian_share == 0:
        lines.append("  no pedestrian was recognised" + ("" if judged == "them" else f" in {judged}"))
    else:
        lines.append(
            f"  pedestrians in {_percent(summary.pedestrian_share)} of {judged}, at most {summary.max_count} at once"
        )
    if str(sightings):
        lines.append(f"  seen from {sightings}")
    if summary.dropped:
        lines.append(f"  {summary.dropped} {'frame was' if summary.dropped == 1 else 'frames were'} dropped to keep up")
    if results is not None:
        lines.append(f"  results: {results}/")
    return "\n".join(lines)


# The words for a summary's exit_reason.
_ENDS: dict[ExitReason, str] = {
    "end_of_source": "to the end",
    "limit": "to the limit",
    "interrupted": "then interrupted",
    "signal_lost": "then the signal was lost",
    "truncated": "to the end of what could be decoded",
    "failed": "then it failed",
}


def _percent(share: float) -> str:
    return "less than 1 %" if share < 0.01 else f"{100 * share:.0f} %"
