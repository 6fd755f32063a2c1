"""Tiles over a frame, and one list of people out of what each tile saw. Pure numpy.

Neighbours overlap, so a person no larger than the overlap lies whole within at least one tile. A box that touches an
inner side of its tile may be a part of a person only; such *cut* boxes give way to whole ones, and two of them that
meet in the overlap are joined. A pass over the whole frame, shrunk, finds those who are larger than a tile shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge import geometry
from edge.errors import InvalidValueError
from edge.geometry import Detections, Mask
from edge.records import Boxes, Scores, SizeWH

OVERLAP_PX = 96  # the largest person that tiles alone answer for; on the shrunk frame those are tall enough to be found
_CUT_PX = 2.0
_CUT_SHARE = 0.1  # of the box's side: the network guesses where a person ends that it sees in part
_LEAST_ODDS = 1e-6


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile in frame pixels; `share` is the part of the frame, 0..1, that it answers for."""

    x0: int
    y0: int
    x1: int
    y1: int
    share: float

    @property
    def size_wh(self) -> SizeWH:
        """Width and height."""
        return SizeWH(self.x1 - self.x0, self.y1 - self.y0)

    def as_box(self) -> Boxes:
        """(4,) x0, y0, x1, y1."""
        return np.array([self.x0, self.y0, self.x1, self.y1], np.float32)


