import json
import os
import signal
import time
from collections.abc import Iterator

import pytest

from edge.errors import BrokenStreamError, InvalidValueError, OutputClosedError, ProcessingError
from edge.interruption import Stop, stop_on_signals
from edge.recognizer import Recognizer, RecognizerSettings
from edge.records import Event, Frame, FrameRecord, Header, Record, SizeWH, SourceInfo, Summary
from edge.sinks import JsonLinesSink, Sink
from edge.sources import Source, open_source
from edge.watch import Selection, Session, handed_on, watch
from tests.edge.spots import HEIGHT, WIDTH, crossing, spots, write_pictures, write_video
from tests.models import write_spot_model


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def recognizer(models):
    return Recognizer(write_spot_model(models / "spots.onnx"), RecognizerSettings(threads=1))


class Notebook(Sink):
    """Keeps all that it is given."""

    def __init__(self) -> None:
        self.warnings = ["the notebook has no lines"]
        self.records: list[Record] = []
        self.skipped: list[int] = []

    def write(self, record: Record, frame: Frame | None) -> None:
        assert (frame is not None) == isinstance(record, FrameRecord)
        self.records.append(record)

    def skip(self, frame: Frame) -> None:
        self.skipped.append(frame.seq)

    def close(self) -> None:
        pass

    def frames(self) -> list[FrameRecord]:
        return [record for record in self.records if isinstance(record, FrameRecord)]


class FullDisk(Notebook):
    """Fails at its third record, and at everything after it."""

    def write(self, record: Record, frame: Frame | None) -> None:
        if len(self.records) >= 2:
            raise ProcessingError("the disk is full")
        super().write(record, frame)


class ClosedPipe(Notebook):
    def write(self, record: Record, frame: Frame | None) -> None:
        raise OutputClosedError("the reader went away")


class Camera(Source):
    """A live source made of a list; None is a frame without signal."""

    def __init__(self, images, error=None) -> None:
        self.info = SourceInfo("camera", SizeWH(WIDTH, HEIGHT), None, None, live=True)
        self.warnings: list[str] = []
        self.read = 0
        self._images, self._error = images, error

    def __iter__(self) -> Iterator[Frame]:
        for seq, image in enumerate(self._images):
            self.read += 1
            yield Frame(
                seq,
                image,
                time_s=float(seq),
                captured_at="2026-01-01T00:00:00.000+00:00",
                captured_s=None if image is None else time.monotonic(),
                signal="no_signal" if image is None else "ok",
                dropped=2,
            )
        if self._error:
            raise self._error

    def close(self) -> None:
        pass


def run(source, recognizer, *sinks, stop=None, notes=(), **selection):
    notebook = Notebook()
    with source:
        summary = watch(source, Session(recognizer, stop or Stop(), notes), [notebook, *sinks], Selection(**selection))
    return notebook, summary


def test_a_video_has_a_header_every_frame_its_events_and_a_summary(tmp_path, recognizer):
    notebook, summary = run(open_source(str(write_video(tmp_path / "a.mp4", crossing()))), recognizer)
    header, *between, last = notebook.records
    assert isinstance(header, Header)
    assert (header.size_wh, header.input_wh, header.fps) == (SizeWH(WIDTH, HEIGHT), SizeWH(WIDTH, HEIGHT), 10)
    assert header.warnings == ("the notebook has no lines",)
    assert [record.seq for record in notebook.frames()] == list(range(20))
    assert [record.time_s for record in notebook.frames()] == pytest.approx([index / 10 for index in range(20)])
    assert last is summary
    assert (summary.frames, summary.exit_reason, summary.max_count) == (20, "end_of_source", 1)
    events = [record for record in between if isinstance(record, Event)]
    assert [(event.event, round(event.time_s, 3)) for event in events] == [("appeared", 0.6), ("gone", 1.7)]
    # an event follows the frame that it came with
    assert between[between.index(events[0]) - 1].verdict == "pedestrian"
    assert between[between.index(events[0]) - 2].verdict == "clear"


def test_people_are_found_where_they_walk(tmp_path, recognizer):
    notebook, _ = run(open_source(str(write_video(tmp_path / "a.mp4", crossing()))), recognizer)
    for record in notebook.frames():
        boxes = [pedestrian.box_xyxy for pedestrian in record.pedestrians]
        x = 40 + 4 * record.seq
        assert boxes == ([(x, 80, x + 12, 92)] if 5 <= record.seq <= 11 else [])


