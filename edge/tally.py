"""What a run adds up to, in bounded memory: a camera may run for weeks."""

import time
from array import array
from collections.abc import Mapping, Sequence

import numpy as np

from edge.records import STAGES, ExitReason, FrameRecord, Percentiles, Summary

_MOST_SAMPLES = 20_000


class StageTimes:
    """Milliseconds of one stage. Past 20,000 samples every second one is kept, then every fourth, and so on."""

    def __init__(self) -> None:
        self._samples = array("d")
        self._keep_every = 1
        self._seen = 0
        self._max = 0.0

    def add(self, milliseconds: float) -> None:
        """Count one more sample."""
        self._max = max(self._max, milliseconds)
        if self._seen % self._keep_every == 0:
            self._samples.append(milliseconds)
        self._seen += 1
        if len(self._samples) > _MOST_SAMPLES:
            self._samples = self._samples[::2]
            self._keep_every *= 2

    def percentiles(self) -> Percentiles | None:
        """None where the stage never ran. The maximum is that of all samples."""
        if not self._samples:
            return None
        p50, p95, p99 = (float(value) for value in np.percentile(self._samples, [50, 95, 99]))
        return Percentiles(p50, p95, p99, self._max)


class Tally:
    """Counts the records of one run from the moment that it is made."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._with_pedestrian = 0
        self._judged = 0
        self._max_count: int | None = None
        self._dropped = 0
        self._stages = {stage: StageTimes() for stage in STAGES}
        self.frames = 0

    def add(self, record: FrameRecord) -> None:
        """Count one frame."""
        self.frames += 1
        self._dropped += record.dropped
        if record.count is not None:
            self._judged += 1
            self._with_pedestrian += record.verdict == "pedestrian"
            self._max_count = max(self._max_count or 0, record.count)
        self.add_stages(record.stage_ms or {})

    def add_stages(self, stage_ms: Mapping[str, float | None]) -> None:
        """Count the times of the stages that ran."""
        for stage, milliseconds in stage_ms.items():
            if milliseconds is not None:
                self._stages[stage].add(milliseconds)

    def summary(self, exit_reason: ExitReason, warnings: Sequence[str]) -> Summary:
        """All so far. `seconds` is the time the run took; the share is that of the frames that had a signal."""
        seconds = time.perf_counter() - self._started
        return Summary(
            frames=self.frames,
            judged=self._judged,
            seconds=seconds,
            fps=self.frames / seconds if self.frames and seconds > 0 else None,
            pedestrian_share=self._with_pedestrian / self._judged if self._judged else None,
            max_count=self._max_count,
            unique_pedestrians=None,  # no identities yet
            dropped=self._dropped,
            stage_ms={stage: times.percentiles() for stage, times in self._stages.items()},
            exit_reason=exit_reason,
            warnings=tuple(warnings),
        )
