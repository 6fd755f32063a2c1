"""Several live sources at once: each has its capture process, its loop in a thread, and its outputs; all share the
loaded model and take turns at it."""

import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

from edge.errors import KestrelError
from edge.interruption import Stop
from edge.records import Frame, Record, SizeWH
from edge.sinks.sink import Sink
from edge.view import Sighting, View

_LISTEN_S = 0.2  # Python gets to its signal handlers between two of these


@dataclass(frozen=True, slots=True)
class Turn:
    """Whose turn it is at the network, held meanwhile, how many sources share it, and what this one is called."""

    lock: threading.Lock
    sharers: int
    label: str  # no other source has it


class SharedView(View):
    """A view whose recognizer has other users, too: one at a time."""

    def __init__(self, view: View, turn: threading.Lock) -> None:
        self._view = view
        self._turn = turn

    def look(self, frame: Frame) -> Sighting:
        """Wait for the turn, then look."""
        with self._turn:
            return self._view.look(frame)

    def input_wh(self, frame_wh: SizeWH | None) -> SizeWH | None:
        """The network's input where it is the same for all frames."""
        return self._view.input_wh(frame_wh)


class LabelledSink(Sink):
    """Hands every record on with the name of its source, so that lines of several can stand in one place."""

    def __init__(self, sink: Sink, source: str) -> None:
        """`source` has its credentials redacted, and is no other's."""
        self.warnings = sink.warnings
        self._sink = sink
        self._source = source

    def write(self, record: Record, frame: Frame | None) -> None:
        """Headers have a source already; all others get one."""
        self._sink.write(replace(record, source=self._source), frame)

    def skip(self, frame: Frame) -> None:
        """Hand on."""
        self._sink.skip(frame)

    def idle(self) -> None:
        """Hand on."""
        self._sink.idle()

    def settle(self) -> None:
        """Hand on."""
        self._sink.settle()

    def close(self) -> None:
        """Close the sink."""
        self._sink.close()


def run_side_by_side(runs: Sequence[Callable[[], object]], stop: Stop) -> int:
    """Run all until the last one ends; the exit code is 1 where one failed. A failure of one does not stop the rest,
    unless it is that nobody reads our output any more, or a fault of ours.
    """
    code = 0
    with ThreadPoolExecutor(len(runs), thread_name_prefix="watch") as pool:
        pending = {pool.submit(run) for run in runs}
        while pending:
            done, pending = wait(pending, _LISTEN_S, FIRST_COMPLETED)
            for error in filter(None, (future.exception() for future in done)):
                if isinstance(error, KestrelError) and error.exit_code:
                    print(f"kestrel: {error}", file=sys.stderr, flush=True)
                    code = 1
                    continue
                stop.request()
                if not isinstance(error, KestrelError):
                    raise error
    return code
