"""What is told to systemd, or to whoever else speaks its notify protocol: starting, ready, alive, stopping.

https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html: datagrams of `NAME=value` lines.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping

from edge.records import Frame, FrameRecord, Header, Record, Summary
from edge.sinks.board import STARTS_WITHIN_S
from edge.sinks.sink import Sink

_START_EVERY_S = 5.0
_EXTEND = "EXTEND_TIMEOUT_USEC=60000000"


class Supervisor:
    """Says how the program is; says nothing where nobody listens. The watchdog is fed while every source lives.

    What may take minutes, loading a model, or building an engine for it at the first frame, is told as `starting`.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._watchdog_s = _watchdog_s(environment)
        self._lock = threading.Lock()
        self._awaited: dict[str, float] = {}  # what has begun, and has not come to anything yet -> since when
        self._beats: dict[str, float] = {}  # source -> when its last record came
        self._fed_at = -float("inf")
        self._ready = False
        self._over = threading.Event()

    @property
    def listens(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self._address)

    @contextlib.contextmanager
    def starting(self, what: str) -> Iterator[None]:
        """For the time that `what` takes, `starting` is told and no watchdog bites; so later for first frames."""
        if not self.listens:
            yield
            return
        self._awaited[what] = time.monotonic()
        threading.Thread(target=self._report_starts, name="starting", daemon=True).start()
        try:
            yield
        finally:
            with self._lock:
                self._awaited.pop(what)

    def hear(self, source: str, record: Record) -> None:
        """One record of a source: its first frame means ready, any means alive; after its summary it need not be."""
        now = time.monotonic()
        with self._lock:
            if isinstance(record, Header):
                self._awaited[f"first frame of {source}"] = now
                return
            self._awaited.pop(f"first frame of {source}", None)
            if isinstance(record, Summary):
                self._beats.pop(source, None)
                self.tell(f"STATUS={source}: stopped: {record.exit_reason}")
                return
            self._beats[source] = now
            due = not self._ready or is_due(now, self._fed_at, self._beats, self._watchdog_s)
            ready = [] if self._ready else ["READY=1"]
            if due and self.tell(*ready, "WATCHDOG=1", *_status(source, record)):
                self._ready, self._fed_at = True, now

    def wait(self, source: str) -> None:
        """A source that has begun waits for a picture: it lives, though it has no record to give yet."""
        now = time.monotonic()
        with self._lock:
            if source in self._beats:
                self._beats[source] = now
                if is_due(now, self._fed_at, self._beats, self._watchdog_s) and self.tell("WATCHDOG=1"):
                    self._fed_at = now

    def close(self) -> None:
        """The program ends. That a source does says nothing of it: others may begin later, as the next recording."""
        self._over.set()
        self.tell("STOPPING=1")

    def _report_starts(self) -> None:
        """While something is awaited, but not for ever: what takes too long hangs."""
        while True:
            now = time.monotonic()
            with self._lock:
                awaited = [(what, now - since) for what, since in self._awaited.items()]
            for what, waited_s in awaited[:1]:
                if waited_s < STARTS_WITHIN_S:
                    self.tell(f"STATUS=starting: {what}, {waited_s:.0f} s", "WATCHDOG=1", _EXTEND)
            if self._over.wait(_START_EVERY_S):
                return

    def tell(self, *lines: str) -> bool:
        """Send the lines in one datagram; whether it got through. A lost one is no reason to stop watching pedestrians,
        but what must be heard is said again: at boot, whoever listens may be too busy to take it."""
        if not self.listens:
            return False
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            address = self._address
            to.connect(f"\0{address[1:]}" if address.startswith("@") else address)
            text = "\n".join(line.replace("\n", " ") for line in lines)
            to.send(text.encode("utf-8", "backslashreplace"), socket.MSG_DONTWAIT)  # a file's name may be no text
            return True
        return False


class SupervisorSink(Sink):
    """Lets a supervisor hear every record of one source."""

    def __init__(self, supervisor: Supervisor, source: str) -> None:
        """`source` has its credentials redacted."""
        self.warnings: list[str] = []
        self._supervisor = supervisor
        self._source = source

    def write(self, record: Record, frame: Frame | None) -> None:  # noqa: ARG002
        """Pass it on."""
        self._supervisor.hear(self._source, record)

    def close(self) -> None:
        """Nothing is held."""


def is_due(now: float, fed_at: float, beats: Mapping[str, float], watchdog_s: float) -> bool:
    """Whether to feed: a quarter of the time has gone by, and every source gave a record within half of it.

    So one source that hangs is not covered up by others that live.
    """
    return now - fed_at >= watchdog_s / 4 and all(now - beat <= watchdog_s / 2 for beat in beats.values())


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """How long systemd waits for a sign of life; where it does not wait at all, how often the status is told."""
    mine = environment.get("WATCHDOG_PID") in (None, str(os.getpid()))
    with contextlib.suppress(ValueError):
        if mine and (microseconds := int(environment.get("WATCHDOG_USEC", "0"))) > 0:
            return microseconds / 1e6
    return 20.0


def _status(source: str, record: Record) -> list[str]:
    if not isinstance(record, FrameRecord):
        return []
    seen = "" if record.count is None else f", {record.count} in view"
    return [f"STATUS={source}: signal {record.signal.replace('_', ' ')}, verdict {record.verdict}{seen}"]
