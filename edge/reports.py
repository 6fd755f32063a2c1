"""How the records of a run are made from its parts: the header at the start, one record a frame."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from edge.modality import mismatch
from edge.recognizer import Recognizer
from edge.records import FRAME_STAGES, Frame, FrameRecord, Header, Pedestrian, Recognition, SourceInfo, Verdict
from edge.view import View


def make_header(
    info: SourceInfo, recognizer: Recognizer, view: View, first_frames: Sequence[Frame], warnings: Sequence[str]
) -> Header:
    """The header; besides `warnings` it warns of footage that looks like another modality than the model's."""
    images = [frame.image for frame in first_frames if frame.image is not None]
    wrong_model = mismatch(images, recognizer.info.modality)
    return Header(
        source=info.uri,
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        size_wh=info.size_wh,
        fps=info.fps,
        model=recognizer.info,
        input_wh=view.input_wh(info.size_wh),
        threshold=recognizer.threshold,
        threads=recognizer.threads,
        provider=recognizer.provider,
        warnings=(*warnings, *([wrong_model] if wrong_model else [])),
    )


def make_frame_record(frame: Frame, recognition: Recognition | None, verdict: Verdict) -> FrameRecord:
    """The record of one frame; without a recognition nothing is claimed of people."""
    return FrameRecord(
        seq=frame.seq,
        signal=frame.signal,
        verdict=verdict,
        presence=None if recognition is None else recognition.presence,
        pedestrians=() if recognition is None else pedestrians(recognition),
        coverage=None if recognition is None else recognition.coverage,
        stage_ms=None if recognition is None else _stage_ms(frame, recognition),
        name=frame.name,
        time_s=frame.time_s,
        captured_at=frame.captured_at,
        age_ms=None if frame.captured_s is None else 1e3 * (time.monotonic() - frame.captured_s),
        dropped=frame.dropped,
    )


def pedestrians(recognition: Recognition) -> tuple[Pedestrian, ...]:
    """The detections as they are recorded; none has an identity yet."""
    return tuple(
        Pedestrian((box[0], box[1], box[2], box[3]), score)
        for box, score in zip(recognition.boxes_xyxy.tolist(), recognition.scores.tolist(), strict=True)
    )


def _stage_ms(frame: Frame, recognition: Recognition) -> Mapping[str, float | None]:
    ran = {
        "decode": frame.decode_ms,
        "preprocess": recognition.preprocess_ms,
        "infer": recognition.infer_ms,
        "postprocess": recognition.postprocess_ms,
    }
    return {stage: ran.get(stage) for stage in FRAME_STAGES}
