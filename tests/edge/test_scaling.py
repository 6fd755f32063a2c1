import cv2
import numpy as np
import pytest

from edge.scaling import resize_into

NOISE = np.random.default_rng(0).integers(0, 256, (216, 384, 3), dtype=np.uint8)
GROUND = np.asarray(cv2.GaussianBlur(NOISE, (9, 9), 2), np.uint8)


@pytest.mark.parametrize(
    "wanted", [(384, 216), (400, 300), (192, 108), (150, 100), (128, 72), (96, 54), (47, 31), (1, 1)]
)
def test_every_pixel_counts_as_in_an_average_by_area(wanted):
    width, height = wanted
    into = np.empty((height, width, 3), np.uint8)
    resize_into(GROUND, into)
    exact = cv2.INTER_AREA if width < 384 else cv2.INTER_LINEAR
    expected = cv2.resize(GROUND, wanted, interpolation=exact)
    assert np.abs(into.astype(int) - expected).mean() < 4


def test_a_person_of_three_pixels_survives_a_strong_shrink():
    for at in range(40, 60):
        image = np.zeros((2160, 3840), np.uint8)
        image[at : at + 3, 2 * at : 2 * at + 3] = 255
        into = np.empty((216, 384), np.uint8)
        resize_into(image, into)
        assert 15 <= into.astype(int).sum() <= 30  # 9 x 255 / 100


def test_it_writes_into_a_part_of_a_larger_array_and_nowhere_else():
    padded = np.full((120, 200, 3), 7, np.uint8)
    resize_into(GROUND, padded[:100, :150])
    assert (padded[100:] == 7).all()
    assert (padded[:, 150:] == 7).all()
    assert (padded[:100, :150] != 7).any()
