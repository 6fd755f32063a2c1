"""SIGINT, SIGTERM and SIGHUP as a polite request: finish the frame, the files and the summary, then go.

A terminal that is closed, or a connection to a board that breaks, sends SIGHUP; under `nohup` it stays ignored.
"""

import os
import select
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """Whether somebody asked to stop; asked once, it stays so."""

    requested = False

    def request(self) -> None:
        """Ask to stop after the frame at hand."""
        self.requested = True


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """A `Stop` that a signal requests; further ones change nothing, not even on the way out. Main thread only."""
    stop = Stop()
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    if before[signal.SIGHUP] is signal.SIG_IGN:
        del before[signal.SIGHUP]

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  # the signature is Python's
        stop.request()

    for number in before:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if stop.requested else handler)


@contextmanager
def leave_at_once() -> Iterator[None]:
    """While nothing is written yet: a signal ends the program with 0, even where the main thread sits in foreign code.

    Loading a model may take minutes, in which Python does not get to its own signal handlers. Main thread only.
    """
    wake, woken = os.pipe()
    over, told = os.pipe()
    os.set_blocking(woken, False)

    def wait() -> None:
        ready, _, _ = select.select([wake, over], [], [])
        if wake in ready:
            os._exit(0)

    thread = threading.Thread(target=wait, name="leave-at-once", daemon=True)
    thread.start()
    before = signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.write(told, b".")
        thread.join()
        for end in (wake, woken, over, told):
            os.close(end)