def test_records_say_how_long_each_stage_took(tmp_path, recognizer):
    notebook, summary = run(open_source(str(write_video(tmp_path / "a.mp4", crossing(3)))), recognizer)
    for record in notebook.frames():
        assert list(record.stage_ms) == ["decode", "preprocess", "infer", "postprocess", "track"]
        assert record.stage_ms["infer"] > 0
        assert record.stage_ms["track"] is None
    assert summary.stage_ms["infer"].max > 0
    assert summary.stage_ms["track"] is None


def test_pictures_are_judged_alone_and_carry_their_names(tmp_path, recognizer):
    folder = write_pictures(tmp_path / "pictures", [spots((40, 80)), spots(), spots((40, 80), (100, 20))])
    notebook, summary = run(open_source(str(folder)), recognizer)
    assert [(r.name, r.verdict, r.count, r.time_s) for r in notebook.frames()] == [
        ("000.png", "pedestrian", 1, None),
        ("001.png", "clear", 0, None),
        ("002.png", "pedestrian", 2, None),
    ]
    assert notebook.records[0].size_wh is None
    assert notebook.records[0].input_wh is None
    assert not any(isinstance(record, Event) for record in notebook.records)
    assert summary.pedestrian_share == pytest.approx(2 / 3)


def test_a_picture_that_cannot_be_decoded_is_unknown_and_does_not_stop_the_rest(tmp_path, recognizer):
    folder = write_pictures(tmp_path / "pictures", [spots((40, 80)), spots(), spots()])
    (folder / "001.png").write_bytes(b"no picture")
    notebook, summary = run(open_source(str(folder)), recognizer)
    assert [record.verdict for record in notebook.frames()] == ["pedestrian", "unknown", "clear"]
    broken = notebook.frames()[1].to_json()
    assert [broken[key] for key in ("presence", "count", "coverage", "stage_ms")] == [None] * 4
    assert broken["pedestrians"] == []
    assert (summary.exit_reason, summary.pedestrian_share) == ("end_of_source", 0.5)
    assert any("001.png" in warning for warning in summary.warnings)


def test_every_nth_frame_is_recognised_and_the_others_are_shown(tmp_path, recognizer):
    source = open_source(str(write_video(tmp_path / "a.mp4", crossing(10))))
    notebook, summary = run(source, recognizer, every=4)
    assert [record.seq for record in notebook.frames()] == [0, 4, 8]
    assert notebook.skipped == [1, 2, 3, 5, 6, 7, 9]
    assert summary.frames == 3


def test_the_limit_counts_recognised_frames_and_reads_no_further(recognizer):
    camera = Camera([spots()] * 50)
    notebook, summary = run(camera, recognizer, every=2, limit=3)
    assert [record.seq for record in notebook.frames()] == [0, 2, 4]
    assert (summary.exit_reason, camera.read) == ("limit", 5)
    assert [record.dropped for record in notebook.frames()] == [2, 4, 4]  # those before skipped frames, too
    assert summary.dropped == 10


def test_a_truncated_video_says_so_and_is_no_failure(tmp_path, recognizer):
    whole = write_video(tmp_path / "whole.mp4", crossing(30)).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    notebook, summary = run(open_source(str(tmp_path / "cut.mp4")), recognizer)
    assert summary.exit_reason == "truncated"
    assert 5 < summary.frames == len(notebook.frames()) < 30
    assert any("ends early" in warning for warning in summary.warnings)


def test_live_frames_carry_when_they_were_captured_how_old_they_are_and_what_was_dropped(recognizer):
    notebook, summary = run(Camera([spots(), spots(), None]), recognizer)
    lines = [record.to_json() for record in notebook.frames()]
    assert {line["captured_at"] for line in lines} == {"2026-01-01T00:00:00.000+00:00"}
    assert lines[0]["age_ms"] > 0
    assert lines[1]["age_ms"] > 0
    assert lines[2]["age_ms"] is None  # there is no picture that could have an age
    assert summary.dropped == 6


