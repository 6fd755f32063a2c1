"""Records as a run makes them, for the tests of whatever receives them."""

from edge.records import FRAME_STAGES, STAGES, FrameRecord, Header, ModelInfo, Pedestrian, SizeWH, Summary

HEADER = Header(
    source="flights/$5 crossing.mp4",
    started_at="2026-11-24T10:00:00+00:00",
    size_wh=SizeWH(64, 48),
    fps=30.0,
    model=ModelInfo("kestrel-rgb-small", "1", "rgb", "fp32", "00"),
    input_wh=None,
    threshold=0.5,
    threads=2,
    warnings=("odd source",),
)
SUMMARY = Summary(
    frames=3,
    judged=3,
    seconds=1.5,
    fps=2.0,
    pedestrian_share=0.5,
    max_count=2,
    unique_pedestrians=None,
    dropped=0,
    stage_ms=dict.fromkeys(STAGES),
    exit_reason="end_of_source",
    warnings=("odd source", "odd end"),
)


def seen(seq: int, *pedestrians: Pedestrian, time_s: float | None = None, presence: float = 0.75) -> FrameRecord:
    """A frame with signal; people on it make it `pedestrian`."""
    return FrameRecord(
        seq=seq,
        signal="ok",
        verdict="pedestrian" if pedestrians else "clear",
        presence=presence,
        pedestrians=pedestrians,
        coverage=1.0,
        stage_ms=dict.fromkeys(FRAME_STAGES, 1.0),
        time_s=seq / 30 if time_s is None else time_s,
    )


def lost(seq: int) -> FrameRecord:
    """A frame without signal."""
    return FrameRecord(seq, "no_signal", "unknown", None, (), None, None, time_s=seq / 30)


def bad(seq: int) -> FrameRecord:
    """A frame whose picture shows nothing that can be judged."""
    return FrameRecord(seq, "bad_frame", "unknown", None, (), None, None, time_s=seq / 30)
