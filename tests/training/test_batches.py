import dataclasses
import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edge.errors import InvalidValueError
from edge.records import SizeWH
from tests.training.people import write_people
from training.augment import AugmentSettings
from training.batches import DecodedPictures, TrainingBatches
from training.datasets import Dataset, DatasetError, LabelledPicture, read_dataset
from training.targets import Batch

SETTINGS = AugmentSettings(crop_px=64)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return read_dataset(write_people(tmp_path_factory.mktemp("data") / "people-rgb", 4))


def same(one: Batch, other: Batch) -> bool:
    return torch.equal(one.images, other.images) and all(
        np.array_equal(a.boxes_xyxy, b.boxes_xyxy) and np.array_equal(a.ignore_xyxy, b.ignore_xyxy)
        for a, b in zip(one.targets, other.targets, strict=True)
    )


def test_batch_n_is_the_same_in_every_run_wherever_the_run_starts(people):
    first = list(itertools.islice(TrainingBatches(people, SETTINGS, 3, seed=7).starting_at(0), 5))
    resumed = list(itertools.islice(TrainingBatches(people, SETTINGS, 3, seed=7).starting_at(3), 2))
    assert all(same(a, b) for a, b in zip(first[3:], resumed, strict=True))
    assert not same(first[0], first[1])
    assert not same(first[0], TrainingBatches(people, SETTINGS, 3, seed=8).batch(0))


def test_a_batch_is_uint8_channels_first_with_one_target_a_picture(people):
    batch = TrainingBatches(people, SETTINGS, 3, seed=0).batch(0)
    assert batch.images.shape == (3, 3, 64, 64)
    assert batch.images.dtype == torch.uint8
    assert len(batch.targets) == 3


def test_a_small_source_is_drawn_more_often_than_its_share(people):
    pictures = [dataclasses.replace(people.pictures[0], source="large")] * 15
    pictures.append(dataclasses.replace(people.pictures[0], source="small"))
    mixed = dataclasses.replace(people, pictures=tuple(pictures))
    by_share = TrainingBatches(mixed, SETTINGS, 1, seed=0, balance=1.0)._shares
    balanced = TrainingBatches(mixed, SETTINGS, 1, seed=0, balance=0.0)._shares
    assert by_share[-1] == pytest.approx(1 / 16)
    assert balanced[-1] == pytest.approx(1 / 2)
    assert by_share.sum() == pytest.approx(1)


def test_a_source_that_is_emphasised_is_drawn_more_often(people):
    pictures = [dataclasses.replace(people.pictures[0], source=source) for source in ("land", "land", "sea", "sea")]
    settings = dataclasses.replace(SETTINGS, emphasis={"sea": 3.0})
    shares = TrainingBatches(dataclasses.replace(people, pictures=tuple(pictures)), settings, 1, seed=0)._shares
    assert shares.tolist() == pytest.approx([1 / 8, 1 / 8, 3 / 8, 3 / 8])


@pytest.mark.parametrize(
    ("kept", "rule"),
    [
        ((), "dataset must be one with pictures, got 'people-rgb'"),
        ((3,), "dataset must be one with at least one pedestrian, got 'people-rgb'"),
    ],
)
def test_a_data_set_from_which_nothing_can_be_learnt_is_refused(people, kept, rule):
    chosen = dataclasses.replace(people, pictures=tuple(people.pictures[k] for k in kept))
    with pytest.raises(InvalidValueError, match=rule):
        TrainingBatches(chosen, SETTINGS, 2, seed=0)


def test_a_picture_that_cannot_be_decoded_is_named(tmp_path):
    folder = write_people(tmp_path / "people-rgb", 1)
    dataset = read_dataset(folder)
    (folder / "images" / "0.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"images/0\.png must be a picture"):
        TrainingBatches(dataset, SETTINGS, 2, seed=0).batch(0)


def test_a_picture_of_another_size_than_its_annotation_says_is_named(people):
    wrong = dataclasses.replace(people.pictures[0], size_wh=SizeWH(960, 960))
    with pytest.raises(DatasetError, match=r"0\.png must be 960x960 as its annotation says, got 96x96"):
        TrainingBatches(dataclasses.replace(people, pictures=(wrong,)), SETTINGS, 2, seed=0).batch(0)


def test_pictures_are_decoded_once_as_long_as_there_is_room(tmp_path):
    pictures = read_dataset(write_people(tmp_path / "people-rgb", 2)).pictures
    decoded = DecodedPictures("rgb", limit_bytes=decoded_bytes(pictures[0]))
    assert decoded[pictures[0]] is decoded[pictures[0]]
    assert decoded[pictures[1]] is not decoded[pictures[1]]


def test_the_room_for_pictures_fits_the_machine(monkeypatch, people):
    for machine, room in ((None, 6 << 30), (4 << 30, 1 << 30), (256 << 30, 6 << 30)):
        monkeypatch.setattr("training.batches.memory_bytes", lambda machine=machine: machine)
        assert TrainingBatches(people, SETTINGS, 2, seed=0)._decoded._room == room


def test_thermal_pictures_in_false_colours_are_learnt_as_the_model_sees_them(tmp_path):
    (picture,) = read_dataset(write_people(tmp_path / "people-thermal", 1)).pictures
    grey = cv2.imread(str(picture.path), cv2.IMREAD_GRAYSCALE)
    assert cv2.imwrite(str(picture.path), cv2.applyColorMap(grey, cv2.COLORMAP_JET))
    assert np.ptp(DecodedPictures("rgb", 0)[picture].astype(int), axis=2).max() > 100
    seen = DecodedPictures("thermal", 0)[picture]
    assert np.ptp(seen.astype(int), axis=2).max() == 0
    assert np.abs(seen[..., 0].astype(int) - grey).mean() < 3


def decoded_bytes(picture: LabelledPicture) -> int:
    return 3 * picture.size_wh.width * picture.size_wh.height


def test_a_single_picture_without_empty_ground_is_enough(tmp_path: Path):
    dataset = read_dataset(write_people(tmp_path / "people-rgb", 1))
    assert TrainingBatches(dataset, SETTINGS, 2, seed=0).batch(0).images.shape == (2, 3, 64, 64)
