import io
import os
from dataclasses import replace
from pathlib import Path

import pytest

from edge.listing import headline
from edge.one_source import expected_frames
from edge.records import Event, SourceInfo
from edge.sinks.sink import say_at_once
from edge.sinks.terminal import Sightings, TerminalSink, in_words
from edge.watch import Selection
from tests.edge.recordings import HEADER, SUMMARY, seen


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "a.mp4: 3 frames in 1.5 s (2.0 a second), to the end|pedestrians in 50 % of them, at most 2 at once"),
        ({"pedestrian_share": 0.0, "max_count": 0}, "no pedestrian was recognised"),
        ({"pedestrian_share": 0.0}, "no frame was judged to show a pedestrian, though up to 2 boxes were found"),
        ({"judged": 2}, "pedestrians in 50 % of the 2 that could be judged, at most 2 at once"),
        ({"judged": 2, "pedestrian_share": 0.0, "max_count": 0}, "no pedestrian was recognised in the 2 that could be"),
        ({"pedestrian_share": 0.001}, "pedestrians in less than 1 % of them"),
        ({"pedestrian_share": None, "max_count": None}, "no frame could be judged"),
        ({"frames": 1, "fps": None}, "a.mp4: 1 frame in 1.5 s, to the end"),
        ({"exit_reason": "limit"}, "to the limit"),
        ({"exit_reason": "interrupted"}, "then interrupted"),
        ({"exit_reason": "truncated"}, "to the end of what could be decoded"),
        ({"exit_reason": "signal_lost"}, "then the signal was lost"),
        ({"exit_reason": "failed"}, "then it failed"),
        ({"dropped": 7}, "7 frames were dropped to keep up"),
    ],
)
def test_the_summary_is_said_in_words(changes, words):
    said = in_words("a.mp4", replace(SUMMARY, **changes), Path("results"), Sightings())
    for part in words.split("|"):
        assert part in said
    assert said.endswith("results: results/")


@pytest.mark.parametrize(
    ("events", "told"),
    [
        (
            [("appeared", 3.0), ("gone", 65.4), ("appeared", 70.0)],
            "  seen from 0:03.0 to 1:05.4, 1:10.0 to the last frame",
        ),
        ([(event, float(k)) for k in range(10) for event in ("appeared", "gone")], ", and 2 times more"),
        ([], None),
        ([("signal_lost", 1.0)], None),
    ],
)
def test_the_times_of_sightings_are_told(events, told):
    words = io.StringIO()
    with TerminalSink("a.mp4", Path("results"), None, words) as sink:
        for event, time_s in events:
            sink.write(Event(event, time_s=time_s), None)
        sink.write(replace(SUMMARY, warnings=()), None)
    assert ("seen from" in words.getvalue()) is (told is not None)
    assert (told or "") in words.getvalue()


def test_sightings_of_a_stream_are_not_told_again_at_its_end():
    sightings = Sightings()
    sightings.add(Event("appeared", time_s=3.0, captured_at="2026-01-01T00:00:00Z"))
    assert str(sightings) == ""


@pytest.mark.parametrize(("content", "said"), [(None, False), ("", False), ("{}", True)])
def test_a_failed_run_names_its_results_only_where_there_are_some(tmp_path, content, said):
    if content is not None:
        (tmp_path / "records.jsonl").write_text(content)
    words = io.StringIO()
    with TerminalSink("a.mp4", tmp_path, 3, words) as sink:
        sink.write(replace(SUMMARY, exit_reason="failed"), None)
    assert ("results: " in words.getvalue()) is said


def test_warnings_are_said_once_and_nothing_moves_where_stderr_is_no_terminal(capsys):
    words = io.StringIO()
    with TerminalSink("a.mp4", Path("results"), 3, words) as sink:
        sink.write(HEADER, None)
        for seq in range(3):
            sink.write(seen(seq), None)
        sink.write(Event("signal_lost", time_s=1.5), None)
        sink.write(Event("appeared", time_s=1.5), None)
        sink.write(SUMMARY, None)
    said = capsys.readouterr()
    assert said.err.splitlines() == [
        "warning: a.mp4: odd source",
        "a.mp4: signal lost at 1.5",
        "warning: a.mp4: odd end",
    ]
    assert said.out == ""
    assert words.getvalue().startswith("a.mp4: 3 frames")


def test_a_size_that_changes_and_an_unusual_provider_are_said(capsys):
    with TerminalSink("rtsp", Path("results"), None, io.StringIO()) as sink:
        sink.write(replace(HEADER, warnings=(), provider="CUDAExecutionProvider"), None)
        sink.write(Event("size_changed", time_s=9.0, detail="input 960x544 -> 800x448: 90 C of 80 C allowed"), None)
    assert capsys.readouterr().err.splitlines() == [
        "rtsp: the network runs on CUDAExecutionProvider",
        "rtsp: size changed: input 960x544 -> 800x448: 90 C of 80 C allowed",
    ]


def test_the_error_of_a_failed_run_is_left_to_the_end_of_the_program(capsys):
    with TerminalSink("a.mp4", Path("results"), None, io.StringIO()) as sink:
        sink.write(replace(SUMMARY, exit_reason="failed", warnings=("odd", "the disk is full")), None)
    assert capsys.readouterr().err == "warning: a.mp4: odd\n"


@pytest.mark.parametrize(
    ("frame_count", "selection", "expected"),
    [
        (None, Selection(), None),
        (100, Selection(), 100),
        (100, Selection(limit=10), 10),
        (100, Selection(every=5, limit=10), 46),
        (30, Selection(every=5, limit=10), 30),
        (None, Selection(limit=10), 10),
    ],
)
def test_the_progress_bar_knows_how_many_frames_come(frame_count, selection, expected):
    assert expected_frames(SourceInfo("a", None, None, frame_count, live=False), selection) == expected


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({}, ""),
        ({"model": "x", "pictures": 249, "AP50": 0.61234, "presence": {"auroc": 0.9}}, "pictures 249, AP50 0.612"),
        ("not measured", "not measured"),
    ],
)
def test_figures_are_listed_without_their_details(figures, words):
    assert headline(figures) == words


class FullLog(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_log_on_a_full_disk_is_no_reason_to_stop_watching(monkeypatch):
    monkeypatch.setattr("sys.stderr", FullLog())
    with TerminalSink("cam", Path("results"), None, FullLog()) as sink:
        sink.write(HEADER, None)
        sink.write(Event("signal_lost", time_s=1.5), None)
        sink.write(SUMMARY, None)


def test_nor_is_a_reader_that_went_away():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as words, TerminalSink("cam", Path("results"), None, words) as sink:
        sink.write(SUMMARY, None)


class Written(io.StringIO):
    """Keeps what was written at a time: between two such pieces another thread may write."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def write(self, text: str) -> int:
        self.pieces += [text] if text else []
        return len(text)


def test_lines_of_several_sources_do_not_run_into_each_other(monkeypatch):
    words, errors = Written(), Written()
    monkeypatch.setattr("sys.stderr", errors)
    with TerminalSink("cam", Path("results"), None, words) as sink:
        sink.write(Event("signal_lost", time_s=1.5), None)
        sink.write(SUMMARY, None)
        say_at_once("its disk is full")
        for written in (words, errors):
            assert written.pieces
            assert all(piece.endswith("\n") for piece in written.pieces)
