"""Presence and count over a run of any length in bounded memory: neighbours are merged, peaks stay."""

from dataclasses import dataclass
from typing import TypeVar

from edge.records import FrameRecord

MAX_SPANS = 4096  # more than a chart has columns

_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True, slots=True)
class Span:
    """Frames beside each other: the highest presence and count among them."""

    start: float  # seconds, or index of the picture
    end: float
    presence: float | None  # None: no frame of the span had a signal
    count: int | None
    pedestrian: bool  # the verdict of any frame
    unknown: bool  # any frame without signal

    def merged(self, later: "Span") -> "Span":
        """Both as one."""
        return Span(
            self.start,
            later.end,
            _highest(self.presence, later.presence),
            _highest(self.count, later.count),
            self.pedestrian or later.pedestrian,
            self.unknown or later.unknown,
        )


class Timeline:
    """Collects frame records in order; at most `MAX_SPANS` spans, each of the same number of frames."""

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self._frames_each = 1
        self._open: Span | None = None
        self._open_frames = 0

    def add(self, record: FrameRecord) -> None:
        """Take one frame."""
        at = record.time_s if record.time_s is not None else float(record.seq)
        unknown = record.verdict == "unknown"
        span = Span(at, at, record.presence, record.count, record.verdict == "pedestrian", unknown)
        self._open = span if self._open is None else self._open.merged(span)
        self._open_frames += 1
        if self._open_frames < self._frames_each:
            return
        self._spans.append(self._open)
        self._open, self._open_frames = None, 0
        if len(self._spans) == MAX_SPANS:
            self._spans = [a.merged(b) for a, b in zip(self._spans[::2], self._spans[1::2], strict=True)]
            self._frames_each *= 2

    def spans(self) -> list[Span]:
        """All frames so far."""
        return [*self._spans, self._open] if self._open else list(self._spans)


def runs(spans: list[Span], chosen: list[bool], end: float) -> list[tuple[float, float]]:
    """Start and end of each unbroken run of chosen spans; a run reaches to the span after it, the last one to `end`."""
    found: list[tuple[float, float]] = []
    start: float | None = None
    for span, is_chosen in zip(spans, chosen, strict=True):
        if is_chosen and start is None:
            start = span.start
        if not is_chosen and start is not None:
            found.append((start, span.start))
            start = None
    if start is not None:
        found.append((start, end))
    return found


def _highest(one: _Number | None, other: _Number | None) -> _Number | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)
