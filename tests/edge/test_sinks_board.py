from dataclasses import replace

import cv2
import numpy as np
import pytest

from edge.records import Event, ExitReason, Frame, FrameRecord, Pedestrian
from edge.sinks.address import Address
from edge.sinks.board import STARTS_WITHIN_S, STUCK_AFTER_S, TIMELINE_S, Board, Second, SinkState
from edge.sinks.http import HttpSink
from edge.sinks.http_server import HttpServer
from edge.sinks.metrics import ProcessState, exposition, process_state, sample
from tests.edge.recordings import HEADER, SUMMARY, bad, lost, seen

PERSON = Pedestrian((20.0, 24.0, 34.0, 40.0), 0.9)
NOTHING_KNOWN = ProcessState(None, 1.5, None, None, None)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def frame(seq: int) -> Frame:
    return Frame(seq, np.full((48, 64, 3), 200, np.uint8), time_s=seq / 30)


def decoded(jpeg: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(clock: Clock) -> Board:
    return Board("north", lambda: [SinkState("records", 3, 1, True)], clock)


def test_health_follows_the_source(board: Board, clock: Clock) -> None:
    seen_so_far = []

    def look() -> None:
        snapshot = board.snapshot()
        seen_so_far.append((snapshot.health, snapshot.verdict))

    look()
    board.observe(HEADER, None)
    look()
    board.observe(seen(0), frame(0))
    look()
    board.observe(lost(1), Frame(1, None, signal="no_signal"))
    look()
    board.observe(seen(2, PERSON), frame(2))
    look()
    clock.now += STUCK_AFTER_S + 1
    look()
    board.observe(SUMMARY, None)
    look()
    assert seen_so_far == [
        ("starting", "unknown"),
        ("starting", "unknown"),
        ("ok", "clear"),
        ("no_signal", "unknown"),
        ("ok", "pedestrian"),
        ("stuck", "unknown"),  # whatever stood before: nobody looks any more
        ("ended", "unknown"),
    ]
    assert board.snapshot().reconnects == 1


def test_a_first_recognition_that_never_ends_is_stuck(board: Board, clock: Clock) -> None:
    board.observe(HEADER, None)
    clock.now += STARTS_WITHIN_S - 1
    assert board.snapshot().health == "starting"
    clock.now += 2
    assert board.snapshot().health == "stuck"
    assert board.picture() is not None  # a notice
    board.observe(seen(0), frame(0))
    assert board.snapshot().health == "ok"


@pytest.mark.parametrize(
    ("records", "reconnects"),
    [
        ([], 0),
        ([lost(0), seen(1)], 0),  # it had never been there
        ([seen(0), lost(1), seen(2), lost(3), lost(4), seen(5)], 2),
        ([seen(0), lost(1), bad(2), seen(3)], 1),  # the first pictures of a stream that comes back are often damaged
        ([seen(0), bad(1), seen(2)], 0),
    ],
)
def test_a_signal_that_comes_back_is_counted_once(board: Board, records: list[FrameRecord], reconnects: int) -> None:
    for record in records:
        board.observe(record, frame(record.seq) if record.signal == "ok" else None)
    assert board.snapshot().reconnects == reconnects


def test_a_picture_is_encoded_once_and_never_an_old_one(board: Board, clock: Clock) -> None:
    board.observe(seen(0, PERSON), frame(0))
    first = board.picture()
    assert first is not None
    assert board.picture() is first  # encoded once for all
    assert board.picture(first.number) is None  # nothing newer
    assert decoded(first.jpeg)[36:, :10].mean() > 150
    board.observe(lost(1), Frame(1, None, signal="no_signal"))
    gone = board.picture(first.number)
    assert gone is not None
    assert decoded(gone.jpeg)[40:, :10].mean() < 70
    board.observe(seen(2), frame(2))
    again = board.picture(gone.number)
    assert again is not None
    clock.now += STUCK_AFTER_S + 1
    for _ in range(2):  # every client, not the first one alone
        stuck = board.picture(again.number)
        assert stuck is not None
        assert decoded(stuck.jpeg)[40:, :10].mean() < 70
    assert board.picture(stuck.number) is None


@pytest.mark.parametrize("exit_reason", ["failed", "signal_lost", "end_of_source"])
def test_a_source_that_is_over_claims_nothing_and_shows_no_old_picture(
    board: Board, clock: Clock, exit_reason: ExitReason
) -> None:
    board.observe(seen(0, PERSON), frame(0))
    shown = board.picture()
    assert shown is not None
    clock.now += 5
    board.observe(replace(SUMMARY, exit_reason=exit_reason), None)
    clock.now += 60
    snapshot = board.snapshot()
    assert (snapshot.verdict, snapshot.verdict_for_s) == ("unknown", 65.0)
    metrics = exposition([snapshot], NOTHING_KNOWN)
    assert 'kestrel_verdict{source="north",verdict="unknown"} 1' in metrics
    assert "kestrel_presence{" not in metrics
    assert "kestrel_pedestrians{" not in metrics
    notice = board.picture(shown.number)
    assert notice is not None
    assert decoded(notice.jpeg)[40:, :10].mean() < 70
    assert board.picture(notice.number) is None


def test_without_signal_before_its_end_a_source_has_been_unknown_since_then(board: Board, clock: Clock) -> None:
    board.observe(lost(0), Frame(0, None, signal="no_signal"))
    clock.now += 5
    board.observe(lost(1), Frame(1, None, signal="no_signal"))
    board.observe(replace(SUMMARY, exit_reason="signal_lost"), None)
    assert board.snapshot().verdict_for_s == 5.0


def test_a_stuck_source_has_no_count_and_no_presence(board: Board, clock: Clock) -> None:
    board.observe(seen(0), frame(0))
    clock.now += STUCK_AFTER_S + 1
    metrics = exposition([board.snapshot()], NOTHING_KNOWN)
    assert 'kestrel_health{source="north",state="stuck"} 1' in metrics
    assert "kestrel_presence{" not in metrics
    assert "kestrel_pedestrians{" not in metrics


def test_before_the_first_frame_the_picture_is_a_notice(board: Board) -> None:
    picture = board.picture()
    assert picture is not None
    assert decoded(picture.jpeg)[40:, :10].mean() < 70


def test_a_large_picture_is_shown_smaller() -> None:
    board = Board("large")
    board.observe(seen(0), Frame(0, np.zeros((1080, 1920, 3), np.uint8)))
    picture = board.picture()
    assert picture is not None
    assert decoded(picture.jpeg).shape == (720, 1280, 3)


def test_the_timeline_has_a_second_for_every_second_and_is_bounded(board: Board, clock: Clock) -> None:
    assert board.snapshot().timeline == (None,)
    board.observe(seen(0), frame(0))
    board.observe(seen(1, PERSON, presence=0.9), frame(1))
    clock.now += 2
    board.observe(lost(2), Frame(2, None, signal="no_signal"))
    assert board.snapshot().timeline == (
        Second(2, 1, 0.9, "pedestrian"),
        None,
        Second(0, None, None, "unknown"),
    )
    for _ in range(2 * TIMELINE_S):
        clock.now += 1
        board.observe(seen(0), frame(0))
    assert len(board.snapshot().timeline) == TIMELINE_S


def test_the_rate_is_that_of_the_last_seconds(board: Board, clock: Clock) -> None:
    assert board.snapshot().fps == 0.0
    for _ in range(100):
        board.observe(seen(0), frame(0))
        clock.now += 0.25
    assert board.snapshot().fps == 4.0
    clock.now += 100
    assert board.snapshot().fps == 0.0


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (1, 'x{a="b"} 1'),
        (True, 'x{a="b"} 1'),
        (0.5, 'x{a="b"} 0.5'),
        (0.0, 'x{a="b"} 0'),
        (1e9 + 0.25, 'x{a="b"} 1000000000.25'),
    ],
)
def test_numbers_as_prometheus_reads_them(value: float, line: str) -> None:
    assert sample("x", value, a="b") == line


