"""SIGINT and SIGTERM as a polite request: finish the frame, the files and the summary, then go."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether somebody asked to stop; asked once, it stays so."""

    requested = False

    def request(self) -> None:
        """Ask to stop after the frame at hand."""
        self.requested = True


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """A `Stop` that the first signal requests; a second signal acts as if there were no handler. Main thread only."""
    stop = Stop()
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  # the signature is Python's
        stop.request()
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in _SIGNALS:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        restore()
