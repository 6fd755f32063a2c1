"""Ranges of activations, from real frames: what the 256 levels of an INT8 tensor should span.

One frame at a time runs through the graph and only a histogram of each tensor is kept, so memory depends neither on the
number of frames nor on that of tensors (ONNX Runtime's own calibrators keep every activation of every frame).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort  # type: ignore[import-untyped]
from tqdm import tqdm

from edge.contract import INPUT_NAME
from edge.errors import InvalidValueError
from edge.records import Image
from export.model_file import scratch_folder

Calibrating = Literal["percentile", "entropy", "minmax"]
BINS = 2048
PERCENTILE = 99.999  # of the values lie within the range
LEVELS = 256
SAMPLE = 50_000  # values of a frame that are counted, evenly spread; lowest and highest are exact
CANDIDATES = 64  # ranges that `entropy` chooses from
_ERRORS_ONLY = 3

Counts = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Range:
    """Lowest and highest value that INT8 keeps apart; what lies outside saturates. Holds 0, which must be exact."""

    low: float
    high: float


class Histogram:
    """Counts of the values of one tensor over [-reach, reach]; the reach doubles when a value falls outside."""

    def __init__(self) -> None:
        self.counts: Counts = np.zeros(BINS)
        self.reach = 0.0
        self.low, self.high = 0.0, 0.0

    def add(self, values: npt.NDArray[np.float32]) -> None:
        """Count the values of one more frame."""
        low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
        self.low, self.high = min(self.low, low), max(self.high, high)
        largest = max(-low, high)
        if self.reach == 0.0:
            self.reach = largest or 1e-6
        while self.reach < largest:
            folded = self.counts.reshape(-1, 2).sum(1)  # (BINS / 2,) over the same span
            self.counts = np.pad(folded, BINS // 4)
            self.reach *= 2
        sample = values.ravel()[:: max(1, values.size // SAMPLE)]
        place = ((sample + self.reach) * (BINS / 2 / self.reach)).astype(np.int32)
        self.counts += np.bincount(np.minimum(place, BINS - 1), minlength=BINS)

    def edges(self) -> Counts:
        """(BINS + 1,) borders of the bins."""
        return np.linspace(-self.reach, self.reach, BINS + 1)


def choose_range(histogram: Histogram, method: Calibrating) -> Range:
    """The range by one of three rules; never wider than what was seen, never without 0.

    - minmax: all that was seen, so that one outlier costs everybody resolution;
    - percentile: but for 0.001 % of the values;
    - entropy: the range whose 256 levels lose the least information (Migacz, "8-bit inference with TensorRT", 2017).
    """
    if method == "minmax":
        return Range(histogram.low, histogram.high)
    if method == "percentile":
        return _percentile(histogram)
    if method == "entropy":
        return _least_divergence(histogram)
    raise InvalidValueError("calibration", f"one of {', '.join(get_args(Calibrating))}", method)


def _percentile(histogram: Histogram) -> Range:
    share = np.cumsum(histogram.counts) / max(histogram.counts.sum(), 1.0)
    outside = (1 - PERCENTILE / 100) / 2
    edges = histogram.edges()
    low = edges[np.searchsorted(share, outside)]
    high = edges[min(int(np.searchsorted(share, 1 - outside)) + 1, BINS)]
    return _within(histogram, float(low), float(high))


def _least_divergence(histogram: Histogram) -> Range:
    """Both ends are drawn in by the same factor; 1 is all that was seen."""
    factors = np.linspace(1.0, 0.1, CANDIDATES)
    losses = [_divergence(histogram, histogram.low * f, histogram.high * f) for f in factors]
    best = float(factors[int(np.argmin(losses))])
    return _within(histogram, histogram.low * best, histogram.high * best)


def _divergence(histogram: Histogram, low: float, high: float) -> float:
    """Kullback-Leibler divergence between the values clipped to the range and these in 256 levels."""
    edges = histogram.edges()
    centres = (edges[:-1] + edges[1:]) / 2
    inside = (centres >= low) & (centres <= high)
    if not inside.any():
        return float("inf")
    counts = histogram.counts[inside]
    clipped = counts.copy()
    clipped[0] += histogram.counts[centres < low].sum()
    clipped[-1] += histogram.counts[centres > high].sum()
    level = np.minimum((centres[inside] - low) / max(high - low, 1e-12) * LEVELS, LEVELS - 1).astype(np.int64)
    filled = counts > 0
    in_level = np.bincount(level, counts, LEVELS)
    bins_in_level = np.bincount(level, filled, LEVELS)
    spread = np.where(filled, in_level[level] / np.maximum(bins_in_level[level], 1), 0.0)
    p, q = clipped / max(clipped.sum(), 1.0), spread / max(spread.sum(), 1.0)
    known = p > 0
    return float((p[known] * np.log(p[known] / np.maximum(q[known], 1e-9))).sum())


def _within(histogram: Histogram, low: float, high: float) -> Range:
    return Range(min(max(low, histogram.low), 0.0), max(min(high, histogram.high), 0.0))


def measure(model: onnx.ModelProto, tensors: Sequence[str], inputs: Iterable[Image]) -> dict[str, Histogram]:
    """Histograms of these float tensors over all `inputs`, each (H, W, 3) uint8 BGR with sides that the model takes."""
    histograms = {name: Histogram() for name in tensors}
    session = session_with_outputs(model, tensors)
    for image in tqdm(inputs, "calibrate", unit="frame", disable=None):
        found = session.run(list(tensors), {INPUT_NAME: image[None]})
        for name, values in zip(tensors, found, strict=True):
            histograms[name].add(values)
    return histograms


def session_with_outputs(model: onnx.ModelProto, tensors: Sequence[str]) -> ort.InferenceSession:
    """A session that also gives these tensors of the graph, on one thread."""
    augmented = onnx.ModelProto()
    augmented.CopyFrom(model)
    there = {output.name for output in model.graph.output}
    augmented.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors if name not in there)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    with scratch_folder() as scratch:
        file = scratch / "graph.onnx"
        file.write_bytes(augmented.SerializeToString())
        return ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
