"""The pictures of a measurement, as the bytes of a PNG."""

import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edge.bench.compare import ComparedModel, Comparison
from edge.bench.figures import BenchReport, Sample
from edge.bench.sweep import PEOPLE, Sweep
from edge.records import Percentiles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK = "#22303c"
_SHADES = {"p50": "#2166ac", "p95": "#92c5de", "p99": "#f4a582", "max": "#b2182b"}
_LINES = ("#2166ac", "#d95f02", "#1b7837", "#762a83")
_SIZE_INCHES = (12.0, 7.0)
_DPI = 110
_POINTS = 120  # of the line over time


def report_chart(report: BenchReport) -> bytes:
    """Percentiles of the stages as bars, and below them the milliseconds of a frame over time."""
    figure = _figure()
    upper, lower = figure.subplots(2, 1, height_ratios=[3, 2])
    ran = [(stage, one) for stage, one in report.stage_ms.items() if one is not None]
    _bars(upper, ran)
    _title(upper, f"{report.fps:.1f} frames a second: {report.subject}", f"{report.source}; {report.machine}")
    _over_time(lower, report.samples)
    return _png(figure)


def comparison_chart(comparison: Comparison) -> bytes:
    """Percentiles of each model from preprocess to boxes as bars."""
    figure = _figure()
    axes = figure.subplots()
    _bars(axes, [(_compared_name(one), one.recognition_ms) for one in comparison.models])
    _title(axes, "Preprocess to boxes, the same frames turn by turn", f"{comparison.source}; {comparison.machine}")
    return _png(figure)


def _compared_name(model: ComparedModel) -> str:
    subject = model.subject
    return f"{subject.file}, {subject.model.precision}\n{subject.input_wh or 'any size'}\nratio {model.ratio:.2f}"


def sweep_chart(sweep: Sweep) -> bytes:
    """Frames a second against the size of the input; milliseconds of the stages against people in the frame."""
    figure = _figure()
    left, right = figure.subplots(1, 2)
    pixels = [point.input_wh.width * point.input_wh.height / 1e6 for point in sweep.sizes]
    left.plot(pixels, [point.fps for point in sweep.sizes], color=_LINES[0], marker="o")
    for x, point in zip(pixels, sweep.sizes, strict=True):
        left.annotate(str(point.input_wh), (x, point.fps), (5, 5), textcoords="offset points", fontsize=8)
    left.set_xlabel("input of the network (megapixels)")
    left.set_ylabel("frames a second, resize to boxes")
    left.set_ylim(bottom=0)
    for colour, stage in zip(_LINES, sweep.stages, strict=False):
        right.plot(PEOPLE, stage.ms, color=colour, marker="o", markersize=4, label=stage.name)
    right.set_xlabel("people in the frame")
    right.set_ylabel("ms")
    right.set_ylim(bottom=0)
    right.legend(frameon=False)
    for axes in (left, right):
        _plain(axes)
    _title(left, str(sweep.subject), str(sweep.machine))
    return _png(figure)


def _bars(axes: "Axes", rows: Sequence[tuple[str, Percentiles]]) -> None:
    """Groups of bars, with the median written on its bar; the maximum is a mark, or it would dwarf all others."""
    width = 0.27
    for index, name in enumerate(("p50", "p95", "p99")):
        x = [k + (index - 1) * width for k in range(len(rows))]
        heights = [getattr(one, name) for _, one in rows]
        bars = axes.bar(x, heights, width * 0.94, color=_SHADES[name], label=name)
        if name == "p50":
            axes.bar_label(bars, [f"{height:.3g}" for height in heights], fontsize=9, color=_INK, padding=2)
    top = max((one.p99 for _, one in rows), default=1.0) * 1.15
    for k, (_, one) in enumerate(rows):
        if one.max <= top:
            axes.plot([k + 0.5 * width, k + 1.5 * width], [one.max] * 2, color=_SHADES["max"])
        else:
            axes.annotate(
                f"max {one.max:.3g}",
                (k + width, top),
                (0, -9),
                ha="center",
                fontsize=8,
                textcoords="offset points",
                color=_SHADES["max"],
            )
    axes.plot([], [], color=_SHADES["max"], label="max")
    axes.set_ylim(0, top)
    axes.set_xticks(range(len(rows)), [_literal(name) for name, _ in rows])
    axes.set_ylabel("ms", color=_INK)
    axes.legend(frameon=False, ncols=4, fontsize=9, loc="upper right")
    _plain(axes)


def _over_time(axes: "Axes", samples: Sequence[Sample]) -> None:
    """Every frame as a dot, the median of neighbours as a line: a machine that throttles shows a step."""
    x = np.array([one.at_s for one in samples])
    y = np.array([one.interval_ms for one in samples])
    axes.plot(x, y, ".", color=_SHADES["p95"], markersize=3, label="a frame")
    parts = np.array_split(np.arange(len(x)), min(_POINTS, max(1, len(x) // 5)))
    axes.plot(
        [float(np.mean(x[part])) for part in parts],
        [float(np.median(y[part])) for part in parts],
        color=_SHADES["p50"],
        linewidth=1.8,
        label="median of its neighbours",
    )
    axes.set_ylim(0, float(np.percentile(y, 99.5)) * 1.2)
    axes.set_xlabel("seconds since the warm-up", color=_INK)
    axes.set_ylabel("ms from frame to frame", color=_INK)
    axes.legend(frameon=False, ncols=2, fontsize=9, loc="lower right")
    _plain(axes)


def _figure() -> "Figure":
    # Here, since matplotlib takes most of a second to import.
    from matplotlib.figure import Figure

    return Figure(figsize=_SIZE_INCHES, dpi=_DPI, layout="constrained", facecolor="white")


def _plain(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_INK)
    axes.grid(axis="y", color="#e3e6e8", linewidth=0.7)
    axes.set_axisbelow(True)


def _title(axes: "Axes", what: str, where: str) -> None:
    axes.set_title(_literal(f"{what}\n{where}"), loc="left", color=_INK, fontsize=11)


def _literal(text: str) -> str:
    """`$` would start a formula."""
    return text.replace("$", r"\$")


def _png(figure: "Figure") -> bytes:
    png = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters of a file name that the font lacks are drawn as boxes
        figure.savefig(png, format="png")
    return png.getvalue()
