"""The state of all sources as Prometheus' text format 0.0.4, every name beginning with `kestrel_`."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from edge.machine import temperature_c
from edge.records import Verdict
from edge.sinks.board import Health, Snapshot

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_OWN_PROCESS = Path("/proc/self")
_HEALTH: tuple[str, ...] = get_args(Health)
_VERDICT: tuple[str, ...] = get_args(Verdict)


@dataclass(frozen=True, slots=True)
class ProcessState:
    """What the program uses; None where the system cannot tell."""

    memory_bytes: int | None
    cpu_s: float
    threads: int | None
    open_files: int | None
    temperature_c: float | None


@dataclass(frozen=True, slots=True)
class _Metric:
    name: str
    kind: str
    text: str
    samples: tuple[str, ...]

    def lines(self) -> tuple[str, ...]:
        """Nothing where there is no sample."""
        return (f"# HELP {self.name} {self.text}", f"# TYPE {self.name} {self.kind}", *self.samples) * bool(
            self.samples
        )


@dataclass(frozen=True, slots=True)
class _SourceValue:
    """One number of every source."""

    name: str
    kind: str
    text: str
    read: Callable[[Snapshot], float | None]


_SOURCE_VALUES = (
    _SourceValue("kestrel_signal_ok", "gauge", "1 where the latest record had a picture.", lambda s: s.health == "ok"),
    _SourceValue(
        "kestrel_presence",
        "gauge",
        "Probability of a pedestrian in the latest frame.",
        lambda s: None if s.latest is None else s.latest.presence,
    ),
    _SourceValue(
        "kestrel_pedestrians",
        "gauge",
        "Pedestrians in the latest frame.",
        lambda s: None if s.latest is None else s.latest.count,
    ),
    _SourceValue("kestrel_fps", "gauge", "Frames a second over the last ten seconds.", lambda s: s.fps),
    _SourceValue(
        "kestrel_frame_age_seconds",
        "gauge",
        "Age of the latest frame when it was judged.",
        lambda s: None if s.latest is None or s.latest.age_ms is None else s.latest.age_ms / 1e3,
    ),
    _SourceValue(
        "kestrel_last_frame_seconds", "gauge", "Since the latest frame with a picture.", lambda s: s.frame_age_s
    ),
    _SourceValue("kestrel_last_record_seconds", "gauge", "Since the latest record.", lambda s: s.record_age_s),
    _SourceValue("kestrel_frames_total", "counter", "Frame records.", lambda s: s.frames),
    _SourceValue("kestrel_dropped_frames_total", "counter", "Frames dropped to keep up.", lambda s: s.dropped),
    _SourceValue("kestrel_reconnects_total", "counter", "Times the signal came back.", lambda s: s.reconnects),
    _SourceValue("kestrel_appeared_total", "counter", "Times the verdict became pedestrian.", lambda s: s.appeared),
)


def process_state() -> ProcessState:
    """The process and the machine as they are now."""
    fields: dict[str, str] = {}
    open_files: int | None = None
    with suppress(OSError):
        lines = (_OWN_PROCESS / "status").read_text().splitlines()
        fields = {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
        open_files = sum(1 for _ in (_OWN_PROCESS / "fd").iterdir()) - 1  # one is the folder itself
    memory = fields.get("VmRSS", "").removesuffix(" kB")
    threads = fields.get("Threads", "")
    times = os.times()
    return ProcessState(
        memory_bytes=int(memory) * 1024 if memory.isdigit() else None,
        cpu_s=times.user + times.system,
        threads=int(threads) if threads.isdigit() else None,
        open_files=open_files,
        temperature_c=temperature_c(),
    )


def exposition(snapshots: Sequence[Snapshot], process: ProcessState) -> str:
    """The whole answer to `/metrics`."""
    metrics = [
        _Metric("kestrel_info", "gauge", "The source and its model; always 1.", _infos(snapshots)),
        _states("kestrel_health", "1 where the source is in this state.", "state", _HEALTH, snapshots),
        _states("kestrel_verdict", "1 where this is the verdict.", "verdict", _VERDICT, snapshots),
        *(_of_sources(value, snapshots) for value in _SOURCE_VALUES),
        _Metric("kestrel_stage_seconds", "summary", "Time of a stage; quantiles of late frames.", _stages(snapshots)),
        *_of_sinks(snapshots),
        *_of_process(process),
    ]
    return "".join(f"{line}\n" for metric in metrics for line in metric.lines())


def sample(name: str, value: float, **labels: str) -> str:
    """One line, labels escaped."""
    pairs = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    number = f"{value:.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else f"{int(value)}"
    return f"{name}{{{pairs}}} {number}" if pairs else f"{name} {number}"


def _escaped(text: str) -> str:
    clean = text.encode("utf-8", "replace").decode("utf-8")
    return clean.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _infos(snapshots: Sequence[Snapshot]) -> tuple[str, ...]:
    return tuple(
        sample(
            "kestrel_info",
            1,
            source=s.name,
            uri=s.title,
            model=s.model.name,
            version=s.model.version,
            precision=s.model.precision,
        )
        for s in snapshots
        if s.model is not None
    )


def _states(name: str, text: str, label: str, states: Sequence[str], snapshots: Sequence[Snapshot]) -> _Metric:
    """One line a state, as Prometheus wants it of what is no number; `label` also says which field it is."""
    now = {s.name: s.health if label == "state" else s.verdict for s in snapshots}
    lines = [
        sample(name, now[s.name] == state, **{"source": s.name, label: state}) for s in snapshots for state in states
    ]
    return _Metric(name, "gauge", text, tuple(lines))


def _of_sources(value: _SourceValue, snapshots: Sequence[Snapshot]) -> _Metric:
    numbers = [(s.name, value.read(s)) for s in snapshots]
    lines = tuple(sample(value.name, number, source=name) for name, number in numbers if number is not None)
    return _Metric(value.name, value.kind, value.text, lines)


def _stages(snapshots: Sequence[Snapshot]) -> tuple[str, ...]:
    name = "kestrel_stage_seconds"
    return tuple(
        line
        for s in snapshots
        for stage, times in s.stages.items()
        for line in (
            sample(name, times.p50_ms / 1e3, source=s.name, stage=stage, quantile="0.5"),
            sample(name, times.p95_ms / 1e3, source=s.name, stage=stage, quantile="0.95"),
            sample(f"{name}_sum", times.total_ms / 1e3, source=s.name, stage=stage),
            sample(f"{name}_count", times.frames, source=s.name, stage=stage),
        )
    )


def _of_sinks(snapshots: Sequence[Snapshot]) -> tuple[_Metric, ...]:
    sinks = [(s.name, sink) for s in snapshots for sink in s.sinks]
    dropped, failures, failing = "kestrel_sink_dropped_total", "kestrel_sink_failures_total", "kestrel_sink_failing"
    return (
        _Metric(
            dropped,
            "counter",
            "Records that never reached an output.",
            tuple(sample(dropped, sink.dropped, source=source, sink=sink.name) for source, sink in sinks),
        ),
        _Metric(
            failures,
            "counter",
            "Failures of an output.",
            tuple(sample(failures, sink.failures, source=source, sink=sink.name) for source, sink in sinks),
        ),
        _Metric(
            failing,
            "gauge",
            "1 where an output does not work at the moment.",
            tuple(sample(failing, sink.failing, source=source, sink=sink.name) for source, sink in sinks),
        ),
    )


def _of_process(process: ProcessState) -> tuple[_Metric, ...]:
    values = (
        ("kestrel_memory_bytes", "gauge", "Resident memory of the program.", process.memory_bytes),
        ("kestrel_cpu_seconds_total", "counter", "Processor time of the program.", process.cpu_s),
        ("kestrel_threads", "gauge", "Threads of the program.", process.threads),
        ("kestrel_open_files", "gauge", "Files and sockets that the program holds.", process.open_files),
        ("kestrel_temperature_celsius", "gauge", "The hottest sensor of the machine.", process.temperature_c),
    )
    return tuple(
        _Metric(name, kind, text, () if number is None else (sample(name, number),))
        for name, kind, text, number in values
    )
