import threading
from collections.abc import Iterator

import numpy as np
import pytest

from edge.errors import BrokenStreamError
from edge.records import Frame, SourceInfo
from edge.sources.ahead import ReadAhead
from edge.sources.source import Source

IMAGE = np.zeros((4, 4, 3), np.uint8)


class Film(Source):
    """So many frames, with a warning at some of them and perhaps a failure at the end."""

    def __init__(self, frames: int, warn_at: tuple[int, ...] = (), failure: Exception | None = None) -> None:
        self.info = SourceInfo("film", None, 30.0, frames, live=False)
        self.warnings = ["known at once"]
        self.decoded = 0
        self.closed = 0
        self.decoded_by: set[str] = set()
        self._frames, self._warn_at, self._failure = frames, warn_at, failure

    def __iter__(self) -> Iterator[Frame]:
        for seq in range(self._frames):
            self.decoded += 1
            self.decoded_by.add(threading.current_thread().name)
            if seq in self._warn_at:
                self.warnings.append(f"odd at {seq}")
            yield Frame(seq, IMAGE)
        if self._frames in self._warn_at:
            self.warnings.append("odd end")
            self.ended_early = True
        if self._failure:
            raise self._failure

    def close(self) -> None:
        self.closed += 1


def decoders() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "decode"]


@pytest.mark.parametrize("frames", [0, 1, 2, 3, 4, 50])
@pytest.mark.parametrize("capacity", [1, 3])
def test_every_frame_comes_once_in_order(frames: int, capacity: int) -> None:
    film = Film(frames)
    with ReadAhead(film, capacity) as source:
        assert [frame.seq for frame in source] == list(range(frames))
    assert film.decoded_by == ({"decode"} if frames else set())
    assert film.closed == 1
    assert decoders() == []


def test_no_more_than_the_capacity_waits_in_memory() -> None:
    film = Film(100)
    with ReadAhead(film, 3) as source:
        frames = iter(source)
        for seq in range(20):
            assert next(frames).seq == seq
            assert film.decoded <= seq + 1 + 3  # three wait, and the decoder waits for room before it decodes
    assert film.decoded < 30


def test_a_warning_shows_with_its_own_frame_and_not_ahead_of_it() -> None:
    with ReadAhead(Film(6, warn_at=(2, 3, 6))) as source:
        said = [len(source.warnings) for _ in source]
        assert said == [1, 1, 2, 3, 3, 3]
    assert source.warnings == ["known at once", "odd at 2", "odd at 3", "odd end"]


@pytest.mark.parametrize("early", [True, False])
def test_that_the_source_ended_early_is_known_once_its_last_frame_is_taken(early: bool) -> None:
    with ReadAhead(Film(2, warn_at=(2,) if early else ())) as source:
        assert [source.ended_early for _ in source] == [False, False]
        assert source.ended_early == early


def test_a_failure_comes_after_the_frames_before_it() -> None:
    taken: list[int] = []

    def read_all(source: Source) -> None:
        with source:
            for frame in source:
                taken.append(frame.seq)

    with pytest.raises(BrokenStreamError, match="the cable is out"):
        read_all(ReadAhead(Film(4, failure=BrokenStreamError("the cable is out"))))
    assert taken == [0, 1, 2, 3]
    assert decoders() == []


def test_whoever_stops_early_leaves_no_thread_behind() -> None:
    film = Film(1000)
    with ReadAhead(film) as source:
        assert next(iter(source)).seq == 0
    assert decoders() == []
    assert film.closed == 1
    source.close()
    assert film.decoded < 10


def test_nothing_is_decoded_before_somebody_asks() -> None:
    film = Film(5)
    with ReadAhead(film):
        assert film.decoded == 0
