"""The card's picture: AP50 by height, and how far presence can be trusted; drawn from the metadata alone.

No picture of a data set is in it, so that no licence of theirs holds for it.
"""

import io
from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edge.contract import ModelMetadata

_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")  # Okabe and Ito: told apart with any kind of colour vision
_HEIGHT = "AP50_by_height"


def draw_card_chart(metadata: ModelMetadata) -> bytes | None:
    """A PNG file; None where no figure by height is stored."""
    measured = {name: figures for name, figures in metadata.metrics.items() if figures.get(_HEIGHT)}
    if not measured:
        return None
    figure = Figure(figsize=(9.6, 3.8), layout="constrained")
    heights, reliability = figure.subplots(1, 2)
    _draw_heights(measured, heights)
    _draw_reliability(measured, reliability)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100, metadata={"Software": None})  # else the version is written into it
    return file.getvalue()


def _draw_heights(measured: Mapping[str, Any], axes: Axes) -> None:
    width = 0.8 / len(measured)
    names: list[str] = []
    for k, (dataset, figures) in enumerate(measured.items()):
        names = [_pixels(entry) for entry in figures[_HEIGHT]]
        for place, entry in enumerate(figures[_HEIGHT]):
            if entry["AP50"] is None:
                continue
            x = place + (k - (len(measured) - 1) / 2) * width
            axes.bar(x, entry["AP50"], width * 0.95, color=_COLOURS[k % len(_COLOURS)])
            axes.text(x, entry["AP50"] + 0.01, f"{entry['AP50']:.2f}", ha="center", va="bottom", fontsize=7)
        axes.bar(
            0, 0, color=_COLOURS[k % len(_COLOURS)], label=f"{_as_it_is(dataset)}, all: {figures['AP50'] or 0:.2f}"
        )
    axes.set_xticks(range(len(names)), names)
    axes.set(ylim=(0, 1.25), xlabel="height of the pedestrian in pixels", ylabel="AP50", title="AP50 by height")
    axes.legend(loc="upper left", fontsize=8, ncols=2)


def _draw_reliability(measured: Mapping[str, Any], axes: Axes) -> None:
    axes.plot([0, 1], [0, 1], "--", color="#999999")
    for k, (dataset, figures) in enumerate(measured.items()):
        bins = figures["presence"].get("bins", ())
        if not bins:
            continue
        sizes = [12 + 2 * one["pictures"] for one in bins]
        said, true = ([one[name] for one in bins] for name in ("said", "true"))
        error = figures["presence"]["ECE"]
        label = _as_it_is(dataset) + (f", error {error:.3f}" if error is not None else "")
        axes.scatter(said, true, sizes, color=_COLOURS[k % len(_COLOURS)], alpha=0.7, label=label)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="presence said", ylabel="share with a pedestrian")
    axes.set_title("Presence; area: pictures")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right", fontsize=8, markerscale=0.5)


def _as_it_is(name: str) -> str:
    """Dollars would make it a formula, and what begins with an underscore is in no legend of Matplotlib's."""
    return f"{' ' if name.startswith('_') else ''}{name}".replace("$", r"\$")


def _pixels(entry: Mapping[str, Any]) -> str:
    return f"{entry['low_px']:g}+" if entry["high_px"] is None else f"{entry['low_px']:g}-{entry['high_px']:g}"