def test_a_stream_that_breaks_is_unknown_and_the_summary_is_written_before_the_error(recognizer):
    notebook = Notebook()
    camera = Camera([spots((40, 80)), None], BrokenStreamError("the signal was lost"))
    with pytest.raises(BrokenStreamError):
        watch(camera, Session(recognizer), [notebook], Selection(every=5))
    assert [record.verdict for record in notebook.frames()] == ["clear", "unknown"]
    assert [record.event for record in notebook.records if isinstance(record, Event)] == ["signal_lost"]
    summary = notebook.records[-1]
    assert isinstance(summary, Summary)
    assert (summary.exit_reason, summary.warnings[-1]) == ("signal_lost", "the signal was lost")


def test_a_sink_that_fails_ends_the_run_and_the_others_have_their_summary(tmp_path, recognizer):
    notebook, full = Notebook(), FullDisk()
    source = open_source(str(write_video(tmp_path / "a.mp4", crossing(9))))
    with pytest.raises(ProcessingError, match="the disk is full"):
        watch(source, Session(recognizer), [notebook, full])
    assert notebook.records[-1].exit_reason == "failed"
    assert notebook.records[-1].warnings[-1] == "the disk is full"
    assert len(full.records) == 2


def test_a_reader_that_goes_away_ends_the_run_quietly(tmp_path, recognizer):
    notebook = Notebook()
    source = open_source(str(write_pictures(tmp_path / "pictures", [spots()] * 3)))
    with pytest.raises(OutputClosedError):
        watch(source, Session(recognizer), [notebook, ClosedPipe()])
    assert notebook.records[-1].exit_reason == "interrupted"
    assert "the reader went away" not in notebook.records[-1].warnings


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_frame_and_the_summary(recognizer, number):
    class Interrupted(Camera):
        def __iter__(self):
            for frame in super().__iter__():
                if frame.seq == 3:
                    os.kill(os.getpid(), number)
                yield frame

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with stop_on_signals() as stop:
            notebook, summary = run(Interrupted([spots()] * 9), recognizer, stop=stop)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)  # a program that was asked to stop ignores further signals
    assert (summary.exit_reason, summary.frames) == ("interrupted", 3)
    assert notebook.records[-1] is summary


def test_thermal_footage_for_the_colour_model_is_warned_about_in_header_and_summary(tmp_path, models):
    colour = Recognizer(write_spot_model(models / "colour.onnx", modality="rgb"), RecognizerSettings(threads=1))
    source = open_source(str(write_video(tmp_path / "a.mp4", [spots((9, 9))] * 5)))
    notebook, summary = run(source, colour, notes=["rounded"])
    assert notebook.records[0].warnings[0] == "rounded"
    assert "try --model thermal" in notebook.records[0].warnings[-1]
    assert set(notebook.records[0].warnings) <= set(summary.warnings)


def test_a_video_that_begins_in_the_dark_is_looked_at_a_little_longer(tmp_path, models):
    colour = Recognizer(write_spot_model(models / "dark.onnx", modality="rgb"), RecognizerSettings(threads=1))
    images = [spots() * 0, spots() * 0, spots((9, 9)), spots((9, 9))]
    notebook, _ = run(open_source(str(write_video(tmp_path / "a.mp4", images))), colour)
    assert "try --model thermal" in notebook.records[0].warnings[-1]
    assert [record.seq for record in notebook.frames()] == [0, 1, 2, 3]


def test_frames_that_were_seen_for_the_header_are_kept_no_longer_than_others():
    first, second, third = (Frame(seq, spots((9, 9))) for seq in range(3))
    seen = [first, second]
    frames = handed_on(seen, iter([third]))
    assert next(frames) is first
    assert seen == [second]
    assert list(frames) == [second, third]


def test_the_same_video_gives_the_same_lines_twice(tmp_path, recognizer):
    video = write_video(tmp_path / "a.mp4", crossing())
    lines = []
    for name in ("one.jsonl", "two.jsonl"):
        with JsonLinesSink(tmp_path / name) as sink:
            run(open_source(str(video)), recognizer, sink)
        lines.append([json.loads(line) for line in (tmp_path / name).read_text().splitlines()])
    for line in (*lines[0], *lines[1]):
        for timed in ("started_at", "stage_ms", "seconds", "fps" if line["record"] == "summary" else ""):
            line.pop(timed, None)
    assert lines[0] == lines[1]


@pytest.mark.parametrize(
    ("selection", "message"),
    [({"every": 0}, "every must be at least 1, got 0"), ({"limit": 0}, "limit must be at least 1, got 0")],
)
def test_a_selection_out_of_range_is_refused(selection, message):
    with pytest.raises(InvalidValueError, match=message):
        Selection(**selection)
