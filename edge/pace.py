"""How much time there is for one recognition: as the user has it, or what the rate of the source leaves."""

from collections import deque
from collections.abc import Callable
from statistics import median

from edge.records import Frame, SourceInfo

ASSUMED_FPS = 30.0  # of a source that does not tell, until its frames have
_INTERVALS = 15  # of the newest frames; their median counts
_LEAST_INTERVALS = 5


class Pace:
    """The budget of one source, asked with each frame: a live source tells its rate late, and may change it.

    `asked_ms` is taken as it is. Else each of the `sharers` of a model gets its part of the time from one frame that is
    looked at to the next, every n-th of the source, so that together they keep up.
    """

    def __init__(
        self, asked_ms: float | None, info: Callable[[], SourceInfo], sharers: int = 1, every: int = 1
    ) -> None:
        """`info` gives what is known of the source by now."""
        self._asked_ms = asked_ms
        self._info = info
        self._sharers = sharers
        self._every = every
        self._intervals_s: deque[float] = deque(maxlen=_INTERVALS)
        self._captured_s: float | None = None

    def budget_ms(self, frame: Frame) -> float:
        """Milliseconds for one recognition, as of this frame."""
        self._measure(frame)
        told = self._info().fps
        looks = told / self._every if told else self._measured_looks() or ASSUMED_FPS / self._every  # a second
        return self._asked_ms or 1000 / (looks * self._sharers)

    def hurries(self, frame: Frame) -> bool:
        """Whether a recognition has to be over in time: no other picture of a folder waits for that."""
        return self._asked_ms is not None or frame.name is None

    def _measure(self, frame: Frame) -> None:
        """Take the interval of capture, frames that were dropped on the way counted."""
        before_s, self._captured_s = self._captured_s, frame.captured_s
        if before_s is not None and frame.captured_s is not None and frame.captured_s > before_s:
            self._intervals_s.append((frame.captured_s - before_s) / (1 + frame.dropped))

    def _measured_looks(self) -> float | None:
        """Frames a second that are looked at, had none been dropped. A gap in the signal does not move the median."""
        return None if len(self._intervals_s) < _LEAST_INTERVALS else 1 / median(self._intervals_s)
