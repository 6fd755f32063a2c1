"""Test pictures that nearly repeat a training picture: what a model scores on them says little about new places.

Perceptual hash: the signs, against their median, of the lowest frequencies of a picture's cosine transform (Zauner,
"Implementation and Benchmarking of Perceptual Image Hash Functions", 2010), here 12 x 12 without the mean, so that
two frames of one flight a second apart differ in few bits, and two dark fields in many.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from edge.records import Image
from training.coco_scoring import score_ap50
from training.datasets import Dataset, LabelledPicture, load_image
from training.evaluation import Evaluation
from training.rounding import rounded, text_of

THUMB_PX, LOW_FREQUENCIES = 32, 12
BITS = LOW_FREQUENCIES**2 - 1
NEAR = 0.2  # share of the bits that may differ
_READERS = 4

Hash = npt.NDArray[np.float32]  # (BITS,) of -1 and 1
Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Pair:
    """A test picture and the training picture that it is most like."""

    test: LabelledPicture
    training: LabelledPicture
    distance: float  # share of differing bits, 0..1


@dataclass(frozen=True, slots=True)
class NearDuplicates:
    """How much of an evaluation rests on pictures that the model has as good as seen."""

    training_set: str
    pictures: int  # judged
    pairs: tuple[Pair, ...]  # the near duplicates, most alike first
    same_scene: int  # judged pictures whose scene the training set holds, near duplicate or not
    ap50: float | None
    ap50_without: float | None  # None: nobody is in the other pictures, or there are none

    def to_json(self) -> dict[str, Any]:
        """Figures to 0.0001."""
        return {
            "training_set": self.training_set,
            "near_duplicates": len(self.pairs),
            "same_scene": self.same_scene,
            "AP50_without": rounded(self.ap50_without),
        }

    def __str__(self) -> str:
        mostly = max(len(self.pairs), self.same_scene) > self.pictures / 2
        return (
            f"{len(self.pairs)} of {self.pictures} pictures nearly repeat one of {self.training_set} (AP50 "
            f"{text_of(self.ap50)}, without them {text_of(self.ap50_without)}), and {self.same_scene} are of scenes "
            f"that it holds{': the figures say little about new places' if mostly else ''}"
        )


def find_near_duplicates(evaluation: Evaluation, training: Dataset) -> NearDuplicates:
    """Compare every judged picture with every picture of the training set.

    Raises:
        DatasetError: a picture that cannot be read.
    """
    pictures = [one.detected.picture for one in evaluation.judged]
    pairs = near_pairs(pictures, training.pictures)
    repeated = {id(pair.test) for pair in pairs}
    others = [one.detected for one in evaluation.judged if id(one.detected.picture) not in repeated]
    scenes = {picture.scene for picture in training.pictures}
    return NearDuplicates(
        training_set=training.name,
        pictures=len(pictures),
        pairs=pairs,
        same_scene=sum(picture.scene in scenes for picture in pictures),
        ap50=evaluation.boxes.ap50,
        ap50_without=score_ap50(others) if others else None,
    )


def near_pairs(test: Sequence[LabelledPicture], training: Sequence[LabelledPicture]) -> tuple[Pair, ...]:
    """The test pictures with a near duplicate, each with the nearest one; most alike first."""
    if not test or not training:
        return ()
    ours, theirs = _hashes(test, "test pictures"), _hashes(training, "training pictures")
    distances = (BITS - ours @ theirs.T) / (2 * BITS)  # (test, training)
    nearest = distances.argmin(1)
    pairs = [
        Pair(picture, training[int(k)], float(row[k]))
        for picture, k, row in zip(test, nearest, distances, strict=True)
        if row[k] <= NEAR
    ]
    return tuple(sorted(pairs, key=lambda pair: pair.distance))


def perceptual_hash(image: Image) -> Hash:
    """(BITS,) of -1 and 1 for a picture (H, W, 3) BGR."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    thumb = cv2.resize(grey, (THUMB_PX, THUMB_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(thumb)[:LOW_FREQUENCIES, :LOW_FREQUENCIES].ravel()[1:]
    return np.where(low > np.median(low), 1, -1).astype(np.float32)


def _hashes(pictures: Sequence[LabelledPicture], what: str) -> Matrix:
    with ThreadPoolExecutor(_READERS) as readers:
        hashes = readers.map(lambda picture: perceptual_hash(load_image(picture)), pictures)
        return np.stack(list(tqdm(hashes, what, len(pictures), unit="picture", disable=None)))
