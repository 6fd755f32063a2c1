"""The newest picture of a camera, handed from the thread that captures to the one that answers."""

from dataclasses import dataclass
from threading import Condition

from edge.capture.messages import Failed, Opened, Taken


@dataclass(frozen=True, slots=True)
class Numbered:
    """A picture and how many the camera had taken with it."""

    number: int
    taken: Taken


class Newest:
    """Keeps one picture: a newer one takes the place of one that nobody fetched.

    What is fetched comes in this order: that the camera is open, the newest picture, that it failed.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._opened: Opened | None = None
        self._picture: Numbered | None = None
        self._failed: Failed | None = None
        self._count = 0

    def put(self, news: Opened | Taken | Failed) -> None:
        """Add what the camera gave; whoever waits is woken."""
        with self._changed:
            if isinstance(news, Opened):
                self._opened = news
            elif isinstance(news, Failed):
                self._failed = news
            else:
                self._count += 1 + news.skipped
                self._picture = Numbered(self._count, news)
            self._changed.notify()

    def fetch(self, timeout_s: float) -> Opened | Numbered | Failed | None:
        """What is new, each once but a failure, which stays; None where nothing came in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._opened or self._picture or self._failed, timeout_s)
            opened, self._opened = self._opened, None
            if opened is not None:
                return opened
            picture, self._picture = self._picture, None
            return picture or self._failed
