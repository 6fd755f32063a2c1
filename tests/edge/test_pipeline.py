"""Decoding, recognition and encoding beside each other: for the user as if one came after the other."""

import json
import threading
from pathlib import Path

import av
import pytest

from edge.errors import BrokenStreamError, ProcessingError
from edge.interruption import Stop
from edge.one_source import WatchRequest
from edge.outputs import OutputOptions
from edge.recognizer import Recognizer, RecognizerSettings
from edge.records import Frame, FrameRecord, Record
from edge.sinks import Sink
from edge.sinks.queued import Deadline, QueuedSink, QueueRule
from edge.sources import Source, open_source
from edge.sources.ahead import ReadAhead
from edge.watch import Session, watch
from edge.watch_sources import watch_sources
from tests.edge.spots import crossing, write_video
from tests.models import write_spot_model

RECORDING = QueueRule(live=False, capacity=2, images=True)


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory):
    file = write_spot_model(tmp_path_factory.mktemp("models") / "spots.onnx")
    return Recognizer(file, RecognizerSettings(threads=1))


@pytest.fixture(autouse=True)
def _no_thread_is_left_behind():
    before = set(threading.enumerate())
    yield
    left = [t.name for t in threading.enumerate() if t not in before and not t.name.startswith("tqdm")]
    assert left == []


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]


def run(recording: Path, out: Path, recognizer: Recognizer, **options) -> list[dict]:
    request = WatchRequest((str(recording),), outputs=OutputOptions(out=out, **options))
    watch_sources(request, Session(recognizer))
    return lines(out)


def test_the_same_frames_come_in_the_same_order_with_and_without_a_video(tmp_path, recognizer):
    video = write_video(tmp_path / "flight.mp4", crossing(30))
    with_video = run(video, tmp_path / "a", recognizer)
    without = run(video, tmp_path / "b", recognizer, video=False)
    for one, other in zip(with_video, without, strict=True):
        if one["record"] == "frame":
            kept = ("seq", "time_s", "verdict", "count")
            assert [one[key] for key in kept] == [other[key] for key in kept]
    with av.open(str(tmp_path / "a" / "annotated.mp4")) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert times == pytest.approx([line["time_s"] for line in with_video if line["record"] == "frame"], abs=1e-4)


def test_two_runs_write_the_same_records(tmp_path, recognizer):
    video = write_video(tmp_path / "flight.mp4", crossing(12))
    first, second = run(video, tmp_path / "a", recognizer), run(video, tmp_path / "b", recognizer)
    for one, other in zip(first, second, strict=True):
        for changing in ("started_at", "stage_ms", "seconds", "fps"):
            one.pop(changing, None)
            other.pop(changing, None)
    assert first == second


class Failing(Sink):
    """Fails at the frame of that number."""

    def __init__(self, at: int) -> None:
        self.warnings: list[str] = []
        self.seen: list[int] = []
        self._at = at

    def write(self, record: Record, frame: Frame | None) -> None:
        if isinstance(record, FrameRecord):
            if record.seq == self._at:
                raise ProcessingError("annotated.mp4 could not be written further: the disk is full")
            self.seen.append(record.seq)

    def skip(self, frame: Frame) -> None:
        pass

    def close(self) -> None:
        pass


class Notes(Failing):
    """Keeps the records."""

    def __init__(self) -> None:
        super().__init__(at=-1)
        self.records: list[Record] = []

    def write(self, record: Record, frame: Frame | None) -> None:
        self.records.append(record)


def watch_all(source: Source, recognizer: Recognizer, *sinks: Sink, stop: Stop | None = None) -> None:
    with source:
        try:
            watch(source, Session(recognizer, stop or Stop()), sinks)
        finally:
            for sink in sinks:
                sink.close()


@pytest.mark.parametrize("at", [0, 5, 29])
def test_a_failing_encoder_stops_everything_with_its_own_error(tmp_path, recognizer, at):
    video = write_video(tmp_path / "flight.mp4", crossing(30))
    notes, encoder = Notes(), Failing(at)
    queued = QueuedSink("annotated video", lambda: encoder, RECORDING, Deadline(None))
    with pytest.raises(ProcessingError, match="the disk is full"):
        watch_all(ReadAhead(open_source(str(video))), recognizer, notes, queued)
    assert encoder.seen == list(range(at))
    summaries = [record for record in notes.records if hasattr(record, "exit_reason")]
    assert [summary.exit_reason for summary in summaries] == ["failed"]
    assert "the disk is full" in summaries[0].warnings[-1]


class Torn(Source):
    """A recording whose disk is pulled out after three frames."""

    def __init__(self, video: Path) -> None:
        self._source = open_source(str(video))
        self.info, self.warnings = self._source.info, self._source.warnings

    def __iter__(self):
        for frame in self._source:
            if frame.seq == 3:
                raise BrokenStreamError("flight.mp4 could not be read further: input/output error")
            yield frame

    def close(self) -> None:
        self._source.close()


def test_a_failing_decoder_stops_everything_after_the_frames_that_it_gave(tmp_path, recognizer):
    notes, encoder = Notes(), Failing(at=-1)
    queued = QueuedSink("annotated video", lambda: encoder, RECORDING, Deadline(None))
    source = ReadAhead(Torn(write_video(tmp_path / "flight.mp4", crossing(30))))
    with pytest.raises(BrokenStreamError, match="could not be read further"):
        watch_all(source, recognizer, notes, queued)
    assert encoder.seen == [0, 1, 2]
    assert [record.seq for record in notes.records if isinstance(record, FrameRecord)] == [0, 1, 2]


class StopsAt(Notes):
    """Asks to stop at the frame of that number, as Ctrl-C does."""

    def __init__(self, stop: Stop, at: int) -> None:
        super().__init__()
        self._stop, self._stop_at = stop, at

    def write(self, record: Record, frame: Frame | None) -> None:
        super().write(record, frame)
        if isinstance(record, FrameRecord) and record.seq == self._stop_at:
            self._stop.request()


def test_a_stop_finishes_the_frames_at_hand_and_no_others(tmp_path, recognizer):
    stop, encoder = Stop(), Failing(at=-1)
    notes = StopsAt(stop, at=6)
    queued = QueuedSink("annotated video", lambda: encoder, RECORDING, Deadline(None))
    video = write_video(tmp_path / "flight.mp4", crossing(30))
    watch_all(ReadAhead(open_source(str(video))), recognizer, notes, queued, stop=stop)
    assert encoder.seen == [record.seq for record in notes.records if isinstance(record, FrameRecord)] == list(range(7))
    assert notes.records[-1].exit_reason == "interrupted"
