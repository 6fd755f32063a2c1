"""A held-out part of a small labelled folder, by scene: frames of one flight are too alike to be on both sides."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edge.errors import InvalidValueError
from training.datasets import Dataset, LabelledPicture

TRIES = 300
LEAST_HELD_OUT = 2  # pictures


@dataclass(frozen=True, slots=True)
class Split:
    """Two parts of one data set, both in its order and both with a pedestrian."""

    learn: Dataset
    held_out: Dataset
    by_scene: bool  # False: by picture, for want of scenes; the figures then say little of other places


def split_by_scene(dataset: Dataset, share: float, seed: int = 0) -> Split:
    """Hold out about `share` of the pictures and of the empty ones, whole scenes where that can be done.

    Where it cannot, because there is one scene or one that outweighs all others, a run of neighbours is held out.

    Raises:
        InvalidValueError: the share is no share, or there are fewer than two pictures with pedestrians.
    """
    if not 0 < share < 1:
        raise InvalidValueError("hold_out", "above 0 and below 1", share)
    people = np.array([len(p.boxes_xyxy) > 0 for p in dataset.pictures], dtype=bool)
    if people.sum() < 2:
        rule = "one with at least two pictures of pedestrians, one to learn from and one to judge by"
        raise InvalidValueError("dataset", rule, dataset.name)
    masks = [m for m in _by_scene(dataset.pictures, share, seed) if _usable(m, people, share)]
    by_scene = bool(masks)
    if not masks:
        masks = [m for m in _runs(len(people), share) if m[people].any() and not m[people].all()]
    if not masks:
        raise InvalidValueError("hold_out", "small enough to leave people to learn from", share, "hold out less")
    held = min(masks, key=lambda mask: _distance(mask, people, share))
    return Split(_part(dataset, ~held), _part(dataset, held), by_scene)


Mask = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


def _by_scene(pictures: Sequence[LabelledPicture], share: float, seed: int) -> Iterator[Mask]:
    """Some ways of holding out whole scenes until the share is about reached."""
    scenes = np.array([p.scene for p in pictures])
    names = sorted(set(scenes.tolist()))
    rng = np.random.default_rng(seed)
    for _ in range(TRIES):
        held = np.zeros(len(scenes), dtype=bool)
        for name in rng.permutation(names):
            more = held | (scenes == name)
            if abs(more.mean() - share) < abs(held.mean() - share):
                held = more
        yield held


def _usable(held: Mask, people: Mask, share: float) -> bool:
    """Pedestrians on both sides, and not so small a part that chance alone judges."""
    enough = held.sum() >= LEAST_HELD_OUT and share / 2 <= held.mean() <= (1 + share) / 2
    return bool(enough and held[people].any() and not held[people].all())


def _runs(count: int, share: float) -> Iterator[Mask]:
    """Neighbouring pictures, at every place."""
    length = min(max(round(share * count), 1), count - 1)
    for first in reversed(range(count - length + 1)):  # between equals the last: a later part of the flight
        held = np.zeros(count, dtype=bool)
        held[first : first + length] = True
        yield held


def _distance(held: Mask, people: Mask, share: float) -> float:
    """From the wanted share of the pictures with people, and of the empty ones."""
    groups = [group for group in (people, ~people) if group.any()]
    return float(sum(abs(held[group].mean() - share) for group in groups))


def _part(dataset: Dataset, mask: Mask) -> Dataset:
    pictures = tuple(p for p, kept in zip(dataset.pictures, mask, strict=True) if kept)
    return dataclasses.replace(dataset, pictures=pictures)
