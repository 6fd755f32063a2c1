from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.records import Boxes, Image, SizeWH
from training.augment import AugmentSettings, View, _blur, collate, random_view
from training.datasets import LabelledPicture
from training.targets import Targets

GREY = 60
EXACT_PX = 1.6  # a pixel of interpolation on either side, and the crop's rounding


def boxes(*rows: tuple[float, ...]) -> Boxes:
    return np.array(rows, dtype=np.float32).reshape(-1, 4)


def picture(people: Boxes, size_wh: SizeWH, ignored: Boxes | None = None) -> LabelledPicture:
    nothing = boxes()
    return LabelledPicture(Path("p.png"), size_wh, people, nothing if ignored is None else ignored, "s", "o", nothing)


def ground(size_wh: SizeWH, people: Boxes) -> Image:
    """Grey ground, a white rectangle for each person."""
    image = np.full((size_wh.height, size_wh.width, 3), GREY, np.uint8)
    for x0, y0, x1, y1 in people.astype(int):
        image[y0:y1, x0:x1] = 255
    return image


def view_of(people: Boxes, size_wh: SizeWH, seed: int, settings: AugmentSettings, ignored: Boxes | None = None) -> View:
    labelled = picture(people, size_wh, ignored)
    return random_view(labelled, ground(size_wh, people), None, settings, np.random.default_rng(seed))


def bright(image: Image) -> Boxes:
    """Boxes around what is clearly brighter than the rest, in any light."""
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), (3, 3), 0).astype(int)
    low, high = np.percentile(grey, 3), grey.max()
    mask = (grey > (low + high) / 2).astype(np.uint8)
    stats = cv2.connectedComponentsWithStats(mask)[2][1:]
    stats = stats[stats[:, cv2.CC_STAT_AREA] >= 12]
    return np.concatenate((stats[:, :2], stats[:, :2] + stats[:, 2:4]), 1).astype(np.float32)


@pytest.mark.parametrize(
    ("size_wh", "person"),
    [
        (SizeWH(400, 300), (150, 100, 210, 220)),
        (SizeWH(120, 90), (40, 20, 60, 60)),  # smaller than the crop
        (SizeWH(1920, 1080), (900, 400, 1000, 620)),  # scaled down a lot
        (SizeWH(100, 700), (30, 300, 80, 400)),
    ],
)
def test_boxes_follow_the_pixels_through_crop_scale_and_flip(size_wh, person):
    settings = AugmentSettings(crop_px=160, on_a_person=1.0, scale_low=0.6)
    sides, whole = set(), 0
    for seed in range(60):
        view = view_of(boxes(person), size_wh, seed, settings)
        assert view.image.shape == (160, 160, 3)
        found, told = bright(view.image), view.targets.boxes_xyxy
        if len(found) != 1 or len(told) != 1 or len(view.targets.ignore_xyxy):
            continue  # blurred to nothing, or not in the crop
        width, height = told[0, 2:] - told[0, :2]
        tolerance = EXACT_PX + 0.05 * max(width, height)  # a motion blur smears bright edges
        np.testing.assert_allclose(found[0], told[0], atol=max(tolerance, 5.0))
        assert np.abs((found[0, :2] + found[0, 2:]) / 2 - (told[0, :2] + told[0, 2:]) / 2).max() < 3.0
        sides.add(round(float(height)))
        whole += 1
    assert whole >= 30
    assert len(sides) > 5


def test_without_light_and_faults_the_box_is_exact():
    """The same over many seeds, with the faults left out by their own chance: only undisturbed views are measured."""
    settings = AugmentSettings(crop_px=128, on_a_person=1.0, scale_low=0.8, scale_high=1.2, aspect_jitter=0.0)
    exact = 0
    for seed in range(120):
        view = view_of(boxes((150, 100, 190, 180)), SizeWH(400, 300), seed, settings)
        levels = np.unique(view.image)
        if len(view.targets.boxes_xyxy) != 1 or GREY not in levels or levels.max() != 255 or levels.min() < GREY:
            continue  # relit, noisy, compressed
        rows, columns = np.nonzero(view.image[:, :, 0] > (GREY + 255) / 2)
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(found, view.targets.boxes_xyxy[0], atol=EXACT_PX)
        exact += 1
    assert exact >= 8


