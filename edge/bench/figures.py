"""What a measurement gives: the figures of one model, as JSON and as a table for the terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge.machine import Machine
from edge.records import ModelInfo, Percentiles, SizeWH

RECOGNITION_STAGES = ("preprocess", "infer", "postprocess")


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured: a model at a size, run in a certain way."""

    model: ModelInfo
    file: str
    input_wh: SizeWH | None  # None: it differs from picture to picture
    provider: str
    threads: int

    def __str__(self) -> str:
        size = "" if self.input_wh is None else f" at {self.input_wh}"
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.model.name} {self.model.version}, {self.model.precision}{size}, {self.provider}, {threads}"

    def to_json(self) -> dict[str, Any]:
        """The fields that name the subject."""
        return {
            "model": self.model.name,
            "model_version": self.model.version,
            "model_file": self.file,
            "model_sha256": self.model.sha256,
            "modality": self.model.modality,
            "precision": self.model.precision,
            "input_wh": None if self.input_wh is None else self.input_wh.to_json(),
            "provider": self.provider,
            "threads": self.threads,
        }


@dataclass(frozen=True, slots=True)
class Sample:
    """One frame of the run."""

    at_s: float  # since the warm-up ended
    interval_ms: float  # since the frame before it


@dataclass(frozen=True, slots=True)
class Temperatures:
    """The hottest sensor in degrees Celsius when the run began and when it ended."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class BenchReport:
    """A sustained run. `stage_ms` is None for a stage that did not run."""

    subject: Subject
    machine: Machine
    source: str
    frame_wh: SizeWH | None
    frames: int
    seconds: float
    cpu_s: float  # of all threads of the process
    stage_ms: Mapping[str, Percentiles | None]
    recognition_ms: Percentiles | None  # preprocess, infer and postprocess together
    peak_rss_mb: float | None
    temperatures: Temperatures | None
    samples: tuple[Sample, ...]
    warnings: tuple[str, ...]

    @property
    def fps(self) -> float:
        """Frames a second, everything between two frames included."""
        return self.frames / self.seconds

    @property
    def cpu_s_per_frame(self) -> float:
        """Processor seconds of all threads a frame; an idle thread counts nothing, a spinning one does."""
        return self.cpu_s / self.frames

    def to_json(self) -> dict[str, Any]:
        """The content of `--json`."""
        heat = self.temperatures
        return {
            **self.subject.to_json(),
            "source": self.source,
            "frame_wh": None if self.frame_wh is None else self.frame_wh.to_json(),
            "frames": self.frames,
            "seconds": round(self.seconds, 3),
            "fps": round(self.fps, 3),
            "cpu_s_per_frame": round(self.cpu_s_per_frame, 6),
            "peak_rss_mb": None if self.peak_rss_mb is None else round(self.peak_rss_mb, 1),
            "temperature_c": None if heat is None else {"start": heat.start, "end": heat.end},
            "stage_ms": {stage: None if one is None else one.to_json() for stage, one in self.stage_ms.items()},
            "recognition_ms": None if self.recognition_ms is None else self.recognition_ms.to_json(),
            "machine": self.machine.to_json(),
            "date": self.machine.date,
            "warnings": list(self.warnings),
        }


def in_words(report: BenchReport) -> str:
    """The report for a terminal."""
    size = "" if report.frame_wh is None or str(report.frame_wh) in report.source else f", {report.frame_wh}"
    memory = "unknown" if report.peak_rss_mb is None else f"{report.peak_rss_mb:.0f} MB"
    heat = report.temperatures
    rows = [(stage, one) for stage, one in report.stage_ms.items()]
    return "\n".join(
        [
            str(report.subject),
            f"{report.source}{size}: {report.frames} frames in {report.seconds:.1f} s",
            str(report.machine),
            "",
            stage_table([*rows, ("recognition", report.recognition_ms)]),
            "",
            f"{report.fps:.1f} frames a second, {1000 * report.cpu_s_per_frame:.1f} ms of CPU time a frame, "
            f"peak memory {memory}"
            + ("" if heat is None else f", {heat.start:.0f} °C at the start and {heat.end:.0f} °C at the end"),
        ]
    )


def stage_table(rows: Sequence[tuple[str, Percentiles | None]]) -> str:
    """Milliseconds of each stage in columns; a dash for what did not run."""
    lines = [f"{'ms':12}" + "".join(f"{head:>9}" for head in ("p50", "p95", "p99", "max"))]
    for name, one in rows:
        cells = ("-",) * 4 if one is None else tuple(f"{ms:.2f}" for ms in (one.p50, one.p95, one.p99, one.max))
        lines.append(f"{name:12}" + "".join(f"{cell:>9}" for cell in cells))
    return "\n".join(lines)
