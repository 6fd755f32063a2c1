"""Counts what each frame costs once the warm-up is over."""

import time
from collections.abc import Mapping
from threading import Lock

from edge.bench.figures import RECOGNITION_STAGES, BenchReport, Sample, Subject, Temperatures
from edge.errors import ProcessingError
from edge.machine import peak_rss_mb, temperature_c, this_machine
from edge.records import STAGES, Frame, FrameRecord, Record, SourceInfo
from edge.sinks import Sink
from edge.tally import StageTimes

_WARM_UP_FRAMES = 3  # buffers, thread pools and the first key frame
_MOST_SAMPLES = 20_000
_LIVE = (
    "a live source is decoded in another process, whose CPU time and memory are not counted, "
    "and there are no more frames a second than it sends"
)


class Meter(Sink):
    """Counts frames and the times of their stages; another thread may add those of drawing and encoding."""

    def __init__(self, seconds: float, warm_up_s: float) -> None:
        """Count for so long, after so long; at least a few frames of each."""
        self.warnings: list[str] = []
        self._seconds = seconds
        self._warm_up_s = warm_up_s
        self._first_at: float | None = None
        self._seen = 0
        self._frames = 0
        self._without_picture = 0
        self._began_at = self._now = 0.0
        self._cpu_began = self._cpu_now = 0.0
        self._adding = Lock()
        self._stages = {stage: StageTimes() for stage in STAGES}
        self._recognition = StageTimes()
        self._samples: list[Sample] = []
        self._keep_every = 1
        self._heat_began: float | None = None

    @property
    def enough(self) -> bool:
        """Whether the run has been as long as it was asked to be."""
        return self._frames > 0 and time.perf_counter() - self._began_at >= self._seconds

    def write(self, record: Record, frame: Frame | None) -> None:
        """Take one frame; one without a picture costs nothing, and is none that was recognised."""
        if not isinstance(record, FrameRecord) or frame is None:
            return
        if record.signal != "ok":
            self._without_picture += 1
            return
        before, self._now, self._cpu_now = self._now, time.perf_counter(), time.process_time()
        self._seen += 1
        if self._first_at is None:
            self._first_at = self._now
        if self._began_at:
            self._count(record.stage_ms or {}, 1000 * (self._now - before))
        elif self._seen >= _WARM_UP_FRAMES and self._now - self._first_at >= self._warm_up_s:
            self._began_at, self._cpu_began = self._now, self._cpu_now
            self._heat_began = temperature_c()

    def add_stages(self, stage_ms: Mapping[str, float]) -> None:
        """Count stages that ran beside the loop, once the warm-up is over."""
        if self._began_at:
            with self._adding:
                for stage, ms in stage_ms.items():
                    self._stages[stage].add(ms)

    def close(self) -> None:
        """Nothing is open."""

    def report(self, subject: Subject, info: SourceInfo, warnings: tuple[str, ...]) -> BenchReport:
        """All figures of the run.

        Raises:
            ProcessingError: it ended within the warm-up.
        """
        if not self._frames:
            raise ProcessingError("the run ended before a single frame was measured; the warm-up takes at least 3")
        heat_now = temperature_c()
        known = self._heat_began is not None and heat_now is not None
        return BenchReport(
            subject=subject,
            machine=this_machine(),
            source=info.uri,
            frame_wh=info.size_wh,
            frames=self._frames,
            seconds=self._now - self._began_at,
            cpu_s=self._cpu_now - self._cpu_began,
            stage_ms={stage: times.percentiles() for stage, times in self._stages.items()},
            recognition_ms=self._recognition.percentiles(),
            peak_rss_mb=peak_rss_mb(),
            temperatures=Temperatures(self._heat_began or 0.0, heat_now or 0.0) if known else None,
            samples=tuple(self._samples),
            warnings=(*warnings, *self._notes(info)),
        )

    def _notes(self, info: SourceInfo) -> tuple[str, ...]:
        notes = [_LIVE] if info.live else []
        if none := self._without_picture:
            frames = "frame" if none == 1 else "frames"
            notes.append(f"{none} {frames} without a picture, warm-up included, are not counted")
        return tuple(notes)

    def _count(self, stage_ms: Mapping[str, float | None], interval_ms: float) -> None:
        self._frames += 1
        ran = {stage: ms for stage, ms in stage_ms.items() if ms is not None}
        self.add_stages(ran)
        if all(stage in ran for stage in RECOGNITION_STAGES):
            self._recognition.add(sum(ran[stage] for stage in RECOGNITION_STAGES))
        if self._frames % self._keep_every == 0:
            self._samples.append(Sample(self._now - self._began_at, interval_ms))
        if len(self._samples) > _MOST_SAMPLES:
            self._samples, self._keep_every = self._samples[::2], 2 * self._keep_every
