import pytest

from edge.records import FRAME_STAGES, FrameRecord, Pedestrian
from edge.tally import StageTimes, Tally


def record(seq: int, people: int, verdict: str, dropped: int = 0) -> FrameRecord:
    pedestrians = tuple(Pedestrian((0, 0, 1, 1), 0.5) for _ in range(people))
    return FrameRecord(
        seq, "ok", verdict, 0.5, pedestrians, 1.0, dict.fromkeys(FRAME_STAGES, 2.0), time_s=seq, dropped=dropped
    )


LOST = FrameRecord(9, "no_signal", "unknown", None, (), None, None, time_s=9.0)


def test_nothing_adds_up_to_nothing():
    summary = Tally().summary("end_of_source", ())
    assert (summary.frames, summary.fps, summary.pedestrian_share, summary.max_count) == (0, None, None, None)
    assert set(summary.stage_ms.values()) == {None}


def test_frames_without_signal_count_as_frames_but_not_for_the_share():
    tally = Tally()
    for frame in (record(0, 3, "pedestrian"), record(1, 0, "clear", dropped=4), LOST):
        tally.add(frame)
    summary = tally.summary("limit", ("odd",))
    assert (summary.frames, summary.pedestrian_share, summary.max_count, summary.dropped) == (3, 0.5, 3, 4)
    assert (summary.unique_pedestrians, summary.exit_reason, summary.warnings) == (None, "limit", ("odd",))


def test_without_any_signal_nothing_is_claimed():
    tally = Tally()
    tally.add(LOST)
    summary = tally.summary("signal_lost", ())
    assert (summary.frames, summary.pedestrian_share, summary.max_count) == (1, None, None)


def test_a_stage_that_never_ran_has_no_percentiles():
    tally = Tally()
    tally.add(record(0, 0, "clear"))
    tally.add_stages({"infer": 4.0, "track": None})
    stages = tally.summary("limit", ()).stage_ms
    assert stages["draw"] is None
    assert stages["infer"].to_json() == {"p50": 3.0, "p95": 3.9, "p99": 3.98, "max": 4.0}


def test_weeks_of_samples_stay_in_bounded_memory_and_keep_their_percentiles():
    times = StageTimes()
    for sample in range(100_000):
        times.add(float(sample % 1000))
    times.add(5000.0)
    found = times.percentiles()
    assert len(times._samples) <= 20_000
    assert found.max == 5000
    assert found.p50 == pytest.approx(500, abs=10)
    assert found.p99 == pytest.approx(990, abs=10)
