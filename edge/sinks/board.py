"""What is known of one source right now, for whoever asks from another thread: the page, Prometheus, a health check."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from edge.drawing import draw
from edge.records import Event, Frame, FrameRecord, Header, Image, ModelInfo, Record, SizeWH, Summary, Verdict, size_of

Health = Literal["starting", "ok", "bad_frame", "no_signal", "stuck", "lost", "ended"]
_LOST = ("signal_lost", "failed")  # how a run ends that nobody ended
_BLIND = ("stuck", "lost", "ended")  # nobody looks any more: what was seen last is not what is there now

STARTS_WITHIN_S = 3600.0  # building an engine for a GPU takes minutes; an hour without a first answer is a hang
STUCK_AFTER_S = 10.0  # a live source gives a frame a second; before a stall is one, it may be quiet
TIMELINE_S = 600
_RATE_OVER_S = 10
_STAGE_SAMPLES = 512
_LONG_SIDE_PX = 1280  # of the pictures that are shown; larger ones cost a board more than they tell
_QUALITY = 80
_NO_PICTURE = SizeWH(640, 360)


@dataclass(frozen=True, slots=True)
class Second:
    """What was seen in one second: the most people, the highest presence, the gravest verdict."""

    frames: int  # with a picture
    count: int | None
    presence: float | None
    verdict: Verdict

    def with_frame(self, record: FrameRecord) -> "Second":
        """One frame more."""
        return Second(
            self.frames + (record.signal == "ok"),
            max((c for c in (self.count, record.count) if c is not None), default=None),
            max((p for p in (self.presence, record.presence) if p is not None), default=None),
            min(self.verdict, record.verdict, key=("pedestrian", "unknown", "clear").index),
        )


@dataclass(frozen=True, slots=True)
class StageSummary:
    """Milliseconds of one stage: sum and number over all frames, median and 95th percentile of the latest ones."""

    total_ms: float
    frames: int
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class SinkState:
    """How one output does."""

    name: str
    dropped: int
    failures: int
    failing: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A source at one moment. Ages in seconds; None where nothing has come yet."""

    name: str
    title: str
    health: Health
    model: ModelInfo | None
    latest: FrameRecord | None
    verdict: Verdict
    verdict_for_s: float | None
    fps: float
    frames: int
    dropped: int
    reconnects: int
    appeared: int
    record_age_s: float | None  # since the latest record
    frame_age_s: float | None  # since the latest frame with a picture
    last_event: Event | None
    stages: Mapping[str, StageSummary]
    sinks: tuple[SinkState, ...]
    timeline: tuple[Second | None, ...]  # one a second, the last is now; None: no record


@dataclass(frozen=True, slots=True)
class EncodedPicture:
    """An annotated frame as JPEG; a later one has a higher number."""

    number: int
    jpeg: bytes


