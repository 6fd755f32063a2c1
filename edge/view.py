"""What of a frame the network gets to see: all of it at once, or tile by tile, at a size that may follow the load.

view = open_view(recognizer, ViewSettings(tiles="auto"), lambda: source.info)
sighting = view.look(frame)  # its recognition, and what has changed in how it looks
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from edge.errors import InvalidValueError, UnusableInputError
from edge.ladder import LadderRule
from edge.pace import Pace
from edge.recognizer import Recognizer
from edge.records import Event, Frame, Recognition, SizeWH, SourceInfo
from edge.tiles import Tiles

DEFAULT_MAX_AGE_S = 2.0


@dataclass(frozen=True, slots=True)
class Sighting:
    """What was seen of one frame; `recognition` is None exactly where it has no picture."""

    recognition: Recognition | None
    events: tuple[Event, ...] = ()


class View(Protocol):
    """Looks at the frames of one source in their order."""

    @property
    def at_once(self) -> int:
        """How many frames it can look at at once, each asked for by a thread of its own."""
        return 1

    def look(self, frame: Frame) -> Sighting:
        """Find the pedestrians of one frame.

        Raises:
            ProcessingError: the network failed.
        """

    def input_wh(self, frame_wh: SizeWH | None) -> SizeWH | None:
        """The network's input where it is the same for all frames; `frame_wh` None: their size is not known."""


@dataclass(frozen=True, slots=True)
class ViewSettings:
    """How to look. `follow_load`: the input's size follows the load (`--size auto`)."""

    tiles: Tiles = "off"
    tile_max_age_s: float = DEFAULT_MAX_AGE_S
    follow_load: bool = False
    budget_ms: float | None = None  # for one recognition; None: what the source's rate leaves
    max_temperature_c: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.tile_max_age_s < math.inf:
            raise InvalidValueError("tile-max-age", "above 0 s", self.tile_max_age_s)
        LadderRule(self.budget_ms, self.max_temperature_c)  # refuses what makes no sense
        if self.tiles != "off" and (self.follow_load or self.max_temperature_c is not None):
            raise UnusableInputError(
                "--tiles cannot be used together with --size auto or --max-temperature; "
                "--tiles auto --budget-ms N follows the load by the number of tiles"
            )
        if self.budget_ms is not None and self.tiles != "auto" and not self.follow_load:
            raise UnusableInputError("--budget-ms must go with --size auto or --tiles auto; add one of them")

    @property
    def plain(self) -> bool:
        """Whether every frame is seen as a whole at one size: then a decoder may shrink it to that."""
        return self.tiles == "off" and not self.follow_load and self.max_temperature_c is None


class WholeView(View):
    """Every frame as a whole, at the model's own size, or the one that was asked for.

    Pictures get the closer look of a model that has one; the frames of a video do not, for they have to keep up.
    """

    def __init__(self, recognizer: Recognizer) -> None:
        self._recognizer = recognizer

    def look(self, frame: Frame) -> Sighting:
        """Find the pedestrians of one frame."""
        if frame.image is None:
            return Sighting(None)
        is_picture = frame.name is not None
        return Sighting(self._recognizer.recognise(frame.image, frame_wh=frame.size_wh, closer=is_picture))

    def input_wh(self, frame_wh: SizeWH | None) -> SizeWH | None:
        """The network's input where it is the same for all frames."""
        return self._recognizer.exact_input_wh if frame_wh is None else self._recognizer.place(frame_wh).input_wh


def open_view(
    recognizer: Recognizer, settings: ViewSettings, info: Callable[[], SourceInfo], sharers: int = 1, every: int = 1
) -> View:
    """The view that was asked for, for every n-th frame of one source.

    `info` gives what is known of it by now; `sharers` sources use the network, this one included.
    """
    from edge.adaptive import AdaptiveView
    from edge.at_once import SeparateCores
    from edge.tiling import TiledView

    if settings.plain:
        several = not info().live and recognizer.frames_at_once > 1
        return SeparateCores(recognizer) if several else WholeView(recognizer)
    if settings.tiles == "all":
        return TiledView(recognizer)
    pace = Pace(settings.budget_ms, info, sharers, every)
    if settings.tiles == "auto":
        hurries = info().live or settings.budget_ms is not None
        return TiledView(recognizer, settings.tile_max_age_s, pace if hurries else None)
    rule = LadderRule(max_temperature_c=settings.max_temperature_c)
    follows = settings.follow_load
    return AdaptiveView(recognizer, rule, choose=follows, pace=pace if follows else None)
