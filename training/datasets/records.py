"""What every reader returns: pictures with their targets, checked when they are made."""

from dataclasses import dataclass
from pathlib import Path

from edge.errors import InvalidValueError, UnusableInputError
from edge.records import Boxes, Modality, Scores, SizeWH


class DatasetError(UnusableInputError):
    """A data set that cannot be used; the text names the file, the line or entry, and the rule that it breaks."""


@dataclass(frozen=True, slots=True)
class ScoredBoxes:
    """What another detector found in a picture, or in a view of it; see training/extra_teacher.py."""

    boxes_xyxy: Boxes  # (N, 4) in pixels
    scores: Scores  # (N,) in 0..1

    def __post_init__(self) -> None:
        if self.boxes_xyxy.shape != (len(self.scores), 4):
            raise InvalidValueError("boxes_xyxy", f"of shape ({len(self.scores)}, 4)", self.boxes_xyxy.shape)


@dataclass(frozen=True, slots=True)
class LabelledPicture:
    """One picture and its targets. All boxes are (N, 4) float32 in picture pixels and lie inside the picture."""

    path: Path
    size_wh: SizeWH
    boxes_xyxy: Boxes  # pedestrians
    ignore_xyxy: Boxes  # regions that neither reward nor punish: crowds, riders, people too small to label
    scene: str  # flight or scene; pictures of one scene never go to different splits
    source: str  # which collection it comes from
    others_xyxy: Boxes  # other classes (cars, bicycles): for contact sheets and hard negatives
    scored: ScoredBoxes | None = None  # an extra teacher's; None where none was asked
    hard_xyxy: Boxes | None = None  # false alarms of an earlier model, see training/hard_ground.py

    def __post_init__(self) -> None:
        for name in ("boxes_xyxy", "ignore_xyxy", "others_xyxy"):
            shape = getattr(self, name).shape
            if len(shape) != 2 or shape[1] != 4:
                raise InvalidValueError(name, "of shape (N, 4)", shape)

    @property
    def shows_pedestrian(self) -> bool | None:
        """None where it holds ignore regions alone: nobody knows whether anyone is in them."""
        return True if len(self.boxes_xyxy) else None if len(self.ignore_xyxy) else False


@dataclass(frozen=True, slots=True)
class Dataset:
    """A split of one collection, in the order of its annotation file."""

    name: str
    modality: Modality | None  # None: neither the annotations nor the folder's name say
    pictures: tuple[LabelledPicture, ...]
    warnings: tuple[str, ...] = ()

    @property
    def pedestrians(self) -> int:
        """Boxes of pedestrians in all pictures."""
        return sum(len(picture.boxes_xyxy) for picture in self.pictures)
