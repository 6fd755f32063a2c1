import math

import numpy as np
import numpy.typing as npt
import pytest
import torch

from edge.contract import MAX_DETECTIONS
from training.networks.dense import LONGEST_LOG, decode_boxes
from training.networks.peaks import NOWHERE, boxes_at, find_peaks

Map = npt.NDArray[np.float32]


def slow_peaks(logits: Map) -> list[tuple[float, int]]:
    """(score, cell) by descending score: cells that no neighbour exceeds, nor equals at a lower index."""
    height, width = logits.shape
    found = []
    for row in range(height):
        for column in range(width):
            index, mine = row * width + column, logits[row, column]
            neighbours = [
                (logits[r, c], r * width + c)
                for r in range(max(row - 1, 0), min(row + 2, height))
                for c in range(max(column - 1, 0), min(column + 2, width))
                if (r, c) != (row, column)
            ]
            if all(value < mine or (value == mine and other > index) for value, other in neighbours):
                found.append((float(mine), index))
    return sorted(found, key=lambda peak: (-peak[0], peak[1]))[:MAX_DETECTIONS]


def random_map(shape_hw: tuple[int, int], levels: int, seed: int = 0) -> Map:
    """Few levels make many plateaus."""
    return np.random.default_rng(seed).integers(-levels, levels, shape_hw).astype(np.float32)


@pytest.mark.parametrize(
    "logits",
    [
        np.zeros((1, 1), np.float32),
        np.zeros((1, 5), np.float32),  # one plateau
        np.zeros((5, 1), np.float32),
        np.zeros((6, 7), np.float32),
        np.full((3, 3), -30.0, np.float32),
        np.array([[1, 2, 2, 2, 1, 2]], np.float32),
        np.array([[0, 0, 5], [0, 0, 0], [5, 0, 5]], np.float32),
        random_map((9, 13), levels=2),
        random_map((9, 13), levels=1000),
        random_map((60, 80), levels=100),  # more than 500 peaks
    ],
    ids=lambda logits: "x".join(map(str, logits.shape)),
)
def test_peaks_are_those_of_a_slow_search(logits):
    peaks = find_peaks(torch.from_numpy(logits)[None])
    assert peaks.logits.shape == peaks.cells.shape == (1, MAX_DETECTIONS)
    expected = slow_peaks(logits)
    scores = peaks.logits[0].tolist()
    assert scores == [score for score, _ in expected] + [NOWHERE] * (MAX_DETECTIONS - len(expected))
    assert (peaks.cells < logits.size).all()
    cells = peaks.cells[0, : len(expected)].tolist()
    assert all(logits.flat[cell] == score for cell, score in zip(cells, scores, strict=False))
    if len(expected) < MAX_DETECTIONS:  # otherwise which of the equals is the 500th is anyone's guess
        assert set(cells) == {cell for _, cell in expected}


def test_every_picture_of_a_batch_has_its_own_peaks():
    maps = torch.stack([torch.from_numpy(random_map((8, 8), 50, seed)) for seed in (1, 2)])
    both = find_peaks(maps)
    for k in (0, 1):
        one = find_peaks(maps[k : k + 1])
        assert torch.equal(both.logits[k], one.logits[0])
        assert torch.equal(both.cells[k], one.cells[0])


@pytest.mark.parametrize("stride", [4, 8])
def test_the_box_of_a_cell_reaches_from_its_centre_by_the_exponentials_in_strides(stride):
    log_distances = torch.zeros(1, 4, 2, 3)
    log_distances[0, :, 1, 2] = torch.tensor([1.0, 2.0, 3.0, 0.5]).log()
    box = boxes_at(log_distances, torch.tensor([[5]]), stride)[0, 0]
    x, y = 2.5 * stride, 1.5 * stride
    expected = [x - stride, y - 2 * stride, x + 3 * stride, y + 0.5 * stride]
    torch.testing.assert_close(box, torch.tensor(expected))


def test_boxes_read_at_cells_are_those_of_the_decoded_map():
    torch.manual_seed(0)
    log_distances = torch.randn(2, 4, 5, 7)
    cells = torch.randint(0, 35, (2, 11))
    decoded = decode_boxes(log_distances, 4).flatten(2)  # (B, 4, 35)
    for picture in (0, 1):
        expected = decoded[picture][:, cells[picture]].T
        torch.testing.assert_close(boxes_at(log_distances, cells, 4)[picture], expected)


def test_no_side_is_farther_than_the_longest():
    box = boxes_at(torch.full((1, 4, 1, 1), 1000.0), torch.zeros(1, 1, dtype=torch.int64), 4)
    assert box[0, 0, 2].item() == pytest.approx(2 + 4 * math.exp(LONGEST_LOG))
