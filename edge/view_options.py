"""The section of `kestrel watch --help` on how it looks at a frame. Imports nothing heavy."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from edge.options import option, refuse_idle
from edge.tiles import Tiles

if TYPE_CHECKING:
    from edge.view import ViewSettings

LOOK = "How it looks at a frame"


@dataclass(frozen=True, slots=True)
class ViewSection:
    """Tiles, and what the size follows."""

    tiles: Annotated[
        Tiles,
        option(
            LOOK,
            "See small people in large footage: look at overlapping tiles at full resolution. all: every tile of every "
            "frame; auto: spread over frames, first where people were or something moves.",
            "[all|auto]",
        ),
    ] = "off"
    tile_max_age: Annotated[
        float, option(LOOK, "A tile not looked at for S seconds turns clear into unknown.", "S")
    ] = 2.0
    budget_ms: Annotated[
        float | None,
        option(
            LOOK,
            "Time for one frame, for --size auto and --tiles auto.  [default: what the source's rate leaves]",
            "MS",
        ),
    ] = None
    max_temperature: Annotated[
        float | None, option(LOOK, "Smaller input while the machine is hotter, in Celsius.", "C")
    ] = None

    def asked(self, *, follow_load: bool) -> "ViewSettings":
        """The same, as the view knows it; `follow_load` for `--size auto`.

        Raises:
            UnusableInputError: options contradict each other, or one is out of its range.
        """
        from edge.view import ViewSettings

        if self.tiles == "off":
            refuse_idle(self, ("tile_max_age",), "used together with --tiles")
        return ViewSettings(self.tiles, self.tile_max_age, follow_load, self.budget_ms, self.max_temperature)
