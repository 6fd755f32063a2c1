import threading
from pathlib import Path

import numpy as np
import pytest

from edge.errors import OutputClosedError, ProcessingError, UnusableInputError
from edge.records import Event, Frame, FrameRecord, Record
from edge.sinks import JsonLinesSink
from edge.sinks.queued import Deadline, QueuedSink, QueueRule
from edge.sinks.sink import Sink
from tests.edge.recordings import HEADER, SUMMARY, seen

LIVE = QueueRule(live=True, capacity=4, images=True, retry_s=0.0)
RECORDING = QueueRule(live=False, capacity=4, images=True)
APPEARED = Event("appeared", 1.0)


def frame(seq: int) -> Frame:
    return Frame(seq, np.zeros((8, 8, 3), np.uint8), time_s=seq / 30)


class Gate(Sink):
    """Takes records once it is open; `broken` raises instead."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.warnings: list[str] = []
        self.records: list[Record] = []
        self.skipped: list[int] = []
        self.frames: list[Frame | None] = []
        self.closed = 0
        self.broken: Exception | None = None
        self.unfinished: Exception | None = None
        self.opened = threading.Event()
        self.reached = threading.Event()
        if is_open:
            self.opened.set()

    def write(self, record: Record, frame: Frame | None) -> None:
        self.reached.set()
        self.opened.wait(20)
        if self.broken is not None:
            raise self.broken
        self.records.append(record)
        self.frames.append(frame)

    def skip(self, frame: Frame) -> None:
        self.skipped.append(frame.seq)

    def settle(self) -> None:
        if self.unfinished is not None:
            raise self.unfinished

    def close(self) -> None:
        self.closed += 1


def queued(sink: Sink, rule: QueueRule, within_s: float | None = 5.0) -> QueuedSink:
    return QueuedSink("sink under test", lambda: sink, rule, Deadline(within_s))


def write_many(sink: Sink, times: int) -> None:
    for seq in range(times):
        sink.write(seen(seq), frame(seq))


@pytest.mark.parametrize("rule", [LIVE, RECORDING])
def test_everything_arrives_in_order(rule: QueueRule) -> None:
    gate = Gate()
    with queued(gate, rule) as sink:
        for record in (HEADER, seen(0), APPEARED, SUMMARY):
            sink.write(record, frame(0) if isinstance(record, FrameRecord) else None)
    sink.close()
    assert gate.records == [HEADER, seen(0), APPEARED, SUMMARY]
    assert [f is not None for f in gate.frames] == [False, True, False, False]
    assert gate.closed == 1
    assert (sink.warnings, sink.dropped) == ([], 0)


def test_a_recording_waits_and_loses_nothing() -> None:
    gate = Gate(is_open=False)
    sink = queued(gate, RECORDING, None)
    writer = threading.Thread(target=lambda: [sink.write(seen(seq), frame(seq)) for seq in range(100)])
    writer.start()
    gate.opened.set()
    writer.join(20)
    sink.close()
    assert [r.seq for r in gate.records if isinstance(r, FrameRecord)] == list(range(100))
    assert sink.dropped == 0


def test_a_frame_of_a_recording_waits_for_the_one_before_it_and_events_do_not() -> None:
    gate = Gate(is_open=False)
    sink = queued(gate, QueueRule(live=False, capacity=1, images=True), None)
    sink.write(seen(0), frame(0))
    sink.write(APPEARED, None)
    put = threading.Event()
    writer = threading.Thread(target=lambda: (sink.write(seen(1), frame(1)), put.set()))
    writer.start()
    assert gate.reached.wait(20)
    assert not put.wait(0.05)  # the sink has one frame in hand, and no other is kept in memory
    gate.opened.set()
    assert put.wait(20)
    writer.join()
    sink.close()
    assert gate.records == [seen(0), APPEARED, seen(1)]


def test_a_stuck_sink_of_a_live_run_drops_the_oldest_frames_and_never_an_event(capsys) -> None:
    gate = Gate(is_open=False)
    sink = queued(gate, LIVE)
    sink.write(HEADER, None)
    assert gate.reached.wait(20)  # the header is on its way, the rest waits
    for seq in range(100):
        sink.write(seen(seq), frame(seq))  # returns at once, or this test would hang
        if seq == 50:
            sink.write(APPEARED, None)
    sink.write(SUMMARY, None)
    gate.opened.set()
    sink.close()
    kept = [r.seq for r in gate.records if isinstance(r, FrameRecord)]
    assert kept == sorted(kept)
    assert kept[-1] == 99
    assert len(kept) + sink.dropped == 100
    assert APPEARED in gate.records
    assert gate.records[0] == HEADER
    assert gate.records[-1] == SUMMARY
    (warning,) = sink.warnings
    assert warning.startswith(f"sink under test: {sink.dropped} records are missing")
    assert capsys.readouterr().err == "warning: sink under test cannot keep up; records are dropped and counted\n"


def test_a_sink_that_is_stuck_for_good_is_left_behind_at_the_deadline(capsys) -> None:
    gate = Gate(is_open=False)
    sink = queued(gate, LIVE, 0.05)
    sink.write(HEADER, None)
    sink.close()
    assert "did not finish in time" in capsys.readouterr().err
    gate.opened.set()


def test_events_that_nobody_takes_are_bounded_too(capsys) -> None:
    gate = Gate(is_open=False)
    sink = queued(gate, LIVE, 0.05)
    for _ in range(1000):
        sink.write(APPEARED, None)
    assert sink.dropped > 700
    gate.opened.set()
    sink.close()


def test_a_sink_that_needs_no_pictures_keeps_none() -> None:
    gate = Gate()
    with queued(gate, QueueRule(live=True, capacity=4, images=False)) as sink:
        sink.write(seen(0), frame(0))
        sink.skip(frame(1))
    assert (gate.frames, gate.skipped) == ([None], [])


def test_a_failing_sink_ends_a_recording_with_its_own_words() -> None:
    gate = Gate()
    gate.broken = ProcessingError("the disk is full")
    sink = queued(gate, RECORDING)
    with pytest.raises(ProcessingError, match="the disk is full"):
        write_many(sink, 100)
    sink.close()


def test_a_failure_with_the_last_record_of_a_recording_is_raised_when_it_is_closed() -> None:
    gate = Gate()
    gate.broken = ValueError("a fault of ours")
    sink = queued(gate, RECORDING)
    sink.write(SUMMARY, None)
    with pytest.raises(ProcessingError, match="an output failed: a fault of ours"):
        sink.close()
    sink.close()


def test_a_failing_sink_of_a_live_run_is_made_anew_and_says_so(capsys) -> None:
    broken, whole = Gate(), Gate()
    broken.broken = ProcessingError("the disk is full")
    made = [broken, whole]
    sink = QueuedSink("records", lambda: made.pop(0), LIVE, Deadline(5.0))
    sink.write(HEADER, None)
    sink.write(seen(0), frame(0))
    sink.close()
    assert whole.records == [HEADER, seen(0)]  # each sink begins with the header
    assert (broken.closed, whole.closed, sink.failures) == (1, 1, 1)
    assert sink.warnings == ["records failed: the disk is full; trying again every 0 s", "records works again"]
    assert "warning: records works again" in capsys.readouterr().err


def test_a_sink_that_failed_just_before_the_end_still_gets_the_summary(capsys) -> None:
    broken, whole = Gate(), Gate()
    broken.broken = ProcessingError("the disk is full")
    made = [broken, whole]
    rule = QueueRule(live=True, capacity=4, images=True, retry_s=1000.0)
    with QueuedSink("records", lambda: made.pop(0), rule, Deadline(5.0)) as sink:
        for record in (HEADER, seen(0), SUMMARY):
            sink.write(record, None)
    assert whole.records == [HEADER, SUMMARY]
    assert sink.dropped == 1


def test_a_sink_that_stays_broken_never_reaches_the_loop(capsys) -> None:
    def make() -> Sink:
        gate = Gate()
        gate.broken = RuntimeError("no reason at all")
        return gate

    rule = QueueRule(live=True, capacity=4, images=True, retry_s=1000.0)
    with QueuedSink("broken", make, rule, Deadline(5.0)) as sink:
        for seq in range(20):
            sink.write(seen(seq), frame(seq))
    assert sink.failures == 1
    assert sink.dropped == 20
    assert "broken failed: no reason at all; trying again every 1000 s" in sink.warnings


def test_a_reader_that_leaves_ends_the_live_run() -> None:
    gate = Gate()
    gate.broken = OutputClosedError("the reader went away")
    sink = queued(gate, LIVE)
    with pytest.raises(OutputClosedError):
        write_many(sink, 100_000)
    sink.close()


def test_what_cannot_be_created_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnusableInputError):
        QueuedSink("records", lambda: JsonLinesSink(tmp_path / "file" / "r.jsonl"), LIVE, Deadline(1.0))


FULL = ProcessingError("the disk is full")


def test_a_live_run_that_begins_on_a_full_disk_writes_once_there_is_room(capsys) -> None:
    def make() -> Sink:
        if made.pop(0) == "full":
            raise FULL
        return gate

    gate, made = Gate(), ["full", "full", "whole"]
    sink = QueuedSink("records", make, LIVE, Deadline(5.0))
    assert sink.failing
    assert sink.warnings == ["records failed: the disk is full; trying again every 0 s"]
    assert capsys.readouterr().err == ""  # it is said with the header
    for record in (HEADER, seen(0), seen(1), SUMMARY):
        sink.write(record, None)
    sink.close()
    assert gate.records == [HEADER, seen(0), seen(1), SUMMARY]  # the header again, though it came while there was none
    assert (sink.failures, sink.warnings[-1]) == (1, "records works again")


def test_a_recording_does_not_begin_on_a_full_disk() -> None:
    def make() -> Sink:
        raise FULL

    with pytest.raises(ProcessingError, match="the disk is full"):
        QueuedSink("records", make, RECORDING, Deadline(1.0))


def test_a_recording_that_is_settled_knows_of_its_failure_before_the_summary() -> None:
    gate = Gate(is_open=False)
    gate.broken = ProcessingError("the disk is full")
    sink = queued(gate, RECORDING, None)
    write_many(sink, 2)
    gate.opened.set()
    with pytest.raises(ProcessingError, match="the disk is full"):
        sink.settle()
    sink.close()


def test_a_file_that_cannot_be_finished_is_known_before_the_summary() -> None:
    gate = Gate()
    gate.unfinished = ProcessingError("the disk is full")
    sink = queued(gate, RECORDING, None)
    write_many(sink, 2)
    with pytest.raises(ProcessingError, match="the disk is full"):
        sink.settle()
    sink.close()


def test_settling_waits_for_what_is_in_hand() -> None:
    gate = Gate()
    with queued(gate, RECORDING, None) as sink:
        for times in (0, 1, 7):
            write_many(sink, times)
            before = len(gate.records)
            sink.settle()
            assert len(gate.records) >= before
        assert len(gate.records) == 8


def test_a_live_run_never_waits_to_settle() -> None:
    gate = Gate(is_open=False)
    sink = queued(gate, LIVE)
    write_many(sink, 2)
    sink.settle()
    gate.opened.set()
    sink.close()


def test_the_warnings_of_months_are_bounded(capsys) -> None:
    def make() -> Sink:
        gate = Gate()
        gate.broken = RuntimeError(f"failure {len(made)}")
        made.append(gate)
        return gate

    made: list[Gate] = []
    with QueuedSink("broken", make, LIVE, Deadline(20.0)) as sink:
        for seq in range(500):
            sink.write(seen(seq), None)
            made[-1].reached.wait(0.01)
    assert 0 < len(sink.warnings) <= 101  # and the number of what is missing
