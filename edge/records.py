"""What travels through the loop: immutable, validated when made, the same objects for every sink.

Frame -> Recognition -> FrameRecord -> sinks. `to_json` of a record gives exactly one line of JSON Lines (schema 1).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edge.errors import InvalidValueError

SCHEMA = 1
STAGES = ("decode", "preprocess", "infer", "postprocess", "track", "draw", "encode")
FRAME_STAGES = STAGES[:5]
PROCESSOR = "CPUExecutionProvider"  # ONNX Runtime's name for it

Signal = Literal["ok", "bad_frame", "no_signal"]
Verdict = Literal["pedestrian", "clear", "unknown"]
Modality = Literal["rgb", "thermal"]
Precision = Literal["fp32", "int8"]
EventName = Literal["appeared", "gone", "signal_lost", "signal_back", "size_chosen", "size_changed"]
ExitReason = Literal["end_of_source", "limit", "interrupted", "signal_lost", "truncated", "failed"]
Image = npt.NDArray[np.uint8]  # (H, W, 3) BGR
Boxes = npt.NDArray[np.float32]  # (N, 4) x0, y0, x1, y1 in pixels
Scores = npt.NDArray[np.float32]  # (N,) in 0..1


@dataclass(frozen=True, slots=True)
class SizeWH:
    """Width and height in pixels."""

    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise InvalidValueError("size_wh", "at least 1x1", f"{self.width}x{self.height}")

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    @property
    def long_side(self) -> int:
        """The larger of both sides, in pixels."""
        return max(self.width, self.height)

    def to_json(self) -> list[int]:
        """`[width, height]`."""
        return [self.width, self.height]


def size_of(image: Image) -> SizeWH:
    """Of a picture (H, W, 3)."""
    return SizeWH(image.shape[1], image.shape[0])


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of a source once it is open. `uri` has its credentials redacted."""

    uri: str
    size_wh: SizeWH | None  # None: not known yet, or it differs from picture to picture
    fps: float | None
    frame_count: int | None  # an estimate from the container; None where unknown
    live: bool


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture with its place in the source; `image` is None exactly where the signal is not ok.

    A picture of a folder has `name` (relative to the folder), a video frame `time_s` (seconds in the source),
    a live frame `captured_at` (UTC, ISO 8601) as well, and, where a picture was captured, `captured_s`: the same moment
    on time.monotonic(), so that its age does not depend on a wall clock that jumps. `reason` says why it has no image.
    """

    seq: int
    image: Image | None
    name: str | None = None
    time_s: float | None = None
    captured_at: str | None = None
    signal: Signal = "ok"
    dropped: int = 0  # frames dropped since the last one, live only
    decode_ms: float | None = None
    captured_s: float | None = None
    reason: str | None = None
    full_wh: SizeWH | None = None  # of the source's picture, where `image` is a smaller copy of it

    def __post_init__(self) -> None:
        if (self.image is None) == (self.signal == "ok"):
            raise InvalidValueError("image", "given exactly where the signal is ok", self.signal)
        if self.image is not None and (
            self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8
        ):
            raise InvalidValueError("image", "(H, W, 3) uint8", (self.image.shape, str(self.image.dtype)))

    @property
    def size_wh(self) -> SizeWH | None:
        """The size of the source's picture, whose pixels boxes are in; `image` may be smaller. None without signal."""
        if self.image is None or self.full_wh is not None:
            return self.full_wh
        return size_of(self.image)


@dataclass(frozen=True, slots=True)
class Recognition:
    """What the network says of one frame: presence in 0..1, detections in frame pixels by descending score.

    `coverage` is the share of the frame, 0..1, that was looked at lately enough; below 1 nobody may call it clear.
    """

    presence: float
    boxes_xyxy: Boxes
    scores: Scores
    preprocess_ms: float
    infer_ms: float
    postprocess_ms: float
    coverage: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.coverage <= 1.0:
            raise InvalidValueError("coverage", "in 0..1", self.coverage)
        if self.boxes_xyxy.shape != (len(self.scores), 4):
            raise InvalidValueError("boxes_xyxy", f"of shape ({len(self.scores)}, 4)", self.boxes_xyxy.shape)

    @property
    def total_ms(self) -> float:
        """Of all its stages."""
        return self.preprocess_ms + self.infer_ms + self.postprocess_ms


@dataclass(frozen=True, slots=True)
class Pedestrian:
    """One detection of a frame."""

    box_xyxy: tuple[float, float, float, float]
    score: float
    track: int | None = None

    def to_json(self) -> dict[str, Any]:
        """One entry of `pedestrians`; boxes to 0.01 px, scores to 0.00001."""
        return {
            "box_xyxy": [round(v, 2) for v in self.box_xyxy],
            "score": round(self.score, 5),
            "track": self.track,
        }


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The model as the header of a recording names it."""

    name: str
    version: str
    modality: Modality
    precision: Precision
    sha256: str

    def to_json(self) -> dict[str, Any]:
        """The header's `model`."""
        return {
            "name": self.name,
            "version": self.version,
            "modality": self.modality,
            "precision": self.precision,
            "sha256": self.sha256,
        }


