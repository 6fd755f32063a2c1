"""Does ONNX Runtime say what PyTorch says? Compared on real frames, before a file is kept."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional
from tqdm import tqdm

from edge.contract import Calibration
from edge.errors import ProcessingError
from edge.network import Predictions, Tensor
from edge.recognizer import Recognizer, RecognizerSettings
from edge.records import Image, SizeWH
from export.graph import RecognitionGraph
from training.networks.student import Student

LARGEST_DIFFERENCE = 1e-3  # of scores and of the presence
LARGEST_DIFFERENCE_PX = 0.5  # of a side of a box
CLOSE = 1e-4  # scores nearer to the threshold than this may fall on either side
JUDGED_SCORE = 0.05  # boxes of fainter peaks are nobody's business


@dataclass(frozen=True, slots=True)
class Parity:
    """Largest and mean differences over all frames, and decisions that flipped at the threshold."""

    frames: int
    sizes: tuple[str, ...]  # network inputs seen
    largest_score_difference: float
    mean_score_difference: float
    largest_box_difference_px: float
    largest_presence_difference: float
    flipped: int

    def to_json(self) -> dict[str, Any]:
        """For the metadata of the model."""
        return {
            "frames": self.frames,
            "sizes": list(self.sizes),
            "largest_score_difference": float(f"{self.largest_score_difference:.3g}"),
            "mean_score_difference": float(f"{self.mean_score_difference:.3g}"),
            "largest_box_difference_px": float(f"{self.largest_box_difference_px:.3g}"),
            "largest_presence_difference": float(f"{self.largest_presence_difference:.3g}"),
            "flipped_decisions": self.flipped,
        }

    def require(self) -> None:
        """Raises ProcessingError where the two disagree more than rounding explains; NaN agrees with nothing."""
        alike = (
            self.largest_score_difference <= LARGEST_DIFFERENCE
            and self.largest_presence_difference <= LARGEST_DIFFERENCE
            and self.largest_box_difference_px <= LARGEST_DIFFERENCE_PX
        )
        if self.flipped or not alike:
            raise ProcessingError(f"ONNX Runtime must agree with PyTorch, got {self.to_json()}; no file was written")


def compare(
    student: Student,
    calibration: Calibration,
    model_file: Path,
    images: Iterable[Image],
    threshold: float,
    input_wh: SizeWH | None = None,
    ask: Callable[[Tensor], Predictions] | None = None,
) -> Parity:
    """Run both on the very same network inputs, of `input_wh` or of the model's own sizes.

    `ask` answers in the model's place: another form of it, see export/static.py.
    """
    graph = RecognitionGraph(student, calibration).eval()
    recognizer = Recognizer(model_file, RecognizerSettings(input_wh=input_wh))
    scores, boxes, presences, sizes, flipped, frames = [0.0], [0.0], [0.0], set(), 0, 0
    for image in tqdm(images, "parity", unit="frame", disable=None):
        network_input = recognizer.preprocess(image)
        ours = ask(network_input.tensor) if ask else recognizer.run_graph(network_input.tensor)[0]
        theirs = _in_torch(graph, network_input.tensor)
        peaks = _torch_peaks(graph, network_input.tensor)
        for pairs in (_pair(ours, peaks.near), _pair(_due(peaks.sure, ours), ours)):
            scores.extend(pairs.score_differences)
            boxes.extend(pairs.box_differences_px)
        presences.append(abs(ours.presence - theirs.presence))
        flipped += _flipped(ours, theirs, threshold)
        sizes.add(str(network_input.placement.input_wh))
        frames += 1
    return Parity(
        frames=frames,
        sizes=tuple(sorted(sizes)),
        largest_score_difference=float(np.max(scores)),  # Python's max may drop a NaN
        mean_score_difference=float(np.mean(scores)),
        largest_box_difference_px=float(np.max(boxes)),
        largest_presence_difference=float(np.max(presences)),
        flipped=flipped,
    )


def _flipped(ours: Predictions, theirs: Predictions, threshold: float) -> int:
    """Peaks that only one of the two would report, and not for being so close to the threshold."""
    sure = [int((p.scores >= threshold + CLOSE).sum()) for p in (ours, theirs)]
    maybe = [int((p.scores >= threshold - CLOSE).sum()) for p in (ours, theirs)]
    return max(0, sure[0] - maybe[1]) + max(0, sure[1] - maybe[0])


def _in_torch(graph: RecognitionGraph, tensor: Tensor) -> Predictions:
    with torch.inference_mode():
        boxes_xyxy, scores, presence = (o.numpy() for o in graph(torch.from_numpy(tensor)))
    return Predictions(boxes_xyxy[0], scores[0], float(presence[0]))


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Each peak of one side that is worth a look, beside the other side's with the nearest box."""

    score_differences: npt.NDArray[np.float32]  # (N,)
    box_differences_px: npt.NDArray[np.float32]  # (N,) of the side that differs most


@dataclass(frozen=True, slots=True)
class _TorchPeaks:
    """PyTorch's cells that may be peaks: where two tie, either may be. Those that beat all neighbours must be."""

    near: Predictions  # no neighbour beats them by more than rounding
    sure: Predictions  # they beat every neighbour by more than that


def _torch_peaks(graph: RecognitionGraph, tensor: Tensor) -> _TorchPeaks:
    with torch.inference_mode():
        predictions = graph.student(torch.from_numpy(tensor).permute(0, 3, 1, 2).float())[graph.map_stride]
        chances = predictions.logits.sigmoid()  # (1, h, w)
        patches = functional.unfold(chances[:, None], 3, padding=1)  # (1, 9, h * w)
        patches[:, 4] = 0.0  # the cell itself
        ahead = chances - patches.amax(1).view_as(chances)
        boxes = predictions.boxes_xyxy().permute(0, 2, 3, 1)  # (1, h, w, 4)
        near, sure = (Predictions(boxes[m].numpy(), chances[m].numpy(), 0.0) for m in (ahead >= -CLOSE, ahead > CLOSE))
        return _TorchPeaks(near, sure)


def _due(sure: Predictions, ours: Predictions) -> Predictions:
    """Those of PyTorch's sure peaks that must be among ours, which are the 500 highest."""
    due = sure.scores > ours.scores[-1] + CLOSE
    return Predictions(sure.boxes_xyxy[due], sure.scores[due], 0.0)


def _pair(ours: Predictions, theirs: Predictions) -> _Pairs:
    """Not by rank: where two cells of faint ground tie to the last bit, a peak more or less shifts all that follow."""
    judged, known = ~(ours.scores < JUDGED_SCORE), theirs.scores >= JUDGED_SCORE / 2  # NaN is judged
    if not known.any():
        return _Pairs(ours.scores[judged], np.zeros(0, np.float32))
    apart = np.abs(ours.boxes_xyxy[judged, None] - theirs.boxes_xyxy[None, known]).max(2)  # (N, M)
    nearest = apart.argmin(1)
    return _Pairs(np.abs(ours.scores[judged] - theirs.scores[known][nearest]), apart.min(1))
