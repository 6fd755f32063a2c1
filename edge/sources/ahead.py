"""A recording that is decoded ahead, in a thread of its own, so that decoding and recognition overlap."""

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from edge.records import Frame
from edge.sources.source import Source

CAPACITY = 1  # frames that wait here; one more waits in edge/at_once.py until a core is free


@dataclass(frozen=True, slots=True)
class _Item:
    """A frame, or the end: `frame` None, with the failure that ended it."""

    frame: Frame | None
    warnings: tuple[str, ...]  # what the source had to say since the frame before
    failure: BaseException | None = None


class ReadAhead(Source):
    """The same frames in the same order, each decoded while those before it are looked at.

    Everything happens for the reader as without: a warning shows with the frame that it came with, a failure of the
    source is raised where its next frame would have come. It closes the source that it was given.
    """

    def __init__(self, source: Source, capacity: int = CAPACITY) -> None:
        """Nothing is read before the first frame is asked for."""
        self.info = source.info
        self.warnings: list[str] = list(source.warnings)
        self._source = source
        self._capacity = capacity
        self._items: deque[_Item] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    def __iter__(self) -> Iterator[Frame]:
        self._thread = threading.Thread(target=self._read, name="decode", daemon=True)
        self._thread.start()
        while True:
            item = self._take()
            self.warnings.extend(item.warnings)
            if item.failure is not None:
                raise item.failure
            if item.frame is None:
                self.ended_early = self._source.ended_early
                return
            yield item.frame

    def close(self) -> None:
        """End the thread, then close the source."""
        with self._changed:
            self._closing = True
            self._items.clear()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._source.close()

    def _take(self) -> _Item:
        with self._changed:
            while not self._items:
                self._changed.wait()
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def _read(self) -> None:
        """The thread: frames until the source ends, fails, or is closed."""
        said, warnings = len(self.warnings), self._source.warnings
        failure: BaseException | None = None
        try:
            frames = iter(self._source)
            while self._has_room():
                frame = next(frames, None)
                if frame is None:
                    break
                news, said = tuple(warnings[said:]), len(warnings)
                self._put(_Item(frame, news))
        except BaseException as error:  # raised again where the frames are taken
            failure = error
        self._put(_Item(None, tuple(warnings[said:]), failure))

    def _has_room(self) -> bool:
        """Wait for room before a frame is decoded, so that none is held beside those that wait; False once closed."""
        with self._changed:
            while len(self._items) >= self._capacity and not self._closing:
                self._changed.wait()
            return not self._closing

    def _put(self, item: _Item) -> None:
        with self._changed:
            if not self._closing:
                self._items.append(item)
                self._changed.notify_all()
