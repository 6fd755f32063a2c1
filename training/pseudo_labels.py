"""What a teacher says of footage without labels, made into labels: sure people, doubtful regions, empty ground.

Noisy Student, Xie et al., arXiv 1911.04252: the teacher labels undisturbed pictures, and only what it is sure of is
taught; as many empty pictures are kept as pictures with people, so that neither outweighs the other.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from edge.errors import InvalidValueError, ProcessingError, UnusableInputError
from edge.records import Boxes, Image, Recognition, Scores, SizeWH
from edge.sources.pictures import read_picture
from training.boxes import centred_in
from training.datasets import LabelledPicture
from training.datasets.labels import scene_of_name
from training.unlabelled import Recording, frames_of

JPEG_QUALITY = 95
SOURCE = "unlabelled"  # of every picture that was not labelled by a person

Recognise = Callable[[Image], Recognition]


@dataclass(frozen=True, slots=True)
class LabelRule:
    """What a score makes of a detection: a pedestrian from `floor` on, nothing below `faint`, else a region ignored."""

    floor: float = 0.6
    faint: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.faint <= self.floor <= 1:
            raise InvalidValueError("floor", "at least faint, both above 0 and at most 1", (self.floor, self.faint))


@dataclass(frozen=True, slots=True)
class PseudoLabels:
    """What is taught of one picture."""

    boxes_xyxy: Boxes  # (N, 4) pedestrians
    scores: Scores  # (N,)
    ignore_xyxy: Boxes  # (M, 4)

    @property
    def doubtful(self) -> bool:
        """Nobody is sure to be there, but somebody may be: of such a picture nothing can be learnt."""
        return not len(self.boxes_xyxy) and len(self.ignore_xyxy) > 0


@dataclass(frozen=True, slots=True)
class PseudoLabelled:
    """One frame on disk with its labels."""

    picture: LabelledPicture
    scores: Scores  # of its pedestrians


def labels_of(recognition: Recognition, rule: LabelRule) -> PseudoLabels:
    """A faint detection on a sure person is a duplicate, and no reason to ignore that person."""
    boxes, scores = recognition.boxes_xyxy, recognition.scores
    sure = scores >= rule.floor
    faint = boxes[(scores >= rule.faint) & ~sure]
    people = boxes[sure]
    doubled = centred_in(faint, people).any(1) | centred_in(people, faint).any(0)
    return PseudoLabels(people, scores[sure], faint[~doubled])


def save_frames(recordings: Sequence[Recording], folder: Path) -> tuple[Path, ...]:
    """Write the chosen frames as pictures into `folder`; a folder that is there already is complete, and kept.

    Raises:
        SourceError: a recording cannot be opened any more.
        ProcessingError: the disk is full.
    """
    if not folder.is_dir():
        aside = folder.with_name(folder.name + ".partial")
        shutil.rmtree(aside, ignore_errors=True)  # of a run that was cut off, maybe with other footage
        aside.mkdir(parents=True)
        for number, recording in enumerate(recordings):
            for frame in tqdm(frames_of(recording), "keep", len(recording.chosen), unit="frame", disable=None):
                name = f"{number:02d}-{Path(recording.uri).stem}_{frame.seq:06d}.jpg"
                if frame.image is not None:
                    _write_jpeg(frame.image, aside / name)
        aside.rename(folder)
    return tuple(sorted(folder.glob("*.jpg")))


def _write_jpeg(image: Image, path: Path) -> None:
    done, content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    try:
        if done:
            path.write_bytes(content.tobytes())
    except OSError as error:
        raise ProcessingError(f"{path} must be writable, got {error}; free some space and try again") from None


def label_frames(paths: Sequence[Path], recognise: Recognise, rule: LabelRule) -> tuple[PseudoLabelled, ...]:
    """Ask the teacher for every frame; doubtful frames are left out, and empty ones beyond the number of the others.

    Raises:
        UnusableInputError: the teacher is sure of nobody in any frame.
    """
    labelled = []
    for path in tqdm(paths, desc="label", unit="frame", disable=None):
        image = read_picture(path).image
        if image is None:
            continue
        labels = labels_of(recognise(image), rule)
        if not labels.doubtful:
            labelled.append(_labelled(path, image, labels))
    with_people = sum(len(one.scores) > 0 for one in labelled)
    if not with_people:
        raise UnusableInputError(
            f"unlabelled footage must show somebody whom the teacher is sure of, got nobody in {len(paths)} frames; "
            f"lower --floor (now {rule.floor:g}), or name other recordings"
        )
    return _balanced(labelled, with_people)


def _labelled(path: Path, image: Image, labels: PseudoLabels) -> PseudoLabelled:
    size_wh = SizeWH(image.shape[1], image.shape[0])
    none = np.zeros((0, 4), np.float32)
    scene = scene_of_name(path.name)
    picture = LabelledPicture(path, size_wh, labels.boxes_xyxy, labels.ignore_xyxy, scene, SOURCE, none)
    return PseudoLabelled(picture, labels.scores)


def _balanced(labelled: Sequence[PseudoLabelled], most_empty: int) -> tuple[PseudoLabelled, ...]:
    """In their order, with at most so many empty ones, evenly taken."""
    empty = [k for k, one in enumerate(labelled) if not len(one.scores)]
    kept = {empty[i] for i in np.linspace(0, len(empty) - 1, min(most_empty, len(empty))).round().astype(int)}
    return tuple(one for k, one in enumerate(labelled) if len(one.scores) or k in kept)
