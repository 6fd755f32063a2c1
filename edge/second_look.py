"""Two looks at one picture with the same network: at its size, and smaller. What both see counts more.

A pole or a dark window that passes for a person at one scale seldom does at another, while a person stays one. So the
score of a detection is the mean of both looks, where a look that did not see it says 0, and its box is their mean
weighted by score (weighted boxes fusion, Solovyev et al., arXiv 1910.13302, of two views). At 0.545 of the size a
frame takes 1.45 times as long (`kestrel bench --compare`, 704x416, two cores); what it brings is in the README.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from edge import geometry
from edge.contract import MAX_DETECTIONS, Calibration, ModelMetadata
from edge.geometry import Detections
from edge.network import Predictions
from edge.records import SizeWH
from edge.scaling import resize_into

FAINTEST = 0.02  # score below which a look has seen nothing
SAME_IOU = 0.5  # boxes of both looks that overlap so much are one person
_LEAST = 1e-6  # of a score, for its logarithm

Tensor = npt.NDArray[np.uint8]  # (B, H, W, 3) BGR
Ask = Callable[[Tensor], tuple[Predictions, ...]]


class SecondLook:
    """A network that is asked twice. Not for several threads at once: the smaller picture's buffer is reused."""

    def __init__(self, ask: Ask, metadata: ModelMetadata) -> None:
        if metadata.second_look is None:
            raise ValueError("second_look must be a size, got None; ask the network itself")
        self._ask, self._size = ask, metadata.second_look
        self._multiple, self._pad_value = metadata.input_multiple, metadata.pad_value
        self._nms_iou, self._calibration = metadata.nms_iou, metadata.calibration
        self._buffer: Tensor = np.zeros((0, 0, 0, 3), np.uint8)
        self._content_wh: SizeWH | None = None  # of what lies in the buffer; the rest of it is padding

    def run(self, tensor: Tensor) -> tuple[Predictions, ...]:
        """What both looks say of each picture of a batch, in its pixels.

        Raises:
            ProcessingError: ONNX Runtime failed, for want of memory as a rule.
        """
        smaller, content_wh = self._smaller(tensor)
        first, second = self._ask(tensor), self._ask(smaller)
        back = np.array([tensor.shape[2] / content_wh.width, tensor.shape[1] / content_wh.height] * 2, np.float32)
        return tuple(
            average(seen(one, self._nms_iou), seen(other, self._nms_iou, back), self._calibration)
            for one, other in zip(first, second, strict=True)
        )

    def _smaller(self, tensor: Tensor) -> tuple[Tensor, SizeWH]:
        """The batch at the second size, in the upper left corner of a padded buffer, and that size."""
        batch, height, width, _ = tensor.shape
        content_wh = SizeWH(max(1, round(width * self._size)), max(1, round(height * self._size)))
        input_wh = geometry.round_up(content_wh, self._multiple)
        shape = (batch, input_wh.height, input_wh.width, 3)
        if self._buffer.shape != shape or self._content_wh != content_wh:
            self._buffer, self._content_wh = np.full(shape, self._pad_value, np.uint8), content_wh
        for image, place in zip(tensor, self._buffer, strict=True):
            resize_into(image, place[: content_wh.height, : content_wh.width])
        return self._buffer, content_wh


def seen(predictions: Predictions, nms_iou: float, back: npt.NDArray[np.float32] | None = None) -> Detections:
    """One look without what is too faint and without duplicates; `back` (4,) brings its boxes to another's pixels."""
    due = predictions.scores >= FAINTEST
    due[:1] = True  # the best of a look counts for presence, however faint
    boxes, scores = predictions.boxes_xyxy[due], predictions.scores[due]
    kept = geometry.nms(boxes, scores, nms_iou)
    return Detections(boxes[kept] if back is None else boxes[kept] * back, scores[kept])


def average(first: Detections, second: Detections, calibration: Calibration) -> Predictions:
    """One answer from two looks, each without duplicates, boxes in the same pixels."""
    pairs = geometry.mutual_best(first.boxes_xyxy, second.boxes_xyxy, SAME_IOU)  # (K, 2)
    one, other = first.scores[pairs[:, 0], None], second.scores[pairs[:, 1], None]  # (K, 1)
    boxes = first.boxes_xyxy[pairs[:, 0]] * one + second.boxes_xyxy[pairs[:, 1]] * other
    alone, lonely = (
        np.setdiff1d(np.arange(len(look.scores)), pairs[:, side]) for side, look in enumerate((first, second))
    )
    boxes_xyxy = np.concatenate(
        (boxes / np.maximum(one + other, _LEAST), first.boxes_xyxy[alone], second.boxes_xyxy[lonely])
    )
    scores = np.concatenate(((one + other)[:, 0], first.scores[alone], second.scores[lonely])) / 2
    order = np.argsort(-scores, kind="stable")[:MAX_DETECTIONS]
    best = float(scores[order[0]]) if len(order) else 0.0
    return Predictions(
        boxes_xyxy[order].astype(np.float32), scores[order].astype(np.float32), calibration.presence(best)
    )