class Board:
    """The state of one source. The loop puts records in and never waits; others read from their own threads."""

    def __init__(
        self,
        name: str,
        sinks: Callable[[], Sequence[SinkState]] = tuple,
        clock: Callable[[], float] = time.monotonic,
        quiet_s: float = 0.0,
    ) -> None:
        """`name` tells sources of one process apart; `sinks` is asked for the state of the other outputs.

        The source may be quiet for so many seconds.
        """
        self.name = name
        self._ask_sinks = sinks
        self._clock = clock
        self._quiet_s = quiet_s
        self._changed = threading.Condition()
        self._encoding = threading.Lock()
        self._began = clock()
        self._header: Header | None = None
        self._latest: FrameRecord | None = None
        self._image: Image | None = None
        self._size_wh = _NO_PICTURE
        self._number = 0
        self._picture: EncodedPicture | None = None
        self._shows_notice = False
        self._record_at: float | None = None
        self._alive_at: float | None = None  # a frame came, whether it was looked at or not
        self._frame_at: float | None = None
        self._verdict_at: float | None = None
        self._frames = self._dropped = self._reconnects = self._appeared = 0
        self._was_away = False  # without signal since the latest frame with a picture
        self._event: Event | None = None
        self._ended = self._lost = False
        self._seconds: deque[tuple[int, Second]] = deque(maxlen=TIMELINE_S)
        self._stages: dict[str, _Stage] = {}

    def observe(self, record: Record, frame: Frame | None) -> None:
        """Take one record."""
        with self._changed:
            if isinstance(record, Header):
                self._header = record
                if record.size_wh is not None:
                    self._size_wh = record.size_wh
            elif isinstance(record, FrameRecord):
                self._observe_frame(record, frame)
            elif isinstance(record, Event):
                self._event = record
                self._appeared += record.event == "appeared"
            elif isinstance(record, Summary):
                self._ended = True
                self._lost = record.exit_reason in _LOST
            self._changed.notify_all()

    def skip(self) -> None:
        """A frame came that is not looked at (`--every`): a sign of life, but no reason to trust an old look again."""
        with self._changed:
            now = self._clock()
            if self._health(now) != "stuck":
                self._alive_at = now

    def end(self) -> None:
        """Nothing more will come."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def lost(self) -> bool:
        """Whether the run ended because its source was gone, or failed."""
        return self._lost

    def snapshot(self) -> Snapshot:
        """Everything at this moment."""
        sinks = tuple(self._ask_sinks())
        with self._changed:
            now = self._clock()
            health = self._health(now)
            latest, verdict_at = self._latest, self._verdict_at
            if latest is not None and health in _BLIND:
                verdict_at = verdict_at if latest.verdict == "unknown" else self._record_at
                latest = _notice(latest)
            return Snapshot(
                name=self.name,
                title=self._header.source if self._header else self.name,
                health=health,
                model=self._header.model if self._header else None,
                latest=latest,
                verdict="unknown" if latest is None else latest.verdict,
                verdict_for_s=None if verdict_at is None else now - verdict_at,
                fps=self._fps(now),
                frames=self._frames,
                dropped=self._dropped,
                reconnects=self._reconnects,
                appeared=self._appeared,
                record_age_s=None if self._record_at is None else now - self._record_at,
                frame_age_s=None if self._frame_at is None else now - self._frame_at,
                last_event=self._event,
                stages={name: stage.summary() for name, stage in self._stages.items()},
                sinks=sinks,
                timeline=self._timeline(now),
            )

    def picture(self, newer_than: int = -1, timeout_s: float = 0.0) -> EncodedPicture | None:
        """The latest annotated frame, encoded once for all who ask; None where no newer one came in time.

        Without signal, or where nobody looks any more, it is a notice, never an old picture.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._number > newer_than or self._newly_blind(), timeout_s)
            if self._newly_blind():
                self._shows_notice = True
                self._image = None
                self._number += 1
            number, image, size_wh = self._number, self._image, self._size_wh
            record = _notice(self._latest) if self._latest is None or self._shows_notice else self._latest
        if number <= newer_than:
            return None
        with self._encoding:
            if self._picture is None or self._picture.number < number:
                self._picture = EncodedPicture(number, _encode(image, record, size_wh))
            return self._picture

    def _newly_blind(self) -> bool:
        return not self._shows_notice and self._health(self._clock()) in _BLIND

    def _observe_frame(self, record: FrameRecord, frame: Frame | None) -> None:
        now = self._clock()
        if self._latest is None or record.verdict != self._latest.verdict:
            self._verdict_at = now
        self._was_away |= record.signal == "no_signal"
        if record.signal == "ok":
            self._reconnects += self._was_away and self._frame_at is not None
            self._was_away = False
        self._latest, self._record_at, self._alive_at = record, now, now
        self._image = None if frame is None else frame.image
        if self._image is not None:
            self._frame_at = now
            self._size_wh = size_of(self._image)
        self._shows_notice = False
        self._number += 1
        self._frames += 1
        self._dropped += record.dropped
        at = int(now)
        if self._seconds and self._seconds[-1][0] == at:
            self._seconds[-1] = (at, self._seconds[-1][1].with_frame(record))
        else:
            self._seconds.append(
                (at, Second(int(record.signal == "ok"), record.count, record.presence, record.verdict))
            )
        for name, milliseconds in (record.stage_ms or {}).items():
            if milliseconds is not None:
                self._stages.setdefault(name, _Stage()).add(milliseconds)

    def _health(self, now: float) -> Health:
        if self._ended:
            return "lost" if self._lost else "ended"
        if self._latest is None or self._alive_at is None:
            return "starting" if now - self._began <= STARTS_WITHIN_S else "stuck"
        if now - self._alive_at > STUCK_AFTER_S + self._quiet_s:
            return "stuck"
        return self._latest.signal

    def _fps(self, now: float) -> float:
        """Frames with a picture, over the last whole seconds."""
        this = int(now)
        whole = min(_RATE_OVER_S, this - int(self._began))
        if whole < 1:
            return 0.0
        return sum(second.frames for at, second in self._seconds if this - whole <= at < this) / whole

    def _timeline(self, now: float) -> tuple[Second | None, ...]:
        known = dict(self._seconds)
        first = max(int(self._began), int(now) - TIMELINE_S + 1)
        return tuple(known.get(at) for at in range(first, int(now) + 1))


class _Stage:
    """Times of one stage: all of them added up, the latest ones kept."""

    def __init__(self) -> None:
        self._total_ms = 0.0
        self._frames = 0
        self._latest: deque[float] = deque(maxlen=_STAGE_SAMPLES)

    def add(self, milliseconds: float) -> None:
        self._total_ms += milliseconds
        self._frames += 1
        self._latest.append(milliseconds)

    def summary(self) -> StageSummary:
        ordered = sorted(self._latest)
        last = len(ordered) - 1
        return StageSummary(self._total_ms, self._frames, ordered[last // 2], ordered[round(last * 0.95)])


def _notice(latest: FrameRecord | None) -> FrameRecord:
    return FrameRecord.unseen(0 if latest is None else latest.seq)


def _encode(image: Image | None, record: FrameRecord, size_wh: SizeWH) -> bytes:
    """The annotated picture as JPEG; dark grey where there is none."""
    if image is None:
        image = np.full((size_wh.height, size_wh.width, 3), 40, np.uint8)
    shown = draw(image, record)
    scale = _LONG_SIDE_PX / max(shown.shape[:2])
    if scale < 1:
        shown = np.asarray(cv2.resize(shown, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    return bytes(cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1])