def test_labels_are_escaped() -> None:
    assert sample("x", 1, a='q"\\\n') == 'x{a="q\\"\\\\\\n"} 1'


def test_no_source_gives_the_process_alone() -> None:
    text = exposition([], NOTHING_KNOWN)
    assert [line for line in text.splitlines() if not line.startswith("#")] == ["kestrel_cpu_seconds_total 1.5"]


def test_metrics_of_a_source(board: Board) -> None:
    board.observe(HEADER, None)
    board.observe(seen(0), frame(0))
    board.observe(FrameRecord(1, "no_signal", "unknown", None, (), None, None, dropped=7), None)
    board.observe(Event("appeared"), None)
    lines = exposition([board.snapshot()], ProcessState(1000, 1.5, 3, 4, 61.5)).splitlines()
    for expected in (
        'kestrel_health{source="north",state="no_signal"} 1',
        'kestrel_health{source="north",state="ok"} 0',
        'kestrel_verdict{source="north",verdict="unknown"} 1',
        'kestrel_signal_ok{source="north"} 0',
        'kestrel_frames_total{source="north"} 2',
        'kestrel_dropped_frames_total{source="north"} 7',
        'kestrel_appeared_total{source="north"} 1',
        'kestrel_stage_seconds_count{source="north",stage="infer"} 1',
        'kestrel_stage_seconds{source="north",stage="infer",quantile="0.5"} 0.001',
        'kestrel_sink_dropped_total{source="north",sink="records"} 3',
        'kestrel_sink_failing{source="north",sink="records"} 1',
        "kestrel_temperature_celsius 61.5",
        "kestrel_memory_bytes 1000",
    ):
        assert expected in lines
    assert not any(line.startswith("kestrel_presence{") for line in lines)  # nothing is claimed without signal
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names))
    assert all(name.startswith("kestrel_") for name in names)


def test_the_process_knows_its_memory() -> None:
    state = process_state()
    assert state.cpu_s > 0
    assert state.memory_bytes is None or state.memory_bytes > 1e6


def test_a_source_whose_stall_takes_long_is_not_stuck_before(clock: Clock) -> None:
    board = Board("slow", clock=clock, quiet_s=60.0)
    board.observe(seen(0), frame(0))
    clock.now += STUCK_AFTER_S + 59
    assert board.snapshot().health == "ok"
    clock.now += 2
    assert board.snapshot().health == "stuck"


def test_a_source_of_which_few_frames_are_looked_at_is_not_stuck_between_them(clock: Clock) -> None:
    with HttpServer(Address("127.0.0.1", 0)) as server, HttpSink(server, "slow") as sink:
        server.boards["slow"]._clock = clock
        sink.write(seen(0), frame(0))
        for seq in range(1, 30):
            clock.now += 1
            sink.skip(frame(seq))
        snapshot = server.boards["slow"].snapshot()
        assert (snapshot.health, snapshot.verdict, snapshot.record_age_s) == ("ok", "clear", 29.0)
        clock.now += STUCK_AFTER_S + 1
        sink.skip(frame(30))  # too late
        assert server.boards["slow"].snapshot().health == "stuck"
