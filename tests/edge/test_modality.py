import re

import cv2
import numpy as np
import pytest

from edge.modality import appearance_of, mismatch
from edge.records import Image


def ground(seed: int = 1) -> Image:
    """Grey structure of all scales, as thermal ground has."""
    random = np.random.default_rng(seed)
    layers = [
        cv2.resize(random.integers(0, 256, (n, n), np.uint8), (320, 256), interpolation=cv2.INTER_CUBIC)
        for n in (4, 12, 40)
    ]
    return np.repeat(np.mean(layers, axis=0).astype(np.uint8)[..., None], 3, axis=2)


def daylight() -> Image:
    """Green, brown and grey patches over the same structure."""
    random = np.random.default_rng(2)
    tint = cv2.resize(random.integers(-60, 60, (6, 6, 3)).astype(np.float32), (320, 256))
    return np.clip(ground() + tint, 0, 255).astype(np.uint8)


def in_palette(palette: int) -> Image:
    coloured = cv2.applyColorMap(np.ascontiguousarray(ground()[..., 0]), palette)
    return cv2.imdecode(cv2.imencode(".jpg", coloured, [cv2.IMWRITE_JPEG_QUALITY, 80])[1], cv2.IMREAD_COLOR)


def with_overlay(image: Image) -> Image:
    """Drones write battery and crosshair onto the picture."""
    image = image.copy()
    cv2.rectangle(image, (10, 10), (60, 30), (0, 0, 255), -1)
    cv2.circle(image, (160, 128), 20, (0, 255, 0), 2)
    return image


@pytest.mark.parametrize(
    ("image", "appearance"),
    [
        (daylight(), "colour"),
        (ground(), "grey"),
        (with_overlay(ground()), "grey"),
        (in_palette(cv2.COLORMAP_INFERNO), "palette"),
        (in_palette(cv2.COLORMAP_HOT), "palette"),
        (in_palette(cv2.COLORMAP_JET), "palette"),
        (in_palette(cv2.COLORMAP_PLASMA), "palette"),
        (np.zeros((100, 100, 3), np.uint8), "blank"),
        (np.full((1, 1, 3), 200, np.uint8), "blank"),
        (np.full((50, 50, 3), (200, 10, 10), np.uint8), "blank"),
    ],
)
def test_a_picture_is_recognised_by_its_chroma(image, appearance):
    assert appearance_of(image) == appearance


@pytest.mark.parametrize(
    ("images", "modality", "warning"),
    [
        ([], "rgb", None),
        ([daylight()], "rgb", None),
        ([ground()], "thermal", None),
        ([in_palette(cv2.COLORMAP_INFERNO)], "thermal", None),
        ([np.zeros((9, 9, 3), np.uint8)], "rgb", None),
        ([np.zeros((9, 9, 3), np.uint8)], "thermal", None),
        ([ground()], "rgb", "grey like thermal ones.*try --model thermal"),
        ([in_palette(cv2.COLORMAP_INFERNO)], "rgb", "coloured like a thermal palette.*try --model thermal"),
        ([daylight()], "thermal", "in colour.*try --model rgb"),
        ([np.zeros((9, 9, 3), np.uint8), daylight()], "thermal", "in colour"),
        ([ground(), daylight()], "rgb", None),
    ],
)
def test_footage_of_the_other_kind_is_warned_about(images, modality, warning):
    said = mismatch(images, modality)
    assert (said is None) == (warning is None)
    assert warning is None or re.search(warning, said)
