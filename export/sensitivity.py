"""Which layers does INT8 hurt? Found by what the heads' maps lose on real frames when one layer alone is INT8."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from edge.contract import INPUT_NAME
from edge.records import Image
from export.quantize import Prepared, quantize
from export.ranges import Range, session_with_outputs

Maps = tuple[npt.NDArray[np.float32], ...]  # one frame's head maps


@dataclass(frozen=True, slots=True)
class LayerError:
    """What one layer in INT8 costs: mean change of the head maps where people are, in logits and log distances."""

    layer: str
    error: float


class Judge:
    """The head maps of the FP32 graph on some frames, to compare others with."""

    def __init__(self, prepared: Prepared, frames: Sequence[Image]) -> None:
        self._tensors = prepared.last
        self._frames = frames
        self._expected = self._maps(prepared.model)

    def error(self, model: onnx.ModelProto) -> float:
        """Mean absolute change of the maps over all frames; a cell counts as much as its score in either graph."""
        found = self._maps(model)
        return float(np.mean([_error(a, b) for a, b in zip(self._expected, found, strict=True)]))

    def _maps(self, model: onnx.ModelProto) -> list[Maps]:
        session = session_with_outputs(model, self._tensors)
        return [tuple(session.run(list(self._tensors), {INPUT_NAME: image[None]})) for image in self._frames]


def _error(expected: Maps, found: Maps) -> float:
    """The score map is the one with a single channel; what empty ground says is nobody's business."""
    (scores,) = (np.maximum(a, b) for a, b in zip(expected, found, strict=True) if a.shape[1] == 1)
    weight = 1 / (1 + np.exp(-np.clip(scores, -30, 30)))  # (B, 1, h, w)
    changes = [np.abs(a - b).mean(1, keepdims=True) for a, b in zip(expected, found, strict=True)]
    return float(sum((change * weight).sum() for change in changes) / max(weight.sum(), 1e-9))


def rank_layers(prepared: Prepared, ranges: Mapping[str, Range], judge: Judge) -> list[LayerError]:
    """All layers, the one that INT8 hurts most first. Each is judged with everything else in FP32."""
    errors = []
    for layer, nodes in prepared.layers().items():
        others = [name for name in prepared.body if name not in nodes]
        errors.append(LayerError(layer, judge.error(quantize(prepared, ranges, others))))
    return sorted(errors, key=lambda one: -one.error)
