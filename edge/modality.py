"""Whether pictures look like colour or thermal footage, so that the wrong model is not trusted in silence.

What is measured, on the picture shrunk to a long side of 160 px: the chroma of a pixel is the largest minus the
smallest of its three channels, 0..255.
- blank: hardly any contrast, as in a black first frame; it says nothing;
- grey: 95 % of the pixels have a chroma below 5 (a small coloured overlay does not change that; the encoder of a grey
  video may make 3 of 0 by rounding);
- palette: thermal in false colours lies on a curve through colour space. Either the picture is saturated all over
  (jet, rainbow), or brightness alone tells its hue (inferno, hot, magma);
- colour: everything else.

Counted on labelled pictures: of 249 colour pictures of rgb-val and 85 of tiny-val none looks like anything else; of
2,111 of rgb-train 0.8 % do, and three in four of those are grey indeed. All 2,319 thermal pictures look grey. In seven
of OpenCV's usual palettes 99 % of them look like a palette; the pale bone passes as colour.
"""

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np

from edge.records import Image, Modality

Appearance = Literal["blank", "colour", "grey", "palette"]

_LONG_SIDE_PX = 160
_BLANK_DEVIATION = 3.0
_GREY_PERCENTILE = 95
_GREY_CHROMA = 5.0
_SATURATED_CHROMA = 160.0
_PALETTE_CHROMA = 80.0
_PALETTE_SPREAD = 0.2
_LUMA_BGR = np.array([0.114, 0.587, 0.299], np.float32)  # ITU-R BT.601
_LUMA_BINS = 32


def appearance_of(image: Image) -> Appearance:
    """What one picture (H, W, 3) BGR looks like."""
    pixels = _shrunk(image).reshape(-1, 3).astype(np.float32)  # (N, 3)
    if float(pixels.std(axis=0).max()) < _BLANK_DEVIATION:
        return "blank"
    chroma = pixels.max(axis=1) - pixels.min(axis=1)  # (N,)
    if np.percentile(chroma, _GREY_PERCENTILE) < _GREY_CHROMA:
        return "grey"
    mean_chroma = float(chroma.mean())
    if mean_chroma > _SATURATED_CHROMA:
        return "palette"
    if mean_chroma > _PALETTE_CHROMA and _hue_spread_at_a_brightness(pixels) < _PALETTE_SPREAD:
        return "palette"
    return "colour"


def contradicts(appearance: Appearance, modality: Modality) -> bool:
    """Whether a picture that is not blank looks like one of the other modality."""
    return (appearance == "colour") == (modality == "thermal")


def mismatch(images: Sequence[Image], modality: Modality) -> str | None:
    """The warning for pictures that most probably are not what a model of this modality has learnt; else None.

    More than half of those that are not blank must look wrong.
    """
    shown = [appearance for appearance in map(appearance_of, images) if appearance != "blank"]
    wrong = [appearance for appearance in shown if contradicts(appearance, modality)]
    if 2 * len(wrong) <= len(shown):
        return None
    if modality == "thermal":
        return "these pictures are in colour, but the model has learnt thermal ones: expect misses; try --model rgb"
    seen = "grey like thermal ones" if wrong[0] == "grey" else "coloured like a thermal palette"
    return f"these pictures are {seen}, but the model has learnt colour: expect misses; try --model thermal"


def _shrunk(image: Image) -> Image:
    height, width = image.shape[:2]
    scale = min(1.0, _LONG_SIDE_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _hue_spread_at_a_brightness(pixels: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
    """Share 0..1 of the colour differences' deviation that remains among pixels of about the same brightness."""
    luma = pixels @ _LUMA_BGR  # (N,)
    differences = np.stack([pixels[:, 0] - luma, pixels[:, 2] - luma], axis=1)  # (N, 2)
    bins = np.minimum((luma * (_LUMA_BINS / 256)).astype(np.int64), _LUMA_BINS - 1)
    counts = np.maximum(np.bincount(bins, minlength=_LUMA_BINS), 1)
    means = np.stack([np.bincount(bins, differences[:, k], _LUMA_BINS) / counts for k in range(2)], axis=1)
    remaining = np.mean((differences - means[bins]) ** 2, axis=0).sum()
    total = differences.var(axis=0).sum()
    return float(np.sqrt(remaining / total)) if total > 0 else 0.0
