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

    A box goes when its IoU with a better one that stays is greater than `max_iou`, above 0. Same result as
    torchvision.ops.nms. Only boxes that overlap are compared: the cost grows with people, not with their square.
    """
    order = np.argsort(-scores, kind="stable")
    best_first = boxes_xyxy[order]
    pairs = overlapping_pairs(best_first)
    # IoU is float32 and the limit a double, as in torchvision; numpy would round the limit to float32 first.
    duplicates = pairs[np.greater(_iou_of(best_first, pairs), max_iou, signature="dd->?")]
    better_worse = np.sort(duplicates, axis=1)
    stays = [True] * len(order)
    for better, worse in better_worse[np.argsort(better_worse[:, 0])].tolist():
        if stays[better]:
            stays[worse] = False
    return order[np.array(stays, np.bool_)]


def mutual_best(first: Boxes, second: Boxes, min_iou: float) -> Indices:
    """Pairs (K, 2) of a box of `first` (N, 4) and one of `second` (M, 4), each the other's best, of `min_iou` at least.

    Of equals the earlier is the best, so each box is in one pair at most.
    """
    together = np.concatenate((first, second))
    pairs = np.sort(overlapping_pairs(together), axis=1)
    pairs = pairs[(pairs[:, 0] < len(first)) & (pairs[:, 1] >= len(first))]
    iou = _iou_of(together, pairs)
    pairs, iou = pairs[iou >= min_iou], iou[iou >= min_iou]
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0], -iou))]  # best first
    wanted = [np.zeros(len(pairs), np.bool_), np.zeros(len(pairs), np.bool_)]
    for side, best in enumerate(wanted):
        best[np.unique(pairs[:, side], return_index=True)[1]] = True
    return np.asarray(pairs[wanted[0] & wanted[1]] - np.array([0, len(first)]), np.int64)


def overlapping_pairs(boxes_xyxy: Boxes) -> Indices:
    """Every pair of boxes whose overlap has an area, once, as indices (P, 2), with few pairs that do not overlap.

    The plane is cut into strips as high as the mean box, so the boxes have about 2 N places in strips. In a strip the
    places are ordered by their left edge, and each is paired with those that begin before it ends.
    """
    heights = np.maximum(boxes_xyxy[:, 3] - boxes_xyxy[:, 1], np.float32(0))
    strip_px = heights.mean(dtype=np.float64) if len(heights) else 0.0
    if strip_px == 0.0:
        return np.zeros((0, 2), np.int64)
    x0, y0, x1, y1 = boxes_xyxy.T.astype(np.float64)  # each (N,)
    top, bottom = (np.floor(y / strip_px).astype(np.int64) for y in (y0, y1))
    box, step = _expand(bottom - top + 1)  # each (M,): a place of a box in a strip
    strip = top[box] + step
    # Left edges as their rank: strip and rank make one number that sorts by both.
    edges = np.sort(x0)
    base = (strip - strip.min()) * (len(edges) + 1)
    place = base + np.searchsorted(edges, x0)[box]
    by_place = np.argsort(place, kind="stable")
    end = np.searchsorted(place[by_place], (base + np.searchsorted(edges, x1)[box])[by_place])
    first, step = _expand(end - np.arange(len(end)) - 1)  # each (P,)
    pairs = np.stack([box[by_place[first]], box[by_place[first + 1 + step]]], axis=1)
    once = strip[by_place[first]] == np.maximum(top[pairs[:, 0]], top[pairs[:, 1]])  # else several strips have the pair
    return np.asarray(pairs[once], np.int64)


def _expand(counts: Indices) -> tuple[Indices, Indices]:
    """Each index as often as its count says, and beside it 0, 1, 2, ... for each index; a negative count is 0."""
    counts = np.maximum(counts, 0)
    index = np.repeat(np.arange(len(counts)), counts)
    return index, np.arange(len(index)) - np.repeat(np.cumsum(counts) - counts, counts)


def _iou_of(boxes_xyxy: Boxes, pairs: Indices) -> Scores:
    """Intersection over union of pairs (P, 2) of boxes."""
    one, other = boxes_xyxy[pairs[:, 0]].T, boxes_xyxy[pairs[:, 1]].T  # each (4, P)
    width = np.minimum(one[2], other[2]) - np.maximum(one[0], other[0])
    height = np.minimum(one[3], other[3]) - np.maximum(one[1], other[1])
    intersection = np.maximum(width, np.float32(0)) * np.maximum(height, np.float32(0))
    areas = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1])
    with np.errstate(invalid="ignore", divide="ignore"):
        iou: Scores = intersection / (areas - intersection)
    return iou
