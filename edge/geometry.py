"""From frame pixels to network input and back: scaling, padding, suppression of duplicates, clipping. Pure numpy."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.errors import InvalidValueError
from edge.records import Boxes, Scores, SizeWH

Mask = npt.NDArray[np.bool_]  # (N,)
Indices = npt.NDArray[np.int64]  # (K,)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a frame lies in the network input: scaled to `content_wh` in the upper left corner, the rest is padding."""

    frame_wh: SizeWH
    content_wh: SizeWH
    input_wh: SizeWH

    def __post_init__(self) -> None:
        if self.content_wh.width > self.input_wh.width or self.content_wh.height > self.input_wh.height:
            raise InvalidValueError("content_wh", f"at most the input's {self.input_wh}", str(self.content_wh))

    @property
    def shrink(self) -> float:
        """Frame pixels that become one input pixel, along the more compressed side; below 1: enlarged."""
        return max(
            self.frame_wh.width / self.content_wh.width,
            self.frame_wh.height / self.content_wh.height,
        )


@dataclass(frozen=True, slots=True)
class Detections:
    """Boxes in frame pixels with their scores, by descending score."""

    boxes_xyxy: Boxes  # (N, 4)
    scores: Scores  # (N,)

    def __post_init__(self) -> None:
        if self.boxes_xyxy.shape != (len(self.scores), 4):
            raise InvalidValueError("boxes_xyxy", f"of shape ({len(self.scores)}, 4)", self.boxes_xyxy.shape)


def round_up(size_wh: SizeWH, multiple: int) -> SizeWH:
    """The smallest size whose sides are multiples of `multiple` and at least those of `size_wh`."""
    return SizeWH(-(-size_wh.width // multiple) * multiple, -(-size_wh.height // multiple) * multiple)


def scale_to_long_side(frame_wh: SizeWH, long_side: float) -> SizeWH:
    """`frame_wh` scaled so that its longer side is `long_side` px, aspect kept, each side at least 1 px."""
    return _scaled(frame_wh, long_side / frame_wh.long_side)


def place_by_rule(frame_wh: SizeWH, default_long_side: int, max_enlarge: float, multiple: int) -> Placement:
    """The model's own rule: long side = min(longest side x max_enlarge, default_long_side), then padded."""
    content_wh = scale_to_long_side(frame_wh, min(frame_wh.long_side * max_enlarge, default_long_side))
    return Placement(frame_wh, content_wh, round_up(content_wh, multiple))


def place_into(frame_wh: SizeWH, input_wh: SizeWH) -> Placement:
    """The frame as large as it fits into `input_wh` with its aspect kept."""
    scale = min(input_wh.width / frame_wh.width, input_wh.height / frame_wh.height)
    return Placement(frame_wh, _scaled(frame_wh, scale), input_wh)


def _scaled(size_wh: SizeWH, scale: float) -> SizeWH:
    return SizeWH(max(1, round(size_wh.width * scale)), max(1, round(size_wh.height * scale)))


def centred_in_content(boxes_xyxy: Boxes, placement: Placement) -> Mask:
    """Which of the boxes, in input pixels, have their centre on the frame and not in the padding."""
    centres_xy = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2  # (N, 2)
    return (centres_xy[:, 0] < placement.content_wh.width) & (centres_xy[:, 1] < placement.content_wh.height)


def to_frame(boxes_xyxy: Boxes, placement: Placement) -> Boxes:
    """Boxes in input pixels -> the same boxes in frame pixels, not clipped."""
    per_x = placement.frame_wh.width / placement.content_wh.width
    per_y = placement.frame_wh.height / placement.content_wh.height
    return boxes_xyxy * np.array([per_x, per_y, per_x, per_y], np.float32)


def clip(boxes_xyxy: Boxes, frame_wh: SizeWH) -> Boxes:
    """Boxes cut to the frame. A box outside it becomes empty."""
    far = np.array([frame_wh.width, frame_wh.height, frame_wh.width, frame_wh.height], np.float32)
    return np.clip(boxes_xyxy, np.float32(0), far)


def not_empty(boxes_xyxy: Boxes) -> Mask:
    """Which boxes still have an area when they are written to 0.01 px, as records are."""
    written = np.round(boxes_xyxy.astype(np.float64), 2)
    return (written[:, 0] < written[:, 2]) & (written[:, 1] < written[:, 3])


def pairwise_iou(boxes_xyxy: Boxes) -> npt.NDArray[np.float32]:
    """Intersection over union of every pair, (N, N). NaN where both boxes have no area."""
    x0, y0, x1, y1 = np.ascontiguousarray(boxes_xyxy.T)  # each (N,)
    intersection = _overlaps(x0, x1) * _overlaps(y0, y1)  # (N, N)
    areas = (x1 - x0) * (y1 - y0)
    union = np.add.outer(areas, areas) - intersection
    with np.errstate(invalid="ignore", divide="ignore"):
        iou: npt.NDArray[np.float32] = intersection / union
    return iou


def _overlaps(starts: Scores, ends: Scores) -> npt.NDArray[np.float32]:
    """How far every pair of spans overlaps along one axis, (N, N)."""
    lengths: npt.NDArray[np.float32] = np.minimum.outer(ends, ends) - np.maximum.outer(starts, starts)
    return np.maximum(lengths, np.float32(0), out=lengths)


def nms(boxes_xyxy: Boxes, scores: Scores, max_iou: float) -> Indices:
    """Greedy non-maximum suppression: the indices that stay, by descending score; equal scores keep their order.

    A box goes when its IoU with a better one that stays is greater than `max_iou`. Same result as torchvision.ops.nms.
    Memory grows with the square of N: 1 MB a matrix for the 500 boxes of one pass.
    """
    order = np.argsort(-scores, kind="stable")
    # IoU is float32 and the limit a double, as in torchvision; numpy would round the limit to float32 first.
    suppresses = np.greater(pairwise_iou(boxes_xyxy[order]), max_iou, signature="dd->?")
    stays = np.ones(len(order), np.bool_)
    for i in np.flatnonzero(np.count_nonzero(suppresses, axis=1) > 1):  # every box suppresses itself
        if stays[i]:
            stays[i + 1 :] &= ~suppresses[i, i + 1 :]
    return order[stays]
