"""Several frames of a recording looked at at once, each on one core, and handed on in their order.

Two cores that share one frame take about 1.2 times as long as two that have a frame each. A live frame must be answered
as soon as it comes, so there the cores share it; a recording has the next one ready.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from edge.recognizer import Recognizer
from edge.records import Frame, SizeWH
from edge.view import Sighting, View, WholeView


@dataclass(frozen=True, slots=True)
class Looked:
    """A frame, and what was seen of it; None: it was not to be looked at."""

    frame: Frame
    sighting: Sighting | None


class SeparateCores(View):
    """A view of whole frames for several threads, each on one core; they share a network."""

    def __init__(self, recognizer: Recognizer) -> None:
        self._recognizer = recognizer
        self._own = threading.local()

    @property
    def at_once(self) -> int:
        """How many frames to look at at once."""
        return self._recognizer.frames_at_once

    def look(self, frame: Frame) -> Sighting:
        """Find the pedestrians of one frame."""
        view: WholeView | None = getattr(self._own, "view", None)
        if view is None:
            view = self._own.view = WholeView(self._recognizer.for_another_thread())
        return view.look(frame)

    def input_wh(self, frame_wh: SizeWH | None) -> SizeWH | None:
        """The network's input where it is the same for all frames."""
        return WholeView(self._recognizer).input_wh(frame_wh)


def looked_at(frames: Iterable[Frame], view: View, takes: Callable[[Frame], bool]) -> Generator[Looked, None, None]:
    """Every frame with what `view` sees of it, if `takes` says so; one after the other, or several at once.

    Raises:
        KestrelError: where the frame would have come that could not be read or looked at; those before it come first.
    """
    if view.at_once > 1:
        yield from _several(frames, view, takes)
        return
    for frame in frames:
        yield Looked(frame, view.look(frame) if takes(frame) else None)


def _several(frames: Iterable[Frame], view: View, takes: Callable[[Frame], bool]) -> Generator[Looked, None, None]:
    failure: Exception | None = None
    coming: Iterator[Frame] | None = iter(frames)
    due: deque[tuple[Frame, Future[Sighting] | None]] = deque()
    executor = ThreadPoolExecutor(view.at_once, "look")
    try:
        while due or coming is not None:
            while coming is not None and len(due) <= view.at_once:  # one waits, so that no thread does
                try:
                    frame = next(coming)
                except StopIteration:
                    coming = None
                except Exception as error:  # raised again after the frames before it
                    failure, coming = error, None
                else:
                    due.append((frame, executor.submit(view.look, frame) if takes(frame) else None))
            if due:
                frame, looking = due.popleft()
                yield Looked(frame, None if looking is None else looking.result())
        if failure is not None:
            raise failure
    finally:
        executor.shutdown(cancel_futures=True)
