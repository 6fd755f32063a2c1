"""A closer look at pictures that are full of far-off people: a third time, larger, where the first answer asks for it.

People of a few pixels are missed, or boxed loosely, unless the network sees them larger; everybody else is seen better
at the usual size, and in a third of the time. So the larger look is taken only where people are many and small. It is
averaged with what was seen before as two looks are (second_look.py); presence stays as it was, since it is calibrated
without. What it brings and what it costs is in the README.
"""

import dataclasses

import numpy as np

from edge.contract import ModelMetadata
from edge.geometry import Detections, Placement
from edge.network import Predictions
from edge.second_look import average, seen

SMALL_PX = 24.0  # height of a person in the network's input
LEAST_PEOPLE = 5  # as small as that
LEAST_SHARE = 0.3  # of all people
SURE = 0.15  # score of what counts as a person here


def is_wanted(predictions: Predictions) -> bool:
    """Whether many of the people whom a look has found are small; boxes in the pixels of the network's input."""
    boxes = predictions.boxes_xyxy[predictions.scores >= SURE]
    small = int(np.count_nonzero(boxes[:, 3] - boxes[:, 1] < SMALL_PX))
    return small >= LEAST_PEOPLE and small >= LEAST_SHARE * len(boxes)


def joined(
    usual: tuple[Predictions, Placement], closer: tuple[Predictions, Placement], metadata: ModelMetadata
) -> Predictions:
    """One answer from the usual look (or two) and the closer one, in the pixels of the usual one's input."""
    (before, at), (found, closer_at) = usual, closer
    ratio = (at.content_wh.width / closer_at.content_wh.width, at.content_wh.height / closer_at.content_wh.height)
    first = (
        Detections(before.boxes_xyxy, before.scores)
        if metadata.second_look is not None  # free of duplicates already
        else seen(before, metadata.nms_iou)
    )
    second = seen(found, metadata.nms_iou, np.array(ratio * 2, np.float32))
    both = average(first, second, metadata.calibration)
    return dataclasses.replace(both, presence=before.presence)
