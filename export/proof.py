"""INT8 against FP32: what it loses, what it gains, and whether that is good enough to be written."""

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from edge.contract import ModelMetadata
from edge.errors import InvalidValueError, ProcessingError
from edge.machine import this_machine
from edge.recognizer import Recognizer
from edge.records import Image
from training.rounding import text_of

LARGEST_DROP = 0.01  # of AP50
LARGEST_TIME_RATIO = 0.75
ROUNDS, WARM_UP_ROUNDS = 40, 4


@dataclass(frozen=True, slots=True)
class Gate:
    """What INT8 may cost at most to be worth a file."""

    largest_drop: float = LARGEST_DROP
    largest_time_ratio: float = LARGEST_TIME_RATIO

    def __post_init__(self) -> None:
        if not 0.0 <= self.largest_drop <= 1.0:
            raise InvalidValueError("--allow-drop", "at least 0 and at most 1", self.largest_drop, "0.01 suits")
        if not 0.0 <= self.largest_time_ratio < math.inf:
            raise InvalidValueError("--allow-slower", "a number of at least 0", self.largest_time_ratio, "0.75 suits")


@dataclass(frozen=True, slots=True)
class Figures:
    """What is compared, on the validation pictures. None: nothing to divide by."""

    ap50: float
    auroc: float | None
    calibration_error: float | None
    infer_ms: float  # median

    def to_json(self) -> dict[str, float | None]:
        """As metadata store it."""
        return {
            "AP50": self.ap50,
            "AUROC": self.auroc,
            "ECE": self.calibration_error,
            "infer_ms": round(self.infer_ms, 2),
        }


@dataclass(frozen=True, slots=True)
class Speed:
    """Both networks on the same inputs, turn by turn in one run, so that what slows the machine slows both."""

    fp32_ms: float  # median
    int8_ms: float
    ratio: float  # median over the turns
    input_wh: str  # of the largest input
    threads: int


@dataclass(frozen=True, slots=True)
class Proof:
    """INT8 against FP32 on one machine and one data set."""

    dataset: str
    fp32: Figures
    int8: Figures
    speed: Speed
    gate: Gate
    calibration: str  # rule of the ranges
    calibration_frames: int
    kept_fp32: tuple[str, ...]  # layers
    machine: str

    @property
    def drop(self) -> float:
        """Of AP50, to 0.0001 as both are; below 0 where INT8 happens to be better."""
        return round(self.fp32.ap50 - self.int8.ap50, 4)

    def to_json(self) -> dict[str, Any]:
        """For the metadata of the INT8 model."""
        return {
            "dataset": self.dataset,
            "fp32": self.fp32.to_json(),
            "int8": self.int8.to_json(),
            "AP50_drop": self.drop,
            "time_ratio": round(self.speed.ratio, 3),
            "input": self.speed.input_wh,
            "threads": self.speed.threads,
            "machine": self.machine,
            "allowed": {"AP50_drop": self.gate.largest_drop, "time_ratio": self.gate.largest_time_ratio},
            "calibration": self.calibration,
            "calibration_frames": self.calibration_frames,
            "kept_fp32": list(self.kept_fp32),
        }

    def __str__(self) -> str:
        rows = [
            f"{name} AP50 {one.ap50:.3f}, presence AUROC {text_of(one.auroc)}, calibration error "
            f"{text_of(one.calibration_error)}, {one.infer_ms:.1f} ms"
            for name, one in (("FP32", self.fp32), ("INT8", self.int8))
        ]
        return f"{'; '.join(rows)}; time ratio {self.speed.ratio:.2f} at {self.speed.input_wh}"

    def require(self) -> None:
        """Raises ProcessingError where INT8 costs more than the gate allows; the text says what failed."""
        failed = []
        if not self.drop <= self.gate.largest_drop:
            failed.append(
                f"lose at most {self.gate.largest_drop:g} AP50, got {self.drop:.4f} "
                f"(--allow-drop {_up(self.drop, 3)} lets it)"
            )
        if not self.speed.ratio <= self.gate.largest_time_ratio:
            failed.append(
                f"take at most {self.gate.largest_time_ratio:g} of FP32's time, got {self.speed.ratio:.3f} "
                f"(--allow-slower {_up(self.speed.ratio, 2)} lets it)"
            )
        if failed:
            raise ProcessingError(f"INT8 must {' and '.join(failed)}; the FP32 file is kept, no INT8 file was written")


def prove(fp32_file: Path, int8_file: Path, images: Sequence[Image], dataset: str, gate: Gate, made: "Made") -> Proof:
    """Both model files carry their figures on `dataset` already; here they run against each other on `images`."""
    fp32, int8 = Recognizer(fp32_file), Recognizer(int8_file)
    speed = race(fp32, int8, images)
    return Proof(
        dataset=dataset,
        fp32=_figures(fp32.metadata, dataset, speed.fp32_ms),
        int8=_figures(int8.metadata, dataset, speed.int8_ms),
        speed=speed,
        gate=gate,
        calibration=made.calibration,
        calibration_frames=made.frames,
        kept_fp32=made.kept_fp32,
        machine=str(this_machine()),
    )


@dataclass(frozen=True, slots=True)
class Made:
    """How the INT8 graph came to be."""

    calibration: str
    frames: int
    kept_fp32: tuple[str, ...]


def race(fp32: Recognizer, int8: Recognizer, images: Sequence[Image], rounds: int = ROUNDS) -> Speed:
    """Time the network alone, in turn; who begins changes from round to round."""
    times: dict[str, list[float]] = {"fp32": [], "int8": []}
    largest = max(images, key=lambda image: int(image.shape[0] * image.shape[1]))
    entries = [("fp32", fp32), ("int8", int8)]
    for number in tqdm(range(WARM_UP_ROUNDS + rounds), "INT8 against FP32", unit="round", disable=None):
        image = images[number % len(images)]
        for name, recognizer in entries if number % 2 else reversed(entries):
            network_input = recognizer.preprocess(image)
            started = time.perf_counter()
            recognizer.infer(network_input)
            if number >= WARM_UP_ROUNDS:
                times[name].append(1000 * (time.perf_counter() - started))
    pairs = zip(times["int8"], times["fp32"], strict=True)
    return Speed(
        fp32_ms=statistics.median(times["fp32"]),
        int8_ms=statistics.median(times["int8"]),
        ratio=statistics.median(ours / theirs for ours, theirs in pairs),
        input_wh=str(fp32.preprocess(largest).placement.input_wh),
        threads=fp32.threads,
    )


def _figures(metadata: ModelMetadata, dataset: str, infer_ms: float) -> Figures:
    figures = metadata.metrics[dataset]
    presence = figures["presence"]
    return Figures(float(figures["AP50"] or 0.0), presence["AUROC"], presence["ECE"], infer_ms)


def _up(value: float, digits: int) -> str:
    """Rounded up, so that it suffices."""
    step = 10.0**-digits
    return f"{(value // step + 1) * step:.{digits}f}"
