"""From an FP32 model file to its INT8 twin: calibrate, quantise, find what must stay FP32, fit, prove, write."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from edge.contract import Calibration, ModelMetadata
from edge.recognizer import Recognizer, RecognizerSettings
from edge.records import Image
from export.calibration_frames import LEAST_FRAMES, calibration_frames, spread
from export.fitting import fitted_metadata
from export.graph import calibrate_presence
from export.model_file import write_model
from export.proof import Gate, Made, Proof, prove
from export.quantize import Prepared, calibrate, choose_ranges, prepare, quantize
from export.ranges import Calibrating, Range
from export.sensitivity import Judge, rank_layers
from training.datasets import Dataset, load_image
from training.evaluation import evaluate_model

IDENTITY = Calibration(1.0, 0.0)  # presence = highest score: what a fit starts from
KEPT_LAYERS = (2, 4, 8)  # tried in turn where INT8 throughout loses too much
RACED_PICTURES, JUDGED_FRAMES = 8, 8


@dataclass(frozen=True, slots=True)
class Int8Settings:
    """How INT8 is made, and what it may cost."""

    calibrate: str  # labelled folder, pictures or recordings
    calibration: Calibrating = "percentile"
    frames: int = LEAST_FRAMES
    gate: Gate = dataclasses.field(default_factory=Gate)


@dataclass(frozen=True, slots=True)
class Original:
    """What is to become INT8: a finished FP32 file, which holds its figures."""

    file: Path
    metadata: ModelMetadata


@dataclass(frozen=True, slots=True)
class _Workbench:
    """What every attempt needs."""

    prepared: Prepared
    ranges: dict[str, Range]
    frames: list[Image]
    draft: Path
    metadata: ModelMetadata  # identity calibration


def frames_for(settings: Int8Settings, fp32_file: Path, datasets: Sequence[Dataset]) -> list[Image]:
    """Frames to calibrate on, as that model sees them; asked for before anything is measured.

    Raises:
        UnusableInputError: nothing fit to calibrate on.
    """
    recognizer = Recognizer(fp32_file, RecognizerSettings(threads=1))
    return calibration_frames(settings.calibrate, recognizer, datasets, settings.frames)


def make_int8(
    original: Original, draft: Path, datasets: Sequence[Dataset], settings: Int8Settings, frames: list[Image]
) -> Iterator[str]:
    """Write the INT8 model to `draft`, proof in its metadata; yields lines of progress. `frames`: see `frames_for`.

    The first data set is the one that threshold and presence are fitted to, as for FP32, and the one of the gate.

    Raises:
        ProcessingError: INT8 costs more than the gate allows.
    """
    validation = datasets[0]
    yield f"calibrating INT8 on {len(frames)} frames"
    graph = onnx.load(original.file)
    calibrate_presence(graph, IDENTITY)
    prepared = prepare(graph)
    ranges = choose_ranges(calibrate(prepared, frames), settings.calibration)
    told = {name: value for name, value in original.metadata.settings.items() if name != "parity"}  # that is FP32's
    metadata = dataclasses.replace(original.metadata, precision="int8", calibration=IDENTITY, settings=told)
    bench = _Workbench(prepared, ranges, frames, draft, metadata)
    wanted = float(original.metadata.metrics[validation.name]["AP50"] or 0.0) - settings.gate.largest_drop / 2
    tried: dict[tuple[str, ...], float] = {(): _attempt(bench, (), validation)}  # layers kept in FP32 -> AP50
    if tried[()] < wanted:
        yield f"INT8 throughout has AP50 {tried[()]:.3f}; looking for the layers to blame"
        tried |= _keep_layers(bench, validation, wanted)
    kept = best_kept(tried, wanted)
    if len(tried) > 1:
        yield f"AP50 {tried[kept]:.3f} with {len(kept)} layers kept in FP32: {', '.join(kept) or 'none'}"
    if kept != tuple(tried)[-1]:
        _write(bench, kept)
    metadata, _ = fitted_metadata(metadata, draft, datasets)
    # The body is the same, so its ranges are; only the presence, behind it, has changed.
    calibrate_presence(graph, metadata.calibration)
    final = prepare(graph)
    model = quantize(final, ranges, _nodes(final, kept))
    write_model(model, metadata, draft)
    proof = _proof(original, draft, validation, settings, Made(settings.calibration, len(frames), kept))
    yield f"INT8 against FP32 on {validation.name}: {proof}"
    proof.require()
    write_model(model, _with_proof(metadata, proof), draft)


def _attempt(bench: _Workbench, kept: Sequence[str], validation: Dataset) -> float:
    """AP50 with these layers in FP32; the model stays in the draft."""
    _write(bench, kept)
    return evaluate_model(bench.draft, validation).boxes.ap50 or 0.0


def _write(bench: _Workbench, kept: Sequence[str]) -> None:
    model = quantize(bench.prepared, bench.ranges, _nodes(bench.prepared, kept))
    write_model(model, bench.metadata, bench.draft)


def _keep_layers(bench: _Workbench, validation: Dataset, wanted: float) -> dict[tuple[str, ...], float]:
    """AP50 by the worst layers in FP32, ever more of them, until it is what is wanted."""
    judge = Judge(bench.prepared, spread(bench.frames, JUDGED_FRAMES))
    worst = [one.layer for one in rank_layers(bench.prepared, bench.ranges, judge)]
    tried: dict[tuple[str, ...], float] = {}
    for count in KEPT_LAYERS:
        kept = tuple(worst[:count])
        tried[kept] = _attempt(bench, kept, validation)
        if tried[kept] >= wanted:
            break
    return tried


def best_kept(tried: Mapping[tuple[str, ...], float], wanted: float) -> tuple[str, ...]:
    """The fewest layers in FP32 that bring AP50 up to what is wanted; where none do, those with the highest AP50."""
    enough = [kept for kept, ap50 in tried.items() if ap50 >= wanted]
    return min(enough, key=len) if enough else max(tried, key=lambda kept: (tried[kept], -len(kept)))


def _nodes(prepared: Prepared, layers: Sequence[str]) -> list[str]:
    nodes = prepared.layers()
    return [name for layer in layers for name in nodes[layer]]


def _proof(original: Original, draft: Path, validation: Dataset, settings: Int8Settings, made: Made) -> Proof:
    step = max(1, len(validation.pictures) // RACED_PICTURES)
    images = [load_image(picture) for picture in validation.pictures[::step][:RACED_PICTURES]]
    return prove(original.file, draft, images, validation.name, settings.gate, made)


def _with_proof(metadata: ModelMetadata, proof: Proof) -> ModelMetadata:
    return dataclasses.replace(metadata, settings={**metadata.settings, "int8": proof.to_json()})