@dataclass(frozen=True, slots=True)
class TilePlan:
    """Tiles that cover a frame, row by row. Each fits into `tile_wh`, a size that the network takes."""

    frame_wh: SizeWH
    tile_wh: SizeWH
    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen in one tile, or of the whole frame, in frame pixels."""

    tile: Tile
    found: Detections


def plan_tiles(frame_wh: SizeWH, least_wh: SizeWH, multiple: int, overlap_px: int = OVERLAP_PX) -> TilePlan:
    """As many tiles as there can be of at least `least_wh`, so as small as they need to be; sides are multiples."""
    columns = max(1, (frame_wh.width - overlap_px) // max(1, least_wh.width - overlap_px))
    rows = max(1, (frame_wh.height - overlap_px) // max(1, least_wh.height - overlap_px))
    tile_wh = geometry.round_up(
        SizeWH(
            -(-(frame_wh.width + (columns - 1) * overlap_px) // columns),
            -(-(frame_wh.height + (rows - 1) * overlap_px) // rows),
        ),
        multiple,
    )
    return _plan(frame_wh, tile_wh, columns, rows)


def plan_tiles_of(frame_wh: SizeWH, tile_wh: SizeWH, overlap_px: int = OVERLAP_PX) -> TilePlan:
    """As few tiles of exactly this size as cover the frame.

    Raises:
        InvalidValueError: they are too small to overlap.
    """
    if min(tile_wh.width, tile_wh.height) <= overlap_px:
        raise InvalidValueError("size", f"larger than the tiles' overlap of {overlap_px} px", str(tile_wh))
    columns = max(1, -(-(frame_wh.width - overlap_px) // (tile_wh.width - overlap_px)))
    rows = max(1, -(-(frame_wh.height - overlap_px) // (tile_wh.height - overlap_px)))
    return _plan(frame_wh, tile_wh, columns, rows)


def _plan(frame_wh: SizeWH, tile_wh: SizeWH, columns: int, rows: int) -> TilePlan:
    across = _spread(frame_wh.width, tile_wh.width, columns)
    down = _spread(frame_wh.height, tile_wh.height, rows)
    area = frame_wh.width * frame_wh.height
    tiles = tuple(Tile(x.start, y.start, x.end, y.end, (x.own * y.own) / area) for y in down for x in across)
    return TilePlan(frame_wh, tile_wh, tiles)


@dataclass(frozen=True, slots=True)
class _Span:
    start: int
    end: int
    own: float  # the length for which it answers: overlaps are shared half and half


def _spread(length: int, tile: int, count: int) -> tuple[_Span, ...]:
    """`count` spans of at most `tile` px, evenly over `length`."""
    room = max(0, length - tile)
    starts = [round(k * room / max(1, count - 1)) for k in range(count)]
    ends = [min(start + tile, length) for start in starts]
    borders = [0.0, *((end + start) / 2 for end, start in zip(ends, starts[1:], strict=False)), float(length)]
    return tuple(
        _Span(start, end, far - near) for start, end, near, far in zip(starts, ends, borders, borders[1:], strict=False)
    )


def cut_boxes(boxes_xyxy: Boxes, tile: Tile, frame_wh: SizeWH) -> Mask:
    """Which boxes (N, 4) may be of a part of a person: they touch a side of the tile beyond which the frame goes on."""
    widths, heights = boxes_xyxy[:, 2] - boxes_xyxy[:, 0], boxes_xyxy[:, 3] - boxes_xyxy[:, 1]
    x_margin, y_margin = _CUT_PX + _CUT_SHARE * widths, _CUT_PX + _CUT_SHARE * heights
    cut: Mask = np.zeros(len(boxes_xyxy), np.bool_)
    if tile.x0 > 0:
        cut |= boxes_xyxy[:, 0] < tile.x0 + x_margin
    if tile.y0 > 0:
        cut |= boxes_xyxy[:, 1] < tile.y0 + y_margin
    if tile.x1 < frame_wh.width:
        cut |= boxes_xyxy[:, 2] > tile.x1 - x_margin
    if tile.y1 < frame_wh.height:
        cut |= boxes_xyxy[:, 3] > tile.y1 - y_margin
    return cut


def merge(seen: Sequence[Seen], frame_wh: SizeWH, max_iou: float) -> Detections:
    """One box for each person, by descending score: duplicates in the overlaps are gone, parts are joined.

    Two boxes are of one person if their IoU is greater than `max_iou`; of a cut box with another, the IoU within the
    tile that cuts it. Whole boxes go before cut ones, then the higher score does.
    """
    candidates = _Candidates.of(seen, frame_wh)
    kept: list[int] = []
    for j in candidates.order:
        rows = np.array(kept, np.int64)
        matches = candidates.overlaps(j, rows) > max_iou
        if not matches.any():
            kept.append(int(j))
        elif candidates.cut[j]:
            candidates.join(int(j), rows[matches])
    boxes_xyxy = geometry.clip(candidates.boxes_xyxy[kept], frame_wh)
    scores = candidates.scores[kept]
    best = np.argsort(-scores, kind="stable")
    best = best[geometry.not_empty(boxes_xyxy[best])]
    return Detections(boxes_xyxy[best], scores[best])


class _Candidates:
    """All boxes of all tiles, the whole ones first; joining changes them in place."""

    def __init__(self, boxes_xyxy: Boxes, scores: Scores, cut: Mask, tiles_xyxy: Boxes) -> None:
        self.boxes_xyxy, self.scores, self.cut = boxes_xyxy, scores, cut
        # A whole box is compared everywhere, a cut one within its tile only.
        self._within_xyxy = np.where(cut[:, None], tiles_xyxy, _EVERYWHERE)
        self.order = np.lexsort((-scores, cut))

    @classmethod
    def of(cls, seen: Sequence[Seen], frame_wh: SizeWH) -> "_Candidates":
        none = Seen(Tile(0, 0, frame_wh.width, frame_wh.height, 0.0), Detections(_NO_BOXES, _NO_SCORES))
        parts = [none, *seen]
        return cls(
            np.concatenate([part.found.boxes_xyxy for part in parts]),
            np.concatenate([part.found.scores for part in parts]),
            np.concatenate([cut_boxes(part.found.boxes_xyxy, part.tile, frame_wh) for part in parts]),
            np.concatenate([np.tile(part.tile.as_box(), (len(part.found.scores), 1)) for part in parts]),
        )

    def overlaps(self, j: int, rows: npt.NDArray[np.int64]) -> Scores:
        """IoU of box j with each of `rows`, within the tiles that cut either; 0 where nothing is left of one."""
        within = np.concatenate(
            [
                np.maximum(self._within_xyxy[rows, :2], self._within_xyxy[j, :2]),
                np.minimum(self._within_xyxy[rows, 2:], self._within_xyxy[j, 2:]),
            ],
            axis=1,
        )
        mine, theirs = _clipped(self.boxes_xyxy[j], within), _clipped(self.boxes_xyxy[rows], within)
        shared = _areas(
            np.concatenate([np.maximum(mine[:, :2], theirs[:, :2]), np.minimum(mine[:, 2:], theirs[:, 2:])], axis=1)
        )
        union = _areas(mine) + _areas(theirs) - shared
        iou: Scores = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
        return iou

    def join(self, j: int, rows: npt.NDArray[np.int64]) -> None:
        """Box j is a part of the person of the first of `rows`; if both are cut, the person reaches over both."""
        if not self.cut[rows].all():
            return
        first = rows[0]
        for boxes_xyxy in (self.boxes_xyxy, self._within_xyxy):
            boxes_xyxy[first, :2] = np.minimum(boxes_xyxy[first, :2], boxes_xyxy[j, :2])
            boxes_xyxy[first, 2:] = np.maximum(boxes_xyxy[first, 2:], boxes_xyxy[j, 2:])


def _clipped(boxes_xyxy: Boxes, within: Boxes) -> Boxes:
    low = np.maximum(boxes_xyxy[..., :2], within[:, :2])
    return np.concatenate([low, np.minimum(boxes_xyxy[..., 2:], within[:, 2:])], axis=1)


def _areas(boxes_xyxy: Boxes) -> Scores:
    sides = np.maximum(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], np.float32(0))
    return np.asarray(sides[:, 0] * sides[:, 1])


def left_to_tiles(overview: Detections, tiles: Sequence[Tile], overlap_px: int = OVERLAP_PX) -> Mask:
    """Which boxes of the overview are small enough, and where a tile was looked at: the tile knows better."""
    sides = overview.boxes_xyxy[:, 2:] - overview.boxes_xyxy[:, :2]
    centres_xy = (overview.boxes_xyxy[:, 2:] + overview.boxes_xyxy[:, :2]) / 2
    inside: Mask = np.zeros(len(overview.scores), np.bool_)
    for tile in tiles:
        x, y = centres_xy[:, 0], centres_xy[:, 1]
        inside |= (tile.x0 <= x) & (x < tile.x1) & (tile.y0 <= y) & (y < tile.y1)
    small: Mask = sides.max(axis=1, initial=0) <= overlap_px
    return np.logical_and(inside, small)


def frame_presence(overview: float, tiles: Sequence[float]) -> float:
    """The chance 0..1 that somebody is in the frame, from what the overview and each tile say, each calibrated alone.

    The highest of k answers would be too high: each tile is one more chance of a false alarm. If somebody is there,
    some tile shows it, a priori each as likely as the other, and for half of the people the overview does. Then
    Bayes' factor for `somebody` is the mean of the parts' factors, and, the prior being the same, the frame's odds are
    the mean of the odds: half the overview's, half the tiles' mean. One answer alone stays as it is.
    """
    if not tiles:
        return overview
    odds = (_odds(overview) + sum(map(_odds, tiles)) / len(tiles)) / 2
    return odds / (1 + odds)


def _odds(probability: float) -> float:
    p = min(max(probability, _LEAST_ODDS), 1 - _LEAST_ODDS)
    return p / (1 - p)


_EVERYWHERE = np.array([-np.inf, -np.inf, np.inf, np.inf], np.float32)
_NO_BOXES = np.zeros((0, 4), np.float32)
_NO_SCORES = np.zeros(0, np.float32)