def test_a_blur_moves_nothing_away_from_its_box():
    point = np.zeros((41, 41, 3), np.uint8)
    point[20, 20] = 255
    for seed in range(60):
        blurred = _blur(point, np.random.default_rng(seed))[:, :, 0].astype(float)
        centre = (np.argwhere(blurred > 0) * blurred[blurred > 0][:, None]).sum(0) / blurred.sum()
        np.testing.assert_allclose(centre, (20, 20), atol=0.01)


def test_people_who_are_mostly_cut_away_become_ignored_regions():
    settings = AugmentSettings(crop_px=64, on_a_person=0.0, scale_low=1.0, scale_high=1.01, max_enlarge=1.0)
    kept = ignored = 0
    for seed in range(80):
        targets = view_of(boxes((100, 100, 140, 180)), SizeWH(300, 300), seed, settings).targets
        for box in targets.boxes_xyxy:
            assert np.prod(box[2:] - box[:2]) >= 0.35 * 40 * 80
        for box in targets.ignore_xyxy:
            assert np.prod(box[2:] - box[:2]) <= 0.45 * 40 * 80
        kept += len(targets.boxes_xyxy)
        ignored += len(targets.ignore_xyxy)
    assert kept
    assert ignored


def test_people_who_become_too_small_are_ignored_not_forgotten():
    settings = AugmentSettings(crop_px=160, on_a_person=1.0, scale_low=0.5, scale_high=0.51, max_enlarge=1.0)
    targets = view_of(boxes((100, 100, 104, 108)), SizeWH(300, 300), 0, settings).targets
    assert len(targets.boxes_xyxy) == 0
    assert len(targets.ignore_xyxy) == 1


def test_ignored_regions_move_with_the_picture_and_boxes_stay_inside_the_crop():
    settings = AugmentSettings(crop_px=96, on_a_person=0.5)
    for seed in range(40):
        people, regions = boxes((10, 10, 30, 50), (200, 150, 240, 220)), boxes((0, 0, 300, 40))
        targets = view_of(people, SizeWH(300, 240), seed, settings, regions).targets
        for found in (targets.boxes_xyxy, targets.ignore_xyxy):
            assert (found >= 0).all()
            assert (found <= 96).all()
            assert (found[:, 2:] > found[:, :2]).all()


def test_of_a_large_region_whatever_shows_is_ignored():
    settings = AugmentSettings(crop_px=64, on_a_person=0.0, scale_low=1.0, scale_high=1.01, max_enlarge=1.0)
    nobody, everywhere = boxes(), boxes((0, 0, 1600, 1200))
    for seed in range(10):
        targets = view_of(nobody, SizeWH(1600, 1200), seed, settings, everywhere).targets
        assert targets.ignore_xyxy.tolist() == [[0, 0, 64, 64]]


@pytest.mark.parametrize("modality", ["rgb", "thermal"])
def test_the_same_seed_draws_the_same_view_and_another_seed_another(modality):
    settings = AugmentSettings.of(modality, crop_px=96)
    one, same, other = (view_of(boxes((50, 50, 80, 110)), SizeWH(200, 160), seed, settings) for seed in (5, 5, 6))
    assert np.array_equal(one.image, same.image)
    assert np.array_equal(one.targets.boxes_xyxy, same.targets.boxes_xyxy)
    assert not np.array_equal(one.image, other.image)


def test_empty_ground_fills_what_a_small_picture_leaves_free():
    settings = AugmentSettings(crop_px=160, scale_low=0.5, scale_high=0.6, max_enlarge=1.0)
    asked: list[int] = []

    def green() -> Image:
        asked.append(1)
        return np.full((50, 70, 3), (0, 200, 0), np.uint8)

    size_wh = SizeWH(80, 60)
    image = ground(size_wh, boxes())
    view = random_view(picture(boxes(), size_wh), image, green, settings, np.random.default_rng(3))
    assert asked == [1]
    assert (view.image[:, :, 1].astype(int) > view.image[:, :, 2].astype(int) + 50).mean() > 0.7


def test_a_picture_without_people_gives_an_empty_view():
    targets = view_of(boxes(), SizeWH(200, 160), 0, AugmentSettings(crop_px=64)).targets
    assert targets.boxes_xyxy.shape == targets.ignore_xyxy.shape == (0, 4)


def test_views_are_collated_channels_first():
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    images, targets = collate([View(image, Targets(boxes(), boxes()))] * 2)
    assert images.shape == (2, 3, 4, 4)
    assert np.array_equal(images[1, 2], image[:, :, 2])
    assert len(targets) == 2
