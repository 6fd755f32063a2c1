"""From labelled pictures on disk to batches: sampled by source, decoded once, augmented on the way."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from edge.errors import InvalidValueError
from edge.machine import memory_bytes
from edge.records import Image, Modality
from training.augment import AugmentSettings, View, collate, random_view
from training.datasets import Dataset, LabelledPicture, load_as_learnt
from training.targets import Batch

_MOST_CACHED_BYTES = 6 << 30  # by each process; all of this machine together take at most a quarter of what it has


class DecodedPictures:
    """Decoded pictures, kept in memory up to a limit; a training run sees each of them hundreds of times."""

    def __init__(self, modality: Modality | None, limit_bytes: int) -> None:
        self._modality = modality
        self._kept: dict[Path, Image] = {}
        self._room = limit_bytes

    def __getitem__(self, picture: LabelledPicture) -> Image:
        """(H, W, 3) uint8 BGR.

        Raises:
            DatasetError: the picture cannot be decoded, or its size differs from its annotation's.
        """
        kept = self._kept.get(picture.path)
        if kept is not None:
            return kept
        image = load_as_learnt(picture, self._modality)
        if image.nbytes <= self._room:
            self._room -= image.nbytes
            self._kept[picture.path] = image
        return image


class TrainingBatches:
    """Endless batches; batch number n is the same in every run with the same seed, so a resumed run goes on as it was.

    Small sources are drawn more often than their share: a source of n pictures weighs n ** balance. Pictures without
    people, and of sources that are emphasised, weigh more, as the settings say.

    Raises:
        InvalidValueError: there is no picture, or no pedestrian in any, or none of a source that is emphasised.
    """

    def __init__(
        self,
        dataset: Dataset,
        settings: AugmentSettings,
        batch_size: int,
        seed: int,
        balance: float = 0.7,
    ) -> None:
        if not dataset.pictures:
            raise InvalidValueError("dataset", "one with pictures", dataset.name)
        if not dataset.pedestrians:
            raise InvalidValueError("dataset", "one with at least one pedestrian", dataset.name)
        self.dataset, self.settings, self.batch_size, self.seed = dataset, settings, batch_size, seed
        counts = Counter(p.source for p in dataset.pictures)
        for source in settings.emphasis:
            if source not in counts:
                raise InvalidValueError("emphasise", f"one of the sources {', '.join(sorted(counts))}", source)
        empty = [1.0 if len(p.boxes_xyxy) else settings.empty_weight for p in dataset.pictures]
        wanted = {source: n ** (balance - 1) * settings.emphasis.get(source, 1.0) for source, n in counts.items()}
        weights = np.array([wanted[p.source] for p in dataset.pictures]) * empty
        self._shares = weights / weights.sum()
        self._empty = [p for p in dataset.pictures if p.shows_pedestrian is False]
        self._decoded = DecodedPictures(dataset.modality, _room_bytes())

    def batch(self, number: int) -> Batch:
        """Batch `number`.

        Raises:
            DatasetError: a picture cannot be decoded, or its size differs from its annotation's.
        """
        rng = np.random.default_rng((self.seed, number))
        chosen = rng.choice(len(self._shares), self.batch_size, p=self._shares)
        views = [self._view(self.dataset.pictures[i], rng) for i in chosen]
        images, targets = collate(views)
        return Batch(torch.from_numpy(images), targets, tuple(self.dataset.pictures[i].path.name for i in chosen))

    def _view(self, picture: LabelledPicture, rng: np.random.Generator) -> View:
        def empty_ground() -> Image:
            return self._decoded[self._empty[rng.integers(len(self._empty))]]

        background = empty_ground if self._empty else None
        return random_view(picture, self._decoded[picture], background, self.settings, rng)

    def starting_at(self, number: int) -> Iterator[Batch]:
        """Batches `number`, `number` + 1, ... without end."""
        while True:
            yield self.batch(number)
            number += 1


def _room_bytes() -> int:
    machine, processes = memory_bytes(), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # as torchrun says
    return _MOST_CACHED_BYTES if machine is None else min(_MOST_CACHED_BYTES, machine // 4 // processes)
