"""What a model does wrong at one threshold, told apart: people not seen, alarms about nobody, boxes that sit loosely.

A loose box is a miss and a false alarm at once for AP50, and yet the person was found: only its box overlaps the
label's by less than half. To mend it is another work than to mend a blind spot, so it is counted apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from training.boxes import centred_in
from training.evaluation import JudgedPicture

Kind = Literal["unseen", "nobody", "double", "loose"]
Box = npt.NDArray[np.float32]  # (4,) x0, y0, x1, y1


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake. `unseen`: a pedestrian without any detection; `nobody`: a detection of nothing; `double`: a further
    detection of a pedestrian that was found; `loose`: a detection centred in a pedestrian, with an IoU below 0.5."""

    kind: Kind
    judged: JudgedPicture
    box_xyxy: Box  # of the pedestrian where it was not seen, else of the detection
    score: float  # of the detection; for a pedestrian that of its best, too weak detection, 0 without any


@dataclass(frozen=True, slots=True)
class MistakeCounts:
    """How many of each at one threshold; AP50's misses are unseen + loosely_found."""

    unseen: int
    loosely_found: int  # pedestrians whose only detections are loose; two may share one
    nobody: int
    double: int
    loose: int  # detections

    def to_json(self) -> dict[str, Any]:
        """All of them."""
        return {name: getattr(self, name) for name in ("unseen", "loosely_found", "nobody", "double", "loose")}


def find_mistakes(judged: Sequence[JudgedPicture], threshold: float) -> tuple[Mistake, ...]:
    """Every mistake of the detections with a score of at least `threshold`, picture by picture."""
    return tuple(mistake for one in judged for mistake in _mistakes_of(one, threshold))


def count_mistakes(judged: Sequence[JudgedPicture], threshold: float) -> MistakeCounts:
    """How many there are of each kind."""
    kinds = [mistake.kind for mistake in find_mistakes(judged, threshold)]
    missed = sum(int((one.match.found_scores < threshold).sum()) for one in judged)
    unseen = kinds.count("unseen")
    return MistakeCounts(unseen, missed - unseen, kinds.count("nobody"), kinds.count("double"), kinds.count("loose"))


def _mistakes_of(one: JudgedPicture, threshold: float) -> list[Mistake]:
    detected, match = one.detected, one.match
    missed = match.found_scores < threshold
    wrong = (detected.scores >= threshold) & ~match.hit & ~match.ignored
    inside = centred_in(detected.boxes_xyxy[wrong], detected.picture.boxes_xyxy)  # (wrong, pedestrians)
    unseen = missed & ~inside.any(0)
    mistakes = [
        Mistake("unseen", one, box, float(score))
        for box, score in zip(detected.picture.boxes_xyxy[unseen], match.found_scores[unseen], strict=True)
    ]
    for box, score, around in zip(detected.boxes_xyxy[wrong], detected.scores[wrong], inside, strict=True):
        kind: Kind = "loose" if (around & missed).any() else "double" if around.any() else "nobody"
        mistakes.append(Mistake(kind, one, box, float(score)))
    return mistakes