@dataclass(frozen=True, slots=True)
class Header:
    """First record of a run."""

    source: str  # credentials redacted
    started_at: str  # UTC, ISO 8601
    size_wh: SizeWH | None
    fps: float | None
    model: ModelInfo
    input_wh: SizeWH | None
    threshold: float
    threads: int
    provider: str = PROCESSOR  # ONNX Runtime's name of what computes
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The line `record: header`."""
        return {
            "record": "header",
            "schema": SCHEMA,
            "source": self.source,
            "started_at": self.started_at,
            "size_wh": self.size_wh.to_json() if self.size_wh else None,
            "fps": self.fps,
            "model": self.model.to_json(),
            "input_wh": self.input_wh.to_json() if self.input_wh else None,
            "threshold": self.threshold,
            "threads": self.threads,
            "provider": self.provider,
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """The answer for one frame. Without signal the verdict is unknown and nothing is claimed of people."""

    seq: int
    signal: Signal
    verdict: Verdict
    presence: float | None
    pedestrians: tuple[Pedestrian, ...]
    coverage: float | None
    stage_ms: Mapping[str, float | None] | None
    name: str | None = None
    time_s: float | None = None
    captured_at: str | None = None
    age_ms: float | None = None
    dropped: int = 0
    source: str | None = None  # given where several sources are watched at once, as in their headers

    @classmethod
    def unseen(cls, seq: int, signal: Signal = "no_signal", time_s: float | None = None) -> "FrameRecord":
        """That of a frame which nobody has seen."""
        return cls(seq, signal, "unknown", None, (), None, None, time_s=time_s)

    def __post_init__(self) -> None:
        if self.signal != "ok" and (self.verdict != "unknown" or self.presence is not None or self.pedestrians):
            raise InvalidValueError("verdict", "unknown and empty without signal", self.verdict)

    @property
    def count(self) -> int | None:
        """How many pedestrians; None without signal."""
        return len(self.pedestrians) if self.signal == "ok" else None

    def to_json(self) -> dict[str, Any]:
        """The line `record: frame`."""
        line: dict[str, Any] = {"record": "frame", **_source_of(self.source), "seq": self.seq}
        if self.name is not None:
            line["name"] = self.name
        if self.time_s is not None:
            line["time_s"] = round(self.time_s, 6)
        if self.captured_at is not None:
            line["captured_at"] = self.captured_at
        line |= {
            "signal": self.signal,
            "verdict": self.verdict,
            "presence": None if self.presence is None else round(self.presence, 5),
            "count": self.count,
            "pedestrians": [p.to_json() for p in self.pedestrians],
            "coverage": self.coverage,
            "dropped": self.dropped,
        }
        if self.captured_at is not None:
            line["age_ms"] = None if self.age_ms is None else round(self.age_ms, 1)
        line["stage_ms"] = (
            None if self.stage_ms is None else {k: None if v is None else round(v, 3) for k, v in self.stage_ms.items()}
        )
        return line


@dataclass(frozen=True, slots=True)
class Event:
    """Something that changed: the verdict, the signal, or the size at which frames are seen."""

    event: EventName
    time_s: float | None = None
    captured_at: str | None = None
    track: int | None = None
    detail: str | None = None
    source: str | None = None

    @classmethod
    def at(cls, frame: Frame, event: EventName, detail: str) -> "Event":
        """What changed with a frame."""
        return cls(event, frame.time_s, frame.captured_at, detail=detail)

    def to_json(self) -> dict[str, Any]:
        """The line `record: event`."""
        line: dict[str, Any] = {"record": "event", **_source_of(self.source), "event": self.event, "track": self.track}
        if self.captured_at is not None:
            line["captured_at"] = self.captured_at
        if self.time_s is not None or self.captured_at is None:
            line["time_s"] = None if self.time_s is None else round(self.time_s, 6)
        if self.detail is not None:
            line["detail"] = self.detail
        return line


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Milliseconds of one stage over a run."""

    p50: float
    p95: float
    p99: float
    max: float

    def to_json(self) -> dict[str, float]:
        """`{p50, p95, p99, max}` to 0.001 ms."""
        return {k: round(getattr(self, k), 3) for k in ("p50", "p95", "p99", "max")}


@dataclass(frozen=True, slots=True)
class Summary:
    """Last record of a run."""

    frames: int
    judged: int  # frames that had a signal
    seconds: float
    fps: float | None
    pedestrian_share: float | None
    max_count: int | None
    unique_pedestrians: int | None
    dropped: int
    stage_ms: Mapping[str, Percentiles | None]
    exit_reason: ExitReason
    warnings: tuple[str, ...] = field(default=())
    source: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The line `record: summary`."""
        return {
            "record": "summary",
            **_source_of(self.source),
            "frames": self.frames,
            "judged": self.judged,
            "seconds": round(self.seconds, 3),
            "fps": None if self.fps is None else round(self.fps, 2),
            "pedestrian_share": None if self.pedestrian_share is None else round(self.pedestrian_share, 5),
            "max_count": self.max_count,
            "unique_pedestrians": self.unique_pedestrians,
            "dropped": self.dropped,
            "stage_ms": {k: None if v is None else v.to_json() for k, v in self.stage_ms.items()},
            "exit_reason": self.exit_reason,
            "warnings": list(self.warnings),
        }


Record = Header | FrameRecord | Event | Summary


def _source_of(source: str | None) -> dict[str, str]:
    """The field `source`, where it is needed to tell lines apart."""
    return {} if source is None else {"source": source}
