"""Early stopping: which of the snapshots of a run to keep, and what that choice is worth on pictures it did not see.

The snapshot with the best figures on the held-out pictures is kept. Its figures there would flatter it, since it was
chosen for them; so what is reported is cross-fitted: the pictures of each fold are answered by the snapshot that is the
best on all other folds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from training.calibration import folds_by_scene
from training.coco_scoring import DetectedPicture, score_ap50
from training.presence_scoring import auroc


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A network at one step of a run, and what it said of the held-out pictures, always in the same order."""

    step: int
    weights: Mapping[str, Tensor]
    detected: tuple[DetectedPicture, ...]
    quality: float = field(init=False)  # see `quality_of`

    def __post_init__(self) -> None:
        object.__setattr__(self, "quality", quality_of(self.detected))


def quality_of(detected: Sequence[DetectedPicture]) -> float:
    """Mean of AP50 and of the AUROC of presence, of those that these pictures can tell; 0 where they tell neither."""
    with_people, without = (
        np.array([one.presence for one in detected if one.picture.shows_pedestrian is shows], dtype=np.float64)
        for shows in (True, False)
    )
    figures = (score_ap50(detected) if detected else None, auroc(with_people, without))
    told = [figure for figure in figures if figure is not None]
    return float(np.mean(told)) if told else 0.0


def best(snapshots: Sequence[Snapshot]) -> Snapshot:
    """The snapshot with the highest quality, the earliest of equals."""
    return max(snapshots, key=lambda one: (one.quality, -one.step))


def stale(snapshots: Sequence[Snapshot], patience: int) -> bool:
    """Whether the best snapshot is `patience` or more snapshots ago."""
    return len(snapshots) > patience and best(snapshots) not in snapshots[-patience:]


def cross_fitted(snapshots: Sequence[Snapshot]) -> tuple[DetectedPicture, ...]:
    """Of every picture, what the snapshot says that is the best on the other folds; one scene is cut by picture."""
    pictures = [one.picture for one in snapshots[0].detected]
    scenes = [picture.scene for picture in pictures]
    if len(set(scenes)) == 1:
        scenes = [str(k) for k in range(len(pictures))]
    fold = folds_by_scene(scenes, np.array([len(p.boxes_xyxy) > 0 for p in pictures]))
    answers: list[DetectedPicture] = list(snapshots[0].detected)
    for k in sorted(set(fold.tolist())):
        rest = np.flatnonzero(fold != k).tolist() or list(range(len(pictures)))

        def elsewhere(one: Snapshot, rest: Sequence[int] = rest) -> tuple[float, int]:
            return quality_of([one.detected[i] for i in rest]), -one.step

        chosen = max(snapshots, key=elsewhere)
        for i in np.flatnonzero(fold == k):
            answers[i] = chosen.detected[i]
    return tuple(answers)
