"""Real frames of several sizes, on which ONNX Runtime must say what PyTorch says."""

from collections.abc import Iterator, Sequence

import numpy as np

from edge.records import Image
from training.datasets import Dataset, load_image

PARITY_FRAMES = 100
SIDES_WITHOUT_DATA = ((64, 64), (96, 160), (240, 320), (512, 640))
# Shares of width and height that a frame keeps. A camera has one size, so whole frames alone would try one shape of
# the network's input. The whole is every other one: it is what flies, and parts of it cost less.
WHOLE, PARTS = (1.0, 1.0), ((0.6, 1.0), (1.0, 0.6), (0.4, 0.4))


def parity_frames(datasets: Sequence[Dataset]) -> Iterator[Image]:
    """At least 100 frames, evenly taken from all pictures; fewer pictures come again, other parts of them. Without any
    data noise of a few sizes. The same data give the same frames."""
    rng = np.random.default_rng(0)
    pictures = [p for dataset in datasets for p in dataset.pictures]
    if not pictures:
        yield from (rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in SIDES_WITHOUT_DATA)
        return
    chosen = np.linspace(0, len(pictures) - 1, min(PARITY_FRAMES, len(pictures))).astype(int)
    for index in range(PARITY_FRAMES):
        again, place = divmod(index, len(chosen))
        whole = place % 2 == 0 and not again
        share = WHOLE if whole else PARTS[(index // 2 if not again else index) % len(PARTS)]
        yield _part(load_image(pictures[chosen[place]]), share, rng)


def _part(image: Image, share_wh: tuple[float, float], rng: np.random.Generator) -> Image:
    """That share of the picture, anywhere in it."""
    sides = [max(1, round(side * share)) for side, share in zip(image.shape[:2], share_wh[::-1], strict=True)]
    top, left = (int(rng.integers(0, length - side + 1)) for length, side in zip(image.shape[:2], sides, strict=True))
    return image[top : top + sides[0], left : left + sides[1]].copy()
