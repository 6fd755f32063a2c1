"""The options of `kestrel watch` for how it looks at a frame, and what they say together. Imports nothing heavy."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edge.view import ViewSettings

LOOK = "How it looks at a frame"
FOLLOW_LOAD = "auto"  # the size that follows the load


class Tiles(StrEnum):
    """`all`: every tile of every frame; `auto`: spread over successive frames."""

    off = "off"
    all = "all"
    auto = "auto"


def _option(*names: str, help_text: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=help_text, metavar=metavar, rich_help_panel=LOOK)


WatchSizeOption = Annotated[
    str | None,
    typer.Option(
        "--size",
        metavar="WxH|auto",
        help="Exact input of the network, e.g. 1280x736; larger sees smaller people. "
        "auto: the largest that keeps up, smaller under load.",
    ),
]
TilesOption = Annotated[
    Tiles,
    _option(
        "--tiles",
        metavar="[all|auto]",
        help_text="See small people in large footage: look at overlapping tiles at full resolution. "
        "all: every tile of every frame; auto: spread over frames, first where people were or something moves.",
    ),
]
TileMaxAgeOption = Annotated[
    float,
    _option(
        "--tile-max-age", metavar="S", help_text="A tile that was looked at longer ago makes `clear` into `unknown`."
    ),
]
BudgetMsOption = Annotated[
    float | None,
    _option(
        "--budget-ms",
        metavar="MS",
        help_text="Time for one frame, for --size auto and --tiles auto.  [default: what the source's rate leaves]",
    ),
]
MaxTemperatureOption = Annotated[
    float | None,
    _option("--max-temperature", metavar="C", help_text="Smaller input while the machine is hotter, in Celsius."),
]


def view_of(
    size: str | None, tiles: Tiles, tile_max_age: float, budget_ms: float | None, max_temperature: float | None
) -> "ViewSettings":
    """The options as one value.

    Raises:
        UnusableInputError: they contradict each other, or one is out of its range.
    """
    from edge.view import ViewSettings

    return ViewSettings(tiles.value, tile_max_age, size == FOLLOW_LOAD, budget_ms, max_temperature)
