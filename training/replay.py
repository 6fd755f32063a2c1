"""Older pictures that fine-tuning mixes in, so that what was known is not forgotten."""

import dataclasses
from pathlib import Path

from edge.errors import UnusableInputError
from training.datasets import Dataset, LabelledPicture
from training.near_duplicates import near_pairs
from training.splits import Split


def without_held_out(old: Dataset, split: Split) -> Dataset:
    """The older pictures that give nothing of the held-out ones away: none nearly repeats one, or is of its scene.

    Names of scenes may coincide by chance: they count within one folder, and only where the split is by scene.

    Raises:
        UnusableInputError: none is left.
    """
    near = {id(pair.test) for pair in near_pairs(old.pictures, split.held_out.pictures)}
    scenes = {_scene_of(picture) for picture in split.held_out.pictures} if split.by_scene else set()
    kept = tuple(one for one in old.pictures if id(one) not in near and _scene_of(one) not in scenes)
    if not kept:
        raise UnusableInputError(
            f"replay must hold other pictures than those held out, got {old.name}; name older ones"
        )
    left_out = len(old.pictures) - len(kept)
    if not left_out:
        return old
    said = (
        f"{left_out} of {len(old.pictures)} pictures of {old.name} nearly repeat held-out ones, or are of their "
        "scenes, and are left out"
    )
    return dataclasses.replace(old, pictures=kept, warnings=(*old.warnings, said))


def _scene_of(picture: LabelledPicture) -> tuple[Path, str]:
    return picture.path.resolve().parent, picture.scene
