from collections import Counter

import numpy as np
import pytest

from edge.records import SizeWH
from export.parity_frames import PARITY_FRAMES, parity_frames
from tests.edge.spots import write_pictures
from training.datasets import Dataset, LabelledPicture

NOBODY = np.zeros((0, 4), np.float32)
WH = SizeWH(80, 50)


def thermal(folder, count: int) -> Dataset:
    """Pictures of one size, as one camera takes them; all pixels differ."""
    rng = np.random.default_rng(1)
    write_pictures(folder, [rng.integers(0, 256, (WH.height, WH.width, 3), dtype=np.uint8) for _ in range(count)])
    files = sorted(folder.iterdir())
    pictures = tuple(LabelledPicture(file, WH, NOBODY, NOBODY, "s", "s", NOBODY) for file in files)
    return Dataset("thermal-val", "thermal", pictures)


@pytest.mark.parametrize("count", [1, 3, 14, 130])
def test_there_are_100_frames_of_several_sizes_however_few_pictures_of_one_size(tmp_path, count):
    dataset = thermal(tmp_path / "p", count)
    frames = list(parity_frames([dataset]))
    assert len(frames) == PARITY_FRAMES
    shapes = Counter(frame.shape[:2] for frame in frames)
    assert set(shapes) == {(50, 80), (50, 48), (30, 80), (20, 32)}
    assert shapes[50, 80] == (min(count, 100) + 1) // 2
    again = list(parity_frames([dataset]))
    assert all(np.array_equal(a, b) for a, b in zip(frames, again, strict=True))


def test_without_data_there_is_noise():
    assert len({frame.shape for frame in parity_frames([])}) == 4
