"""A sink behind a bounded queue, in a thread of its own, so that it can stall neither the loop nor another sink.

Recordings lose nothing: the loop waits for room, and a sink that fails ends the run. Live runs never wait: the oldest
frame in the queue gives way, and a sink that fails is made anew until it works again.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from edge.errors import OutputClosedError, ProcessingError
from edge.records import Frame, FrameRecord, Header, Record, Summary
from edge.sinks.sink import Sink, reason, say_at_once

RETRY_S = 10.0  # a full disk is looked at again this often
CLOSE_WITHIN_S = 1.5  # of the three that a service has to stop
_UNHURRIED_S = 30.0  # where nobody asked to stop
_IDLE_S = 0.25
_MOST_WARNINGS = 100  # kept for the summary; all are said
_MOST_ESSENTIAL = 256  # headers, events and summaries that wait beyond the capacity


class Deadline:
    """One moment for all sinks of a run, since they are closed one after another; the first one starts the clock."""

    def __init__(self, within_s: float | None) -> None:
        """None never comes."""
        self._within_s = within_s
        self._ends: float | None = None

    def allow(self, within_s: float) -> None:
        """Nobody is in a hurry: at least so long."""
        if self._within_s is not None:
            self._within_s = max(self._within_s, within_s)

    def remaining_s(self) -> float | None:
        """Seconds that are left, at least 0; None without end."""
        if self._within_s is None:
            return None
        if self._ends is None:
            self._ends = time.monotonic() + self._within_s
        return max(0.0, self._ends - time.monotonic())


@dataclass(frozen=True, slots=True)
class QueueRule:
    """How a sink is queued: `capacity` frames wait at most; without `images` the sink needs none and none are kept.

    Of a recording, the frame that the sink is busy with is one of them.
    """

    live: bool
    capacity: int
    images: bool
    retry_s: float = RETRY_S


@dataclass(frozen=True, slots=True)
class _Item:
    record: Record | None  # None: a skipped frame
    frame: Frame | None  # None as well: the sink is to settle

    @property
    def is_frame(self) -> bool:
        return self.record is None or isinstance(self.record, FrameRecord)


class QueuedSink(Sink):
    """Hands everything on to the sink that `make` makes, from a thread of its own."""

    def __init__(self, name: str, make: Callable[[], Sink], rule: QueueRule, deadline: Deadline) -> None:
        """Make the sink here, so that what cannot be created is refused at once.

        A live run also begins on a full disk: it comes back after a power cut, and nobody is there to make room.

        Raises:
            InvalidValueError: the sink cannot be created.
            ProcessingError: that of a recording cannot, since its disk is full or failing.
        """
        self.name = name
        self.warnings: list[str] = []
        self.dropped = 0  # records that never reached the sink
        self.failures = 0
        self._make = make
        self._rule = rule
        self._deadline = deadline
        self._sink: Sink | None = None
        self._header: Header | None = None
        self._failure: Exception | None = None
        self._told = False  # whether the failure has been raised
        self._retry_at = 0.0
        self._items: deque[_Item] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._busy = False  # whether the thread has an item in hand
        self._drop_note: int | None = None
        self._begin()
        self._thread = threading.Thread(target=self._work, name=f"sink {name}", daemon=True)
        self._thread.start()

    @property
    def failing(self) -> bool:
        """Whether the sink does not work at the moment."""
        return self._sink is None and not self._closing

    def write(self, record: Record, frame: Frame | None) -> None:
        """Queue one record.

        Raises:
            OutputClosedError: nobody reads the output any more.
            ProcessingError: the sink of a recording failed; in live runs the sink is made anew instead.
        """
        if isinstance(record, Summary) and record.exit_reason != "interrupted":
            self._deadline.allow(_UNHURRIED_S)
        self._put(_Item(record, frame if self._rule.images else None))

    def skip(self, frame: Frame) -> None:
        """Queue a frame that was not recognised, where the sink wants pictures."""
        if self._rule.images:
            self._put(_Item(None, frame))

    def settle(self) -> None:
        """In a recording wait until all that was queued is written and the sink has settled.

        Raises:
            ProcessingError: the sink failed.
        """
        if not self._rule.live:
            with self._changed:
                self._items.append(_Item(None, None))
                self._changed.notify_all()
                self._wait_until(lambda: not self._items and not self._busy)

    def close(self) -> None:
        """Let the sink finish, in a live run for as long as the deadline allows.

        Raises:
            ProcessingError: the sink of a recording failed.
        """
        first = not self._closing
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(self._deadline.remaining_s())
        if self._thread.is_alive() and first:
            say_at_once(f"{self.name} did not finish in time and is left as it is")
        if self._failure is not None and not self._told and not self._rule.live:
            self._told = True
            raise self._failure

    def _begin(self) -> None:
        try:
            self._sink = self._make()
        except ProcessingError as error:
            if not self._rule.live:
                raise
            self.failures += 1
            self._retry_at = time.monotonic() + self._rule.retry_s
            self._keep_warning(self._failed(error))  # said with the header
        self._gather_warnings()

    def _put(self, item: _Item) -> None:
        with self._changed:
            if self._failure is not None:
                self._told = True
                raise self._failure
            if not self._rule.live:
                if item.is_frame:
                    self._wait_until(lambda: len(self._items) + self._busy < self._rule.capacity)
            elif len(self._items) >= self._rule.capacity and not self._make_room(item):
                return
            self._items.append(item)
            self._changed.notify_all()

    def _wait_until(self, ready: Callable[[], bool]) -> None:
        """Within the lock: wait, and raise the failure where one comes first."""
        while self._failure is None and not ready():
            self._changed.wait()
        if self._failure is not None:
            self._told = True
            raise self._failure

    def _make_room(self, item: _Item) -> bool:
        """Drop the oldest frame. Where none waits, whatever is no frame waits in bounded number beside the capacity.

        Whether `item` may be queued.
        """
        oldest = next((index for index, waiting in enumerate(self._items) if waiting.is_frame), None)
        if oldest is not None:
            del self._items[oldest]
        elif not item.is_frame and len(self._items) < self._rule.capacity + _MOST_ESSENTIAL:
            return True
        self._count_drop()
        return oldest is not None

    def _count_drop(self) -> None:
        self.dropped += 1
        note = f"{self.name}: {self.dropped} records are missing, since it failed or could not keep up"
        if self._drop_note is None:
            self._drop_note = len(self.warnings)
            self.warnings.append(note)
            if not self.failing:
                say_at_once(f"{self.name} cannot keep up; records are dropped and counted")
        else:
            self.warnings[self._drop_note] = note

    def _work(self) -> None:
        """The thread: one item after another until closed, then finish the sink.

        After the summary of a live run nothing comes. Finishing then, not when it is asked to, lets all sinks do so at
        the same time.
        """
        while (item := self._next()) is not None:
            self._deliver(item)
            if self._rule.live and isinstance(item.record, Summary):
                break
        if self._sink is not None:
            try:
                self._sink.close()
            except Exception as error:
                self._keep_failure(error)

    def _next(self) -> _Item | None:
        """The next item; None once closed and empty. Idle meanwhile."""
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                if not self._items and not self._closing:
                    self._changed.wait(_IDLE_S)
                if self._items:
                    item, self._busy = self._items.popleft(), True
                    self._changed.notify_all()
                    return item
                if self._closing:
                    return None
            self._guarded(lambda sink: sink.idle())

    def _deliver(self, item: _Item) -> None:
        if isinstance(item.record, Header):
            self._header = item.record
        if self._sink is not None or self._revive(item):
            self._hand_over(item)
        # The header is said again by a sink that is made anew.
        if self._sink is None and self._rule.live and not isinstance(item.record, Header | Summary):
            with self._changed:
                self._count_drop()

    def _hand_over(self, item: _Item) -> None:
        if item.record is not None:
            record, frame = item.record, item.frame
            self._guarded(lambda sink: sink.write(record, frame))
        elif item.frame is not None:
            skipped = item.frame
            self._guarded(lambda sink: sink.skip(skipped))
        else:
            self._guarded(lambda sink: sink.settle())

    def _guarded(self, use: Callable[[Sink], None]) -> None:
        """Use the sink; where it fails, let go of it and say so."""
        if self._sink is None:
            return
        try:
            use(self._sink)
            self._gather_warnings()
        except Exception as error:  # a fault of one sink must not end the others
            self.failures += 1
            with contextlib.suppress(Exception):
                self._sink.close()
            self._sink = None
            self._retry_at = time.monotonic() + self._rule.retry_s
            self._keep_failure(error)

    def _revive(self, item: _Item) -> bool:
        """Make the sink anew where it is time to, or for the last time, and begin it with the header."""
        if not self._rule.live or self._failure is not None:
            return False
        if time.monotonic() < self._retry_at and not isinstance(item.record, Summary):
            return False
        try:
            self._sink = self._make()
            if self._header is not None and item.record is not self._header:
                self._sink.write(self._header, None)
        except Exception:
            if self._sink is not None:
                with contextlib.suppress(Exception):
                    self._sink.close()
            self._sink = None
            self._retry_at = time.monotonic() + self._rule.retry_s
            return False
        self._warn(f"{self.name} works again")
        return True

    def _keep_failure(self, error: Exception) -> None:
        """In a live run a warning; in a recording, or where the reader has left, for the loop to raise."""
        if self._rule.live and not isinstance(error, OutputClosedError):
            self._warn(self._failed(error))
            return
        with self._changed:
            self._failure = error if isinstance(error, ProcessingError | OutputClosedError) else _wrapped(error)
            self._changed.notify_all()

    def _failed(self, error: Exception) -> str:
        return f"{self.name} failed: {_in_words(error)}; trying again every {self._rule.retry_s:g} s"

    def _gather_warnings(self) -> None:
        for warning in self._sink.warnings if self._sink is not None else ():
            new = self._keep_warning(warning)
            if new and self._rule.live and self._header is not None:  # what is known before is said with the header
                say_at_once(warning)

    def _warn(self, text: str) -> None:
        self._keep_warning(text)
        say_at_once(text)

    def _keep_warning(self, text: str) -> bool:
        """Whether it is a new one; a run of months keeps a bounded number."""
        if text in self.warnings or len(self.warnings) >= _MOST_WARNINGS:
            return False
        self.warnings.append(text)
        return True


def _wrapped(error: Exception) -> ProcessingError:
    failure = ProcessingError(f"an output failed: {_in_words(error)}")
    failure.__cause__ = error
    return failure


def _in_words(error: Exception) -> str:
    return str(error) or reason(error)
