"""Made predictions of a given number of people, to see what each person costs after the network."""

import numpy as np

from edge.contract import MAX_DETECTIONS
from edge.geometry import Placement
from edge.network import Predictions

_COLUMNS, _ROWS = 25, 20  # one person a cell: nobody is another's duplicate
_PERSON_SHARE = 0.5  # of a cell's width, and of its height


def crowd(people: int, placement: Placement) -> Predictions:
    """`people` persons, 0..500, spread evenly over the frame in no order, with descending scores from 0.99 to 0.9."""
    random = np.random.default_rng(3)
    cells = random.permutation(_COLUMNS * _ROWS)[:people]
    cell_wh = np.array([placement.content_wh.width / _COLUMNS, placement.content_wh.height / _ROWS])
    corners_xy = (np.stack([cells % _COLUMNS, cells // _COLUMNS], axis=1) + 0.25) * cell_wh  # (N, 2)
    boxes_xyxy = np.zeros((MAX_DETECTIONS, 4), np.float32)
    boxes_xyxy[:people, :2] = corners_xy
    boxes_xyxy[:people, 2:] = corners_xy + _PERSON_SHARE * cell_wh
    scores = np.zeros(MAX_DETECTIONS, np.float32)
    scores[:people] = np.linspace(0.99, 0.9, people)
    return Predictions(boxes_xyxy, scores, 0.99 if people else 0.0)
