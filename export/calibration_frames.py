"""Real frames to calibrate INT8 on: labelled pictures or recordings, none of them used for validation."""

import hashlib
import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge.errors import SourceError, UnusableInputError
from edge.modality import mismatch
from edge.recognizer import Recognizer
from edge.records import Image
from edge.sources import expand_recordings, is_live, open_source, redact
from edge.sources.files import find_recordings
from training.datasets import Dataset, load_image, read_dataset

LEAST_FRAMES = 200
CROP_PX = 512  # frames are cut to it, so that neither memory nor time depends on how large they are
ENOUGH = 2  # times as many pictures of a labelled folder are looked at
_LABELS = (".json", ".yaml", ".yml")


def calibration_frames(
    source: str, recognizer: Recognizer, validation: Dataset, count: int = LEAST_FRAMES
) -> list[Image]:
    """`count` frames spread over `source` as the network sees them: scaled, padded, cut to at most 512x512 px.

    A labelled folder's labels are not looked at. The same source gives the same frames.

    Raises:
        UnusableInputError: nothing to read, the other modality, or too few frames beside those of `validation`.
    """
    if is_live(source):
        raise UnusableInputError(f"--calibrate must be recorded, got {redact(source)!r}; record it first")
    known = {_digest(load_image(picture)) for picture in validation.pictures}
    rng = random.Random(0)
    images = _pick(_images(source, recognizer, rng), known, count, rng)
    if len(images) < count:
        raise UnusableInputError(
            f"--calibrate must hold at least {count} frames that are not in --validate, got {len(images)} in "
            f"{redact(source)}; name training pictures, or a longer recording"
        )
    warning = mismatch(images, recognizer.metadata.modality)
    if warning:
        raise UnusableInputError(f"--calibrate must be {recognizer.metadata.modality} as the model is: {warning}")
    return images


def _images(source: str, recognizer: Recognizer, rng: random.Random) -> Iterator[tuple[str, Image]]:
    """Name of the content, and the frame as the network sees it, of everything that can be decoded."""
    for image in _decoded(source, recognizer.metadata.modality, rng):
        tensor = recognizer.preprocess(image).tensor[0]  # (H, W, 3)
        multiple = recognizer.metadata.input_multiple
        yield _digest(image), _cut(tensor, multiple, rng)


def _decoded(source: str, modality: str, rng: random.Random) -> Iterator[Image]:
    dataset = _labelled(source)
    if dataset is None:
        for recording in expand_recordings(source):
            with open_source(recording) as frames:
                yield from (frame.image for frame in frames if frame.image is not None)
        return
    if dataset.modality not in (None, modality):
        raise UnusableInputError(
            f"--calibrate must be {modality} as the checkpoint is, got the {dataset.modality} {dataset.name}"
        )
    order = rng.sample(dataset.pictures, len(dataset.pictures))
    # Any part of a random order is a fair sample: the first few suffice, with some to spare for those of --validate.
    for picture in itertools.islice(order, ENOUGH * LEAST_FRAMES):
        yield load_image(picture)


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


def _pick(images: Iterator[tuple[str, Image]], known: set[str], count: int, rng: random.Random) -> list[Image]:
    """`count` of them, each with the same chance, and none twice (reservoir sampling, Vitter 1985)."""
    chosen: list[Image] = []
    seen = 0
    for digest, image in images:
        if digest in known:
            continue
        known.add(digest)
        place = seen if seen < count else rng.randrange(seen + 1)
        seen += 1
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
