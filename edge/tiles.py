"""Tiles over a frame, and one list of people out of what each tile saw. Pure numpy.

Neighbours overlap, so a person no larger than the overlap lies whole within at least one tile. A box that touches an
inner side of its tile may be a part of a person only; such *cut* boxes give way to whole ones, and two of them that
meet in the overlap are joined. A pass over the whole frame, shrunk, finds those who are larger than a tile shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from edge import geometry
from edge.errors import InvalidValueError
from edge.geometry import Detections, Mask
from edge.records import Boxes, Scores, SizeWH

Tiles = Literal["off", "all", "auto"]  # all: every tile of every frame; auto: spread over successive frames
OVERLAP_PX = 96  # the largest person that tiles alone answer for; on the shrunk frame those are tall enough to be found
_LEAST_OVERLAPS = 2  # that a tile is long, at least
_CUT_PX = 2.0
_CUT_SHARE = 0.1  # of the box's side: the network guesses where a person ends that it sees in part
OVERVIEW_IOU = 0.3  # where the tile's whole box and the overview's are taken for one person
_WHOLE, _OVERVIEW, _CUT = range(3)
_EVERYWHERE = np.array([-np.inf, -np.inf, np.inf, np.inf], np.float32)


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
    """What was seen in one tile, in frame pixels."""

    tile: Tile
    found: Detections


def plan_tiles(frame_wh: SizeWH, least_wh: SizeWH, multiple: int) -> TilePlan:
    """As many tiles as there can be of at least `least_wh`, so as small as they need to be; sides are multiples.

    None is so low or narrow, as a network's input for a very wide frame is, that most of it would be overlap.
    """
    columns = _count_along(frame_wh.width, least_wh.width)
    rows = _count_along(frame_wh.height, least_wh.height)
    tile_wh = geometry.round_up(
        SizeWH(
            -(-(frame_wh.width + (columns - 1) * OVERLAP_PX) // columns),
            -(-(frame_wh.height + (rows - 1) * OVERLAP_PX) // rows),
        ),
        multiple,
    )
    return _plan(frame_wh, tile_wh, columns, rows)


def _count_along(length: int, least: int) -> int:
    """How many tiles of at least this length, and of several overlaps, lie along one side of a frame."""
    least = max(least, _LEAST_OVERLAPS * OVERLAP_PX)
    return max(1, (length - OVERLAP_PX) // (least - OVERLAP_PX))


def plan_tiles_of(frame_wh: SizeWH, tile_wh: SizeWH) -> TilePlan:
    """As few tiles of exactly this size as cover the frame.

    Raises:
        InvalidValueError: they are too small to overlap.
    """
    refuse_small(tile_wh)
    columns = max(1, -(-(frame_wh.width - OVERLAP_PX) // (tile_wh.width - OVERLAP_PX)))
    rows = max(1, -(-(frame_wh.height - OVERLAP_PX) // (tile_wh.height - OVERLAP_PX)))
    return _plan(frame_wh, tile_wh, columns, rows)


def refuse_small(tile_wh: SizeWH) -> None:
    """Raises InvalidValueError for tiles that are too small to overlap."""
    if min(tile_wh.width, tile_wh.height) <= OVERLAP_PX:
        raise InvalidValueError("size", f"larger than the tiles' overlap of {OVERLAP_PX} px", str(tile_wh))


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


def merge(overview: Detections, seen: Sequence[Seen], frame_wh: SizeWH, max_iou: float) -> Detections:
    """One box for each person, by descending score: duplicates in the overlaps are gone, parts are joined.

    Whole boxes of tiles go before those of the overview (its boxes fit less well), those before cut ones; then the
    higher score does. Two boxes are of one person if their IoU is greater than `max_iou`, or `OVERVIEW_IOU` for a
    whole one and one of the overview. Of a cut box it is the IoU within the tile that cuts it. Linear in people.
    """
    pool = _Pool.of(overview, seen, frame_wh)
    boxes_xyxy, stays = pool.boxes_xyxy.copy(), [True] * len(pool.scores)
    into = list(range(len(pool.scores)))  # the box that each was joined to
    for better, worse in pool.same_person(max_iou).tolist():
        gone = not stays[better] and into[better] == better
        if gone or not stays[worse]:
            continue
        stays[worse] = False
        if pool.rank[better] == pool.rank[worse] == _CUT:
            into[worse] = into[better]
            boxes_xyxy[into[better]] = _joined(boxes_xyxy[into[better]], pool.boxes_xyxy[worse])
    boxes_xyxy, scores = geometry.clip(boxes_xyxy[stays], frame_wh), pool.scores[stays]
    best = np.argsort(-scores, kind="stable")
    best = best[geometry.not_empty(boxes_xyxy[best])]
    return Detections(boxes_xyxy[best], scores[best])


@dataclass(frozen=True, slots=True)
class _Pool:
    """All boxes of a frame, the most trustworthy first; `within_xyxy` is the tile that cuts each, else everywhere."""

    boxes_xyxy: Boxes  # (N, 4)
    scores: Scores  # (N,)
    rank: npt.NDArray[np.int64]  # (N,)
    within_xyxy: Boxes  # (N, 4)

    @classmethod
    def of(cls, overview: Detections, seen: Sequence[Seen], frame_wh: SizeWH) -> "_Pool":
        boxes_xyxy = np.concatenate([overview.boxes_xyxy, *(part.found.boxes_xyxy for part in seen)])
        scores = np.concatenate([overview.scores, *(part.found.scores for part in seen)])
        whole = np.full(len(overview.scores), _OVERVIEW, np.int64)
        cuts = [cut_boxes(part.found.boxes_xyxy, part.tile, frame_wh) for part in seen]
        rank = np.concatenate([whole, *(np.where(cut, _CUT, _WHOLE) for cut in cuts)])
        everywhere = np.tile(_EVERYWHERE, (len(overview.scores), 1))
        within = np.concatenate(
            [
                everywhere,
                *(
                    np.where(cut[:, None], part.tile.as_box(), _EVERYWHERE)
                    for part, cut in zip(seen, cuts, strict=True)
                ),
            ]
        )
        order = np.lexsort((-scores, rank))
        return cls(boxes_xyxy[order], scores[order], rank[order], within[order])

    def same_person(self, max_iou: float) -> geometry.Indices:
        """Pairs (P, 2) of boxes that show one person, the more trustworthy first in each and by it."""
        pairs = np.sort(geometry.overlapping_pairs(self.boxes_xyxy), axis=1)
        one, other = pairs.T
        within = _shared(self.within_xyxy[one], self.within_xyxy[other])
        mine, theirs = _shared(self.boxes_xyxy[one], within), _shared(self.boxes_xyxy[other], within)
        shared = _areas(_shared(mine, theirs))
        union = _areas(mine) + _areas(theirs) - shared
        iou: Scores = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
        loose = (self.rank[one] == _WHOLE) & (self.rank[other] == _OVERVIEW)
        pairs = pairs[iou > np.where(loose, min(OVERVIEW_IOU, max_iou), max_iou)]
        return np.asarray(pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))])


def _shared(one_xyxy: Boxes, other_xyxy: Boxes) -> Boxes:
    """What two boxes have in common, (N, 4); where that is nothing, the far corner lies before the near one."""
    return np.concatenate(
        [np.maximum(one_xyxy[:, :2], other_xyxy[:, :2]), np.minimum(one_xyxy[:, 2:], other_xyxy[:, 2:])], axis=1
    )


def _joined(one_xyxy: Boxes, other_xyxy: Boxes) -> Boxes:
    """The box (4,) around two."""
    return np.concatenate([np.minimum(one_xyxy[:2], other_xyxy[:2]), np.maximum(one_xyxy[2:], other_xyxy[2:])])


def _areas(boxes_xyxy: Boxes) -> Scores:
    sides = np.maximum(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], np.float32(0))
    return np.asarray(sides[:, 0] * sides[:, 1])


def left_to_tiles(overview: Detections, tiles: Sequence[Tile]) -> Mask:
    """Which boxes of the overview are small enough, and where a tile was looked at: the tile knows better."""
    sides = overview.boxes_xyxy[:, 2:] - overview.boxes_xyxy[:, :2]
    centres_xy = (overview.boxes_xyxy[:, 2:] + overview.boxes_xyxy[:, :2]) / 2
    inside: Mask = np.zeros(len(overview.scores), np.bool_)
    for tile in tiles:
        x, y = centres_xy[:, 0], centres_xy[:, 1]
        inside |= (tile.x0 <= x) & (x < tile.x1) & (tile.y0 <= y) & (y < tile.y1)
    small: Mask = sides.max(axis=1, initial=0) <= OVERLAP_PX
    return np.logical_and(inside, small)
