import numpy as np
import pytest

from edge.records import Image
from tests.edge.test_thermal import ground, in_grey
from training.corruptions import CORRUPTIONS, LOOKS, Variant

EVERY = (*CORRUPTIONS, *LOOKS)
by_name = pytest.mark.parametrize("variant", EVERY, ids=lambda v: v.name)


def colour(height: int = 97, width: int = 131) -> Image:
    """Colour, with odd sides."""
    return np.stack([ground(seed, height, width) for seed in range(3)], -1)


def test_there_are_the_eight_that_drones_meet() -> None:
    assert len({variant.name for variant in CORRUPTIONS}) == 8
    assert all(variant.severity for variant in EVERY)


@by_name
def test_a_corruption_changes_the_picture_and_keeps_its_size_and_the_original(variant: Variant) -> None:
    image = colour()
    before = image.copy()
    changed = variant.of(image, "a.png")
    assert (changed.shape, changed.dtype) == (image.shape, np.uint8)
    assert np.abs(changed.astype(int) - image).mean() > 0.2
    assert (image == before).all()


@by_name
def test_the_same_picture_is_always_corrupted_in_the_same_way(variant: Variant) -> None:
    assert (variant.of(colour(), "a.png") == variant.of(colour(), "a.png")).all()


def test_two_pictures_get_noise_of_their_own() -> None:
    noise = next(variant for variant in CORRUPTIONS if variant.name == "noise")
    assert (noise.of(colour(), "a.png") != noise.of(colour(), "b.png")).any()


@pytest.mark.parametrize("variant", CORRUPTIONS, ids=lambda v: v.name)
def test_a_grey_picture_stays_grey(variant: Variant) -> None:
    changed = variant.of(in_grey(ground()), "a.png").astype(int)
    assert np.ptp(changed, axis=2).max() <= 4  # a video codec rounds


@by_name
def test_a_picture_of_a_few_pixels_is_no_trouble(variant: Variant) -> None:
    for shape in ((3, 5, 3), (1, 5, 3)):
        assert variant.of(np.full(shape, 100, np.uint8), "a.png").shape == shape


def test_nothing_moves_but_by_the_stated_scale() -> None:
    """A bright block: its centre of mass, before and after."""
    image = np.zeros((128, 160, 3), np.uint8)
    image[60:84, 90:102] = 255
    for variant in CORRUPTIONS:
        changed = variant.of(image, "a.png")[: int(128 * variant.scale), : int(160 * variant.scale), 1].astype(float)
        changed[changed < changed.max() * 0.6] = 0
        y, x = np.mgrid[: changed.shape[0], : changed.shape[1]]
        centre = np.array([(changed * x).sum(), (changed * y).sum()]) / changed.sum()
        assert np.abs(centre / variant.scale - (95.5, 71.5)).max() < 2.5, variant.name


def test_inverted_is_black_hot() -> None:
    assert (LOOKS[0].of(in_grey(ground()), "a.png") == 255 - in_grey(ground())).all()
