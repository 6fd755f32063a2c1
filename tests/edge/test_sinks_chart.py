import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.errors import OutputClosedError, ProcessingError
from edge.records import FrameRecord, Image, Pedestrian
from edge.sinks import ChartSink
from edge.sinks.chart import Chart, minutes_seconds, tick_step_s
from edge.sinks.timeline import MAX_SPANS, Span, Timeline, runs
from tests.edge.recordings import HEADER, SUMMARY, lost, seen

PERSON = Pedestrian((0.0, 0.0, 1.0, 1.0), 0.9)


def chart(path: Path, records: list[FrameRecord]) -> None:
    with ChartSink(path, 0.5) as sink:
        sink.write(HEADER, None)
        for record in records:
            sink.write(record, None)
    sink.close()


@pytest.mark.parametrize(
    ("first", "told"),
    [
        (ProcessingError("the disk is full"), "the disk is full"),
        (OutputClosedError("nobody reads it"), "timeline.png could not be written further"),  # that was no failure
        (None, "timeline.png could not be written further"),
    ],
)
def test_what_fails_first_is_told_and_not_what_fails_when_closing(tmp_path: Path, first, told) -> None:
    def run() -> None:
        folder = tmp_path / "results"
        with ChartSink(folder / "timeline.png", 0.5) as sink:
            sink.write(seen(0), None)
            folder.rmdir()
            if first is not None:
                raise first

    with pytest.raises(ProcessingError, match=told) as failed:
        run()
    assert hasattr(failed.value, "__notes__") == (failed.value is first)


@pytest.mark.parametrize(
    "records",
    [
        [seen(0)],
        [seen(0, PERSON)],
        [lost(0)],
        [seen(0), lost(1), seen(2, PERSON, PERSON), seen(3)],
        [FrameRecord(i, "ok", "clear", 0.1, (), 1.0, None, name=f"{i}.jpg") for i in range(5)],
        [seen(0, time_s=1.0), seen(1, time_s=1.0)],
    ],
)
def test_runs_of_any_kind_have_a_chart(tmp_path: Path, records: list[FrameRecord]) -> None:
    chart(tmp_path / "timeline.png", records)
    picture = cv2.imread(str(tmp_path / "timeline.png"))
    assert picture is not None
    assert picture.shape[1] > picture.shape[0] > 400


def columns(picture: Image, colour_bgr: tuple[int, int, int]) -> NDArray[np.intp]:
    """Where along the x axis a colour is, in pixels."""
    return np.flatnonzero((np.abs(picture.astype(int) - colour_bgr).max(axis=2) < 6).sum(axis=0) > 20)


def test_a_short_sighting_in_hours_is_shaded(tmp_path: Path) -> None:
    seconds = [FrameRecord(s, "ok", "clear", 0.1, (), 1.0, None, time_s=float(s)) for s in range(7200)]
    seconds[3000] = replace(seconds[3000], verdict="pedestrian", presence=0.9, pedestrians=(PERSON,))
    chart(tmp_path / "timeline.png", seconds)
    picture = cv2.imread(str(tmp_path / "timeline.png"))[70:]  # below the legend
    shaded = (picture[..., 2].astype(int) - picture[..., 0] > 30).sum(axis=0)
    assert shaded.max() > 300


def test_the_last_picture_is_shaded_as_wide_as_its_count_is_drawn(tmp_path: Path) -> None:
    pictures = [FrameRecord(i, "ok", "pedestrian", 0.9, (PERSON,), 1.0, None, name=f"{i}.jpg") for i in range(3)]
    chart(tmp_path / "timeline.png", pictures)
    picture = cv2.imread(str(tmp_path / "timeline.png"))[70:]  # below the legend
    shade, count = columns(picture, (203, 232, 254)), columns(picture, (2, 95, 217))
    assert (shade[0], shade[-1]) == (pytest.approx(count[0], abs=1), pytest.approx(count[-1], abs=1))


