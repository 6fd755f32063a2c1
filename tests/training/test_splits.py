from pathlib import Path

import numpy as np
import pytest

from edge.errors import InvalidValueError
from edge.records import SizeWH
from training.datasets import Dataset, LabelledPicture
from training.splits import split_by_scene

NONE = np.zeros((0, 4), np.float32)
ONE = np.array([[1, 1, 5, 9]], np.float32)


def dataset(scenes: str, empty: str = "") -> Dataset:
    """A picture a letter: its scene; those at a `-` of `empty` show nobody."""
    marks = empty or "x" * len(scenes)
    pictures = [
        LabelledPicture(Path(f"{k}.png"), SizeWH(64, 48), NONE if mark == "-" else ONE, NONE, scene, "ours", NONE)
        for k, (scene, mark) in enumerate(zip(scenes, marks, strict=True))
    ]
    return Dataset("mine", "rgb", tuple(pictures))


def scenes_of(part: Dataset) -> str:
    return "".join(p.scene for p in part.pictures)


@pytest.mark.parametrize(
    ("scenes", "empty", "held", "by_scene"),
    [
        ("aaaaaaabbb", "", "bbb", True),
        ("aaabbbbbbb", "", "aaa", True),
        ("aaabbbcccd", "xxxxxxxxx-", "ccc", True),  # three scenes are alike but for the seed
        ("aaaaaaaaaa", "", "aaa", False),
        ("aaaaaaaaab", "", "aab", False),  # one picture would judge alone
        ("aabbbbbb", "xx------", "ab", False),  # whoever is held out is missing in the other part
    ],
)
def test_about_a_third_is_held_out_by_scene_where_that_can_be_done(scenes, empty, held, by_scene):
    split = split_by_scene(dataset(scenes, empty), 0.3)
    assert split.by_scene == by_scene
    assert len(split.learn.pictures) + len(split.held_out.pictures) == len(scenes)
    assert split.learn.pedestrians
    assert split.held_out.pedestrians
    if by_scene:
        assert not set(scenes_of(split.learn)) & set(scenes_of(split.held_out))
    assert len(split.held_out.pictures) == len(held)


def test_empty_pictures_are_shared_out_as_well():
    split = split_by_scene(dataset("aabbccddee", "x-x-x-x-x-"), 0.4)
    assert sum(not len(p.boxes_xyxy) for p in split.held_out.pictures) == 2


def test_the_same_seed_holds_out_the_same_scenes():
    many = dataset("".join(letter * 3 for letter in "abcdefghij"))
    first, again = (scenes_of(split_by_scene(many, 0.3, seed=4).held_out) for _ in range(2))
    assert first == again


def test_a_run_of_neighbours_is_held_out_of_one_scene():
    split = split_by_scene(dataset("a" * 10, "xxxxxxx---"), 0.3)
    places = [int(p.path.stem) for p in split.held_out.pictures]
    assert places == list(range(places[0], places[0] + 3))


@pytest.mark.parametrize("empty", ["x---", "----", ""])
def test_with_less_than_two_pictures_of_people_nothing_can_be_judged(empty):
    with pytest.raises(InvalidValueError, match="dataset must be one with at least two pictures of pedestrians"):
        split_by_scene(dataset("abcd", empty) if empty else dataset(""), 0.3)


def test_a_share_that_takes_everybody_is_refused():
    with pytest.raises(InvalidValueError, match=r"hold_out must be small enough .* got 0\.6; hold out less"):
        split_by_scene(dataset("a" * 20, "-" * 9 + "xxx" + "-" * 8), 0.6)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_that_leaves_nothing_is_refused(share):
    with pytest.raises(InvalidValueError, match="hold_out must be above 0 and below 1"):
        split_by_scene(dataset("aabb"), share)
