import dataclasses
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from edge.at_once import Looked, SeparateCores, looked_at
from edge.errors import BrokenStreamError, ProcessingError
from edge.recognizer import Recognizer, RecognizerSettings
from edge.records import Frame, SourceInfo
from edge.sources import Source
from edge.view import Sighting, ViewSettings, WholeView, open_view
from tests.edge.spots import crossing
from tests.models import write_spot_model

FRAMES = 12
FILM = SourceInfo("film.mp4", None, 30.0, FRAMES, live=False)


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory) -> Recognizer:
    model = write_spot_model(tmp_path_factory.mktemp("models") / "spots.onnx", modality="rgb")
    return Recognizer(model, RecognizerSettings(threads=2, frame_per_core=True))


class Film(Source):
    """Frames with a spot that crosses; breaks off where told."""

    def __init__(self, breaks_at: int = FRAMES) -> None:
        self.info, self.warnings = FILM, []
        self._breaks_at = breaks_at

    def __iter__(self) -> Iterator[Frame]:
        for seq, image in enumerate(crossing(FRAMES)):
            if seq == self._breaks_at:
                raise BrokenStreamError("it broke off")
            yield Frame(seq, image)

    def close(self) -> None:
        pass


def test_frames_come_in_their_order_as_if_one_after_the_other(recognizer):
    one, several = Film(), Film()
    wanted = list(looked_at(one, WholeView(recognizer), lambda frame: frame.seq % 3 != 1))
    found = list(looked_at(several, SeparateCores(recognizer), lambda frame: frame.seq % 3 != 1))
    assert [looked.frame.seq for looked in found] == list(range(FRAMES))
    assert any(len(looked.sighting.recognition.scores) for looked in wanted if looked.sighting)
    for mine, theirs in zip(found, wanted, strict=True):
        assert (mine.sighting is None) == (theirs.sighting is None)
        if mine.sighting is not None:
            np.testing.assert_array_equal(mine.sighting.recognition.boxes_xyxy, theirs.sighting.recognition.boxes_xyxy)
            np.testing.assert_array_equal(mine.sighting.recognition.scores, theirs.sighting.recognition.scores)


def test_what_was_read_before_the_source_broke_comes_first(recognizer):
    film, seen = Film(breaks_at=5), []
    looking = looked_at(film, SeparateCores(recognizer), lambda _: True)
    with pytest.raises(BrokenStreamError, match="it broke off"):
        note(looking, seen)
    assert seen == [0, 1, 2, 3, 4]


def note(looking: Iterator[Looked], seen: list[int]) -> None:
    """What comes before a failure counts."""
    for looked in looking:
        seen.append(looked.frame.seq)


class Failing(SeparateCores):
    """Fails at the third frame, and is slow at the first."""

    def look(self, frame: Frame) -> Sighting:
        if frame.seq == 0:
            time.sleep(0.05)
        if frame.seq == 2:
            raise ProcessingError("no memory")
        return super().look(frame)


def test_a_failed_look_is_told_in_its_turn_and_ends_the_threads(recognizer):
    film, seen = Film(), []
    looking = looked_at(film, Failing(recognizer), lambda _: True)
    with pytest.raises(ProcessingError, match="no memory"):
        note(looking, seen)
    assert seen == [0, 1]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("look")]


def test_whoever_stops_early_leaves_no_thread(recognizer):
    film = Film()
    looking = looked_at(film, SeparateCores(recognizer), lambda _: True)
    assert next(looking).frame.seq == 0
    looking.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("look")]


def test_only_recordings_are_looked_at_several_frames_at_once(recognizer, tmp_path):
    plain = ViewSettings()
    assert isinstance(open_view(recognizer, plain, FILM), SeparateCores)
    assert isinstance(open_view(recognizer, plain, dataclasses.replace(FILM, live=True)), WholeView)
    file = write_spot_model(tmp_path / "spots.onnx", modality="rgb")
    for settings in (RecognizerSettings(threads=1, frame_per_core=True), RecognizerSettings(threads=2)):
        assert isinstance(open_view(Recognizer(file, settings), plain, FILM), WholeView)
    thermal = Recognizer(write_spot_model(tmp_path / "t.onnx"), RecognizerSettings(threads=2, frame_per_core=True))
    assert thermal.remembers  # the palette of the frame before
    assert isinstance(open_view(thermal, plain, FILM), WholeView)