def test_a_run_without_frames_has_no_chart(tmp_path: Path) -> None:
    chart(tmp_path / "timeline.png", [])
    assert not (tmp_path / "timeline.png").exists()


def test_a_name_that_the_font_lacks_is_no_obstacle(tmp_path: Path) -> None:
    with ChartSink(tmp_path / "timeline.png") as sink:
        sink.write(replace(HEADER, source="航拍 $x^{.mp4"), None)
        sink.write(seen(0), None)
    assert (tmp_path / "timeline.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("source", "title"),
    [("flights/one.mp4", "one.mp4"), ("rtsp://10.0.0.5/live", "rtsp://10.0.0.5/live"), ("0", "0"), (".", ".")],
)
def test_a_chart_is_named_after_its_file_or_its_whole_address(tmp_path, monkeypatch, source, title):
    drawn: list[Chart] = []
    monkeypatch.setattr("edge.sinks.chart.render", lambda chart: drawn.append(chart) or b"")
    with ChartSink(tmp_path / "timeline.png") as sink:
        sink.write(replace(HEADER, source=source), None)
        sink.write(seen(0), None)
    assert [chart.title for chart in drawn] == [title]


def test_a_hundred_thousand_frames_keep_their_peak_in_bounded_memory() -> None:
    timeline = Timeline()
    for seq in range(100_000):
        timeline.add(seen(seq, *([PERSON] * 9 if seq == 54_321 else []), presence=1.0 if seq == 54_321 else 0.1))
    spans = timeline.spans()
    assert len(spans) < MAX_SPANS
    assert max(s.count or 0 for s in spans) == 9
    assert [s.presence for s in spans if s.pedestrian] == [1.0]
    assert (spans[0].start, spans[-1].end) == (0.0, pytest.approx(99_999 / 30))
    assert all(a.end < b.start for a, b in pairwise(spans))


def test_an_empty_timeline_has_no_spans() -> None:
    assert Timeline().spans() == []


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ([], []),
        ([False, False], []),
        ([True, True], [(0.0, 1.5)]),
        ([True, False, True, True], [(0.0, 1.0), (2.0, 3.5)]),
        ([False, True, False], [(1.0, 2.0)]),
    ],
)
def test_runs(chosen: list[bool], expected: list[tuple[float, float]]) -> None:
    spans = [Span(float(i), i + 0.5, None, None, False, False) for i in range(len(chosen))]
    assert runs(spans, chosen, len(spans) - 0.5) == expected


@pytest.mark.parametrize(
    ("time_s", "text"),
    [(0, "0:00"), (1.5, "0:01.5"), (75, "1:15"), (3600, "1:00:00"), (-5, "-0:05"), (90_000, "25:00:00")],
)
def test_marks_of_the_time_axis(time_s: float, text: str) -> None:
    assert minutes_seconds(time_s) == text


@pytest.mark.parametrize(
    ("length_s", "step_s"), [(0.0, 0.1), (1.0, 0.1), (16.4, 2), (600, 60), (7200, 600), (86_400 * 30, 86_400 * 3)]
)
def test_steps_of_the_time_axis_are_those_of_a_clock(length_s: float, step_s: float) -> None:
    assert tick_step_s(length_s) == step_s


@pytest.mark.parametrize(("reason", "apart"), [("interrupted", True), ("limit", False)])
def test_an_interrupted_live_run_does_not_wait_for_its_chart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str, apart: bool
) -> None:
    (tmp_path / "edge").mkdir()
    (tmp_path / "edge" / "__init__.py").write_text("raise SystemExit('somebody else is drawn in')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    if apart:  # nothing is drawn in this process
        monkeypatch.setattr("edge.sinks.chart.render", None)
    path = tmp_path / "timeline.png"
    with ChartSink(path, 0.5, quick=True) as sink:
        sink.write(HEADER, None)
        sink.write(seen(0, PERSON), None)
        sink.write(replace(SUMMARY, exit_reason=reason), None)
    ends = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < ends
        time.sleep(0.05)
    assert cv2.imread(str(path)) is not None
