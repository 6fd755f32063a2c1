"""Real frames to calibrate INT8 on: labelled pictures or recordings, none of them used for validation."""

import hashlib
import itertools
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from edge.errors import SourceError, UnusableInputError
from edge.modality import appearance_of, contradicts
from edge.recognizer import Recognizer
from edge.records import Image, Modality
from edge.sources import expand_recordings, is_live, open_source, redact
from edge.sources.files import find_recordings
from training.datasets import Dataset, load_image, read_dataset
from training.near_duplicates import BITS, Matrix, perceptual_hash

LEAST_FRAMES = 200
CROP_PX = 512  # frames are cut to it, so that neither memory nor time depends on how large they are
# Share of a perceptual hash's bits that may differ in one picture that was saved again: of 240 real pictures as JPEG of
# quality 95 to 20, halved or enlarged, none differed by more, and one made brighter by 0.11. Of 400 others 3 do not.
SAME_PICTURE = 0.1
MOST_OF_OTHER_MODALITY = 0.05  # share of the frames; of real colour pictures 1 % look grey
_LABELS = (".json", ".yaml", ".yml")


def calibration_frames(
    source: str, recognizer: Recognizer, measured: Sequence[Dataset], count: int = LEAST_FRAMES
) -> list[Image]:
    """`count` frames spread over `source` as the network sees them: scaled, padded, cut to at most 512x512 px.

    A labelled folder's labels are not looked at. No frame is one of `measured`, saved again in another way or not. The
    same source gives the same frames.

    Raises:
        UnusableInputError: nothing to read, the other modality among it, or too few frames beside those of `measured`.
    """
    rng = random.Random(0)
    modality = recognizer.metadata.modality
    dataset = require_source(source, modality)
    decoded = _recorded(source) if dataset is None else _pictures(dataset, rng)
    known = _Known.of(measured)
    fresh = _fresh(tqdm(decoded, "calibration frames", unit="frame", disable=None), known)
    if dataset is not None:  # any part of a random order is a fair sample: the first few suffice
        fresh = itertools.islice(fresh, count)
    images = _pick((_as_seen(image, recognizer, rng) for image in fresh), count, rng)
    if len(images) < count:
        raise UnusableInputError(
            f"--calibrate must hold at least {count} frames that are not in --validate or --also, got {len(images)} in "
            f"{redact(source)}; name training pictures, or a longer recording"
        )
    _require_modality(images, modality)
    return images


def require_source(source: str, modality: Modality) -> Dataset | None:
    """The data set that `source` names, None for pictures and recordings; its frames are not looked at.

    Raises:
        UnusableInputError: nothing to read, or the other modality.
    """
    if is_live(source):
        raise UnusableInputError(f"--calibrate must be recorded, got {redact(source)!r}; record it first")
    dataset = _labelled(source)
    if dataset is None:
        expand_recordings(source)
    elif dataset.modality not in (None, modality):
        raise UnusableInputError(
            f"--calibrate must be {modality} as the checkpoint is, got the {dataset.modality} {dataset.name}"
        )
    return dataset


@dataclass(frozen=True, slots=True)
class _Known:
    """The pictures that the model is measured on."""

    hashes: Matrix  # (N, BITS)

    @classmethod
    def of(cls, datasets: Sequence[Dataset]) -> "_Known":
        pictures = [picture for dataset in datasets for picture in dataset.pictures]
        shown = tqdm(pictures, "measured pictures", unit="picture", disable=None)
        hashes = [perceptual_hash(load_image(picture)) for picture in shown]
        return cls(np.stack(hashes) if hashes else np.zeros((0, BITS), np.float32))

    def holds(self, image: Image) -> bool:
        """Whether it is one of them, be it encoded again or of another size."""
        differing = (BITS - self.hashes @ perceptual_hash(image)) / 2  # (N,) bits
        return bool(differing.min(initial=BITS) <= SAME_PICTURE * BITS)


def _require_modality(images: Sequence[Image], modality: Modality) -> None:
    """Raises UnusableInputError where more than a few frames look like the other modality."""
    shown = [appearance for appearance in map(appearance_of, images) if appearance != "blank"]
    wrong = sum(contradicts(appearance, modality) for appearance in shown)
    if wrong > MOST_OF_OTHER_MODALITY * len(shown):
        look = "in colour" if modality == "thermal" else "grey or in false colours, as thermal ones are"
        raise UnusableInputError(
            f"--calibrate must be {modality} as the model is, got {wrong} of {len(shown)} frames that are {look}; "
            "leave them out"
        )


def _as_seen(image: Image, recognizer: Recognizer, rng: random.Random) -> Image:
    tensor = recognizer.preprocess(image).tensor[0]  # (H, W, 3)
    return _cut(tensor, recognizer.metadata.input_multiple, rng)


def _recorded(source: str) -> Iterator[Image]:
    for recording in expand_recordings(source):
        with open_source(recording) as frames:
            yield from (frame.image for frame in frames if frame.image is not None)


def _pictures(dataset: Dataset, rng: random.Random) -> Iterator[Image]:
    """All of them, in random order."""
    yield from map(load_image, rng.sample(dataset.pictures, len(dataset.pictures)))


def _labelled(source: str) -> Dataset | None:
    """The data set, where `source` is one; a folder that holds pictures or videos itself is read as these."""
    path = Path(source)
    if path.suffix in _LABELS:
        return read_dataset(path, usual="train")
    if not path.is_dir():
        return None
    try:
        find_recordings(source)
    except SourceError:
        return read_dataset(path, usual="train")
    return None


def _fresh(images: Iterable[Image], known: _Known) -> Iterator[Image]:
    """Those that the model is not measured on, none twice."""
    taken: set[str] = set()
    for image in images:
        digest = _digest(image)
        if digest not in taken and not known.holds(image):
            taken.add(digest)
            yield image


def _pick(images: Iterable[Image], count: int, rng: random.Random) -> list[Image]:
    """`count` of them, each with the same chance (reservoir sampling, Vitter 1985)."""
    chosen: list[Image] = []
    for seen, image in enumerate(images):
        place = seen if seen < count else rng.randrange(seen + 1)
        if place < count:
            chosen[place : place + 1] = [image]
    return chosen


def _cut(image: Image, multiple: int, rng: random.Random) -> Image:
    """A part of at most 512x512 px, wherever; sides stay multiples of the network's stride."""
    side = CROP_PX // multiple * multiple
    starts = [rng.randrange(0, max(0, length - side) + 1) for length in image.shape[:2]]
    return image[starts[0] : starts[0] + side, starts[1] : starts[1] + side].copy()


def _digest(image: Image) -> str:
    return hashlib.sha256(image.tobytes()).hexdigest()


def spread(images: Sequence[Image], count: int) -> list[Image]:
    """`count` of them at even distances, or all."""
    step = max(1, len(images) // count)
    return list(images[::step][:count])
