"""Which tiles of a frame are looked at when not all can be: pure, times are seconds of the source.

A tile's urgency is its age in units of the greatest age allowed, plus a half where people were seen last or where
something moves. So tiles with people are looked at again and again while the others are fresh, and from half of the
greatest age on each tile has its turn: no tile is forgotten for those with people.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.geometry import Mask
from edge.ladder import HEADROOM
from edge.records import Boxes
from edge.tiles import Tile

INTEREST = 0.5
_NEVER = 1e3  # the urgency of a tile that was not looked at yet
_COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)  # few batch sizes: an engine may be built for each


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known of one tile: when it was looked at (None: never), what it said then, whether people were there."""

    looked_at_s: float | None = None
    presence: float = 0.0
    people: bool = False


def most_urgent(
    memories: Sequence[Memory], moving: Mask, now_s: float, max_age_s: float, count: int
) -> tuple[int, ...]:
    """The indices of the `count` most urgent tiles, in the frame's order; `moving` (K,) marks where something moves."""
    urgencies = [
        urgency(memory, now_s, max_age_s, moves=bool(moves)) for memory, moves in zip(memories, moving, strict=True)
    ]
    chosen = sorted(range(len(memories)), key=lambda k: (-urgencies[k], k))[:count]
    return tuple(sorted(chosen))


def urgency(memory: Memory, now_s: float, max_age_s: float, *, moves: bool) -> float:
    """How urgent a look at a tile is. People who move count once: with more, fresh tiles would crowd out stale ones."""
    interest = INTEREST * (memory.people or moves)
    if memory.looked_at_s is None:
        return _NEVER + interest
    return (now_s - memory.looked_at_s) / max_age_s + interest


def fresh(memory: Memory, now_s: float, max_age_s: float) -> bool:
    """Whether the tile was looked at lately enough to speak of it."""
    return memory.looked_at_s is not None and 0 <= now_s - memory.looked_at_s <= max_age_s


def coverage(tiles: Sequence[Tile], memories: Sequence[Memory], now_s: float, max_age_s: float) -> float:
    """The share of the frame, 0..1, that was looked at lately enough; 1 exactly where every tile was."""
    looked = [fresh(memory, now_s, max_age_s) for memory in memories]
    if all(looked):
        return 1.0
    return min(0.9999, round(sum(tile.share for tile, one in zip(tiles, looked, strict=True) if one), 4))


def tiles_with(boxes_xyxy: Boxes, tiles: Sequence[Tile]) -> tuple[bool, ...]:
    """Which tiles any of the boxes (N, 4) reaches into; who walks through an overlap is awaited on both sides."""
    corners = np.array([[t.x0, t.y0, t.x1, t.y1] for t in tiles], np.float32).reshape(-1, 1, 4)  # (K, 1, 4)
    reaches = (boxes_xyxy[:, 0] < corners[..., 2]) & (boxes_xyxy[:, 2] > corners[..., 0])
    reaches &= (boxes_xyxy[:, 1] < corners[..., 3]) & (boxes_xyxy[:, 3] > corners[..., 1])  # (K, N)
    return tuple(bool(one) for one in np.any(reaches, axis=1).tolist())


def affordable(budget_ms: float, picture_ms: float, tiles: int) -> int:
    """How many tiles a frame fit into the budget beside the overview, of so many in all; at least one."""
    return _count(HEADROOM * budget_ms / picture_ms - 1, tiles)


def enough_to_stay_fresh(step_s: float, max_age_s: float, tiles: int) -> int:
    """How many tiles a frame see each of `tiles` twice within the greatest age, at `step_s` from frame to frame."""
    return _count(math.ceil(2 * tiles * step_s / max_age_s), tiles, up=True)


def _count(wanted: float, tiles: int, *, up: bool = False) -> int:
    """The nearest number of tiles that is used, below or above what is wanted."""
    counts = [*(count for count in _COUNTS if count < tiles), tiles]
    if up:
        return next((count for count in counts if count >= wanted), tiles)
    return max((count for count in counts if count <= wanted), default=1)
