"""Every frame tile by tile at its own scale, so that small people in large footage are seen.

`all`: all tiles of every frame, and the frame as a whole, shrunk, in one batch. `auto`: so many tiles a frame as the
budget allows, the most urgent first; what was looked at longer ago than `max_age_s` counts as not looked at. Without a
budget they are as many as keep every tile fresh, which does not depend on the machine.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge import geometry, tile_schedule, tiles
from edge.geometry import Detections, Mask, Placement
from edge.motion import MotionWatch
from edge.network import Predictions
from edge.pace import Pace
from edge.recognizer import Recognizer, scale_into
from edge.records import Frame, Image, Recognition, SizeWH, size_of
from edge.tile_presence import frame_presence
from edge.tile_schedule import Memory
from edge.tiles import Seen, Tile, TilePlan
from edge.view import Sighting, View

_SMOOTHING = 0.3  # of what one picture of a batch costs, from frame to frame


class TiledView(View):
    """Looks at all tiles of every frame, or, with `max_age_s`, spreads them over successive ones by the budget of
    `pace`. Pictures of a folder get them all."""

    def __init__(self, recognizer: Recognizer, max_age_s: float | None = None, pace: Pace | None = None) -> None:
        self._recognizer = recognizer
        self._max_age_s = max_age_s
        self._pace = pace
        self._batches: Batches | None = None
        self._spread: Spread | None = None

    def look(self, frame: Frame) -> Sighting:
        """Find the pedestrians of one frame."""
        if frame.image is None:
            return Sighting(None)
        budget_ms = None if self._pace is None else self._pace.budget_ms(frame)
        frame_wh = size_of(frame.image)
        if self._batches is None or self._batches.plan.frame_wh != frame_wh:
            self._batches, self._spread = Batches(self._recognizer, plan_for(self._recognizer, frame_wh)), None
        plan = self._batches.plan
        if len(plan.tiles) == 1:  # the frame is hardly larger than a tile: it is seen as a whole, at its own scale
            return Sighting(self._recognizer.recognise(frame.image, self._side(frame_wh), closer=False))
        if self._max_age_s is None or frame.time_s is None:
            return Sighting(self._batches.recognise(frame.image, lambda _: range(len(plan.tiles))).recognition)
        if self._spread is None:
            self._spread = Spread(self._batches, self._max_age_s)
        return Sighting(self._spread.recognise(frame.image, frame.time_s, budget_ms))

    def input_wh(self, frame_wh: SizeWH | None) -> SizeWH | None:
        """The size of a tile."""
        if frame_wh is None:
            return self._recognizer.exact_input_wh
        plan = plan_for(self._recognizer, frame_wh)
        if len(plan.tiles) == 1:
            return self._recognizer.place(frame_wh, self._side(frame_wh)).input_wh
        return plan.tile_wh

    def _side(self, frame_wh: SizeWH) -> int | None:
        """The long side at which a frame is seen that is one tile; None: as the user has set it."""
        if self._recognizer.exact_input_wh is not None:
            return None
        return max(self._recognizer.metadata.default_long_side, frame_wh.long_side)


def plan_for(recognizer: Recognizer, frame_wh: SizeWH) -> TilePlan:
    """Tiles of the size that was asked for, else of at least the size at which the whole frame would be seen."""
    if recognizer.exact_input_wh is not None:
        return tiles.plan_tiles_of(frame_wh, recognizer.exact_input_wh)
    return tiles.plan_tiles(frame_wh, recognizer.place(frame_wh).input_wh, recognizer.metadata.input_multiple)


@dataclass(frozen=True, slots=True)
class TiledRecognition:
    """What some tiles of a frame have shown: the recognition, and what the overview and each tile said alone."""

    recognition: Recognition
    chosen: tuple[int, ...]
    overview: float
    presences: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Answers:
    """What the network says of some tiles, the overview first, and how long that took."""

    predictions: tuple[Predictions, ...]
    copied_s: float
    inferred_s: float


class Batches:
    """Puts the overview and some tiles of a frame into one batch and their answers together again.

    Where that is more than the network takes at once, in as few batches as can be.
    """

    def __init__(self, recognizer: Recognizer, plan: TilePlan) -> None:
        self.plan = plan
        self._recognizer = recognizer
        self._share_with_people = recognizer.metadata.share_with_people
        self._overview = geometry.place_into(plan.frame_wh, plan.tile_wh)
        pictures = min(1 + len(plan.tiles), recognizer.most_in_a_batch)
        shape = (pictures, plan.tile_wh.height, plan.tile_wh.width, 3)
        # The first is the overview's. All tiles of a plan are of one size, so what is padding there stays padding.
        self._buffer = np.full(shape, recognizer.metadata.pad_value, np.uint8)

    def recognise(self, image: Image, choose: Callable[[Image], Sequence[int]]) -> TiledRecognition:
        """Look at the frame as a whole and at the tiles that are chosen when the shrunk frame is there."""
        started = time.perf_counter()
        image = self._recognizer.as_learnt(image)
        scale_into(image, self._buffer[0], self._overview)
        content_wh = self._overview.content_wh
        chosen = tuple(choose(self._buffer[0, : content_wh.height, : content_wh.width]))
        prepared_s = time.perf_counter() - started
        answers = self._ask(image, chosen)
        asked = time.perf_counter()
        overview, *parts = answers.predictions
        found = self._merge(overview, [self._seen(self.plan.tiles[k], p) for k, p in zip(chosen, parts, strict=True)])
        presences = tuple(part.presence for part in parts)
        finished = time.perf_counter()
        recognition = Recognition(
            presence=self.presence(overview.presence, presences),
            boxes_xyxy=found.boxes_xyxy,
            scores=found.scores,
            preprocess_ms=1000 * (prepared_s + answers.copied_s),
            infer_ms=1000 * answers.inferred_s,
            postprocess_ms=1000 * (finished - asked),
        )
        return TiledRecognition(recognition, chosen, overview.presence, presences)

    def presence(self, overview: float, tiles_say: Sequence[float]) -> float:
        """That of the frame, from those of its pictures."""
        return frame_presence((overview, *tiles_say), self._share_with_people)

    def _ask(self, image: Image, chosen: Sequence[int]) -> _Answers:
        room = len(self._buffer) - 1
        predictions: list[Predictions] = []
        copied_s = inferred_s = 0.0
        for start in range(0, max(1, len(chosen)), room):
            began = time.perf_counter()
            part = chosen[start : start + room]
            for row, k in enumerate(part, start=1):
                tile = self.plan.tiles[k]
                content_wh = tile.size_wh
                self._buffer[row, : content_wh.height, : content_wh.width] = image[tile.y0 : tile.y1, tile.x0 : tile.x1]
            copied = time.perf_counter()
            predictions += self._recognizer.infer_batch(self._buffer[1 if start else 0 : 1 + len(part)])
            copied_s += copied - began
            inferred_s += time.perf_counter() - copied
        return _Answers(tuple(predictions), copied_s, inferred_s)

    def _seen(self, tile: Tile, predictions: Predictions) -> Seen:
        placement = Placement(tile.size_wh, tile.size_wh, self.plan.tile_wh)
        found = self._distinct(self._recognizer.candidates(predictions, placement))
        offset = np.array([tile.x0, tile.y0, tile.x0, tile.y0], np.float32)
        return Seen(tile, Detections(found.boxes_xyxy + offset, found.scores))

    def _merge(self, overview: Predictions, seen: Sequence[Seen]) -> Detections:
        whole = self._distinct(self._recognizer.candidates(overview, self._overview))
        large = ~tiles.left_to_tiles(whole, [part.tile for part in seen])
        whole = Detections(whole.boxes_xyxy[large], whole.scores[large])
        return tiles.merge(whole, seen, self.plan.frame_wh, self._recognizer.metadata.nms_iou)

    def _distinct(self, found: Detections) -> Detections:
        best = geometry.nms(found.boxes_xyxy, found.scores, self._recognizer.metadata.nms_iou)
        return Detections(found.boxes_xyxy[best], found.scores[best])


class Spread:
    """Spreads the tiles over successive frames and remembers what each has said."""

    def __init__(self, batches: Batches, max_age_s: float) -> None:
        self._batches = batches
        self._max_age_s = max_age_s
        self._motion = MotionWatch(batches.plan)
        self._memories = [Memory() for _ in batches.plan.tiles]
        self._picture_ms: float | None = None  # what one picture of a batch costs
        self._before_s: float | None = None

    def recognise(self, image: Image, now_s: float, budget_ms: float | None) -> Recognition:
        """Look at the most urgent tiles of a frame at `now_s`, as many as fit into the budget.

        The presence is that of all tiles that are fresh; the detections are those of the tiles looked at now.
        """
        if self._before_s is not None and now_s < self._before_s:  # the source has begun anew
            self._memories = [Memory() for _ in self._memories]
        count, max_age_s = self._count(now_s, budget_ms), self._max_age_s

        def choose(shrunk: Image) -> Sequence[int]:
            moving: Mask = self._motion.moving(shrunk)
            return tile_schedule.most_urgent(self._memories, moving, now_s, max_age_s, count)

        tiled = self._batches.recognise(image, choose)
        self._before_s = now_s
        self._remember(tiled, now_s)
        recognition, plan = tiled.recognition, self._batches.plan
        said = [m.presence for m in self._memories if tile_schedule.fresh(m, now_s, max_age_s)]
        return replace(
            recognition,
            presence=self._batches.presence(tiled.overview, said),
            coverage=tile_schedule.coverage(plan.tiles, self._memories, now_s, max_age_s),
        )

    def _count(self, now_s: float, budget_ms: float | None) -> int:
        tiles_in_all = len(self._memories)
        if budget_ms is not None:
            if self._picture_ms is None:
                return 1
            return tile_schedule.affordable(budget_ms, self._picture_ms, tiles_in_all)
        step_s = 0.0 if self._before_s is None else now_s - self._before_s
        return tile_schedule.enough_to_stay_fresh(step_s, self._max_age_s, tiles_in_all)

    def _remember(self, tiled: TiledRecognition, now_s: float) -> None:
        recognition = tiled.recognition
        people = tile_schedule.tiles_with(recognition.boxes_xyxy, self._batches.plan.tiles)
        for k, presence in zip(tiled.chosen, tiled.presences, strict=True):
            self._memories[k] = Memory(now_s, presence, people[k])
        for k, memory in enumerate(self._memories):
            if people[k] and not memory.people:
                self._memories[k] = replace(memory, people=True)
        each_ms = recognition.total_ms / (1 + len(tiled.chosen))
        before_ms = each_ms if self._picture_ms is None else self._picture_ms
        self._picture_ms = before_ms + _SMOOTHING * (each_ms - before_ms)
