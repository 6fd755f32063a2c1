"""`timeline.png`: presence and count over time, so that one look says where in the flight people are."""

import io
import math
import os
import pickle
import tempfile
import warnings
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from edge import own_process
from edge.records import Frame, FrameRecord, Header, Record, Summary
from edge.sinks.sink import Sink, broken_off, unwritable
from edge.sinks.timeline import Span, Timeline, runs
from edge.whole_file import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK = "#22303c"
_PRESENCE = "#2166ac"
_COUNT = "#d95f02"
_PEDESTRIAN = "#fdd9a8"
_UNKNOWN = "#b8bec4"
_SIZE_INCHES = (12.0, 5.2)
_DPI = 110
_COLUMNS = 600  # a band takes at least one of them, two pixels, so that a short sighting shows in hours


@dataclass(frozen=True, slots=True)
class Chart:
    """All that a chart shows; at least one span."""

    spans: list[Span]
    title: str
    presence_threshold: float | None
    in_seconds: bool  # False: the x axis counts pictures


class ChartSink(Sink):
    """Collects presence and count in bounded memory and draws them when closed."""

    def __init__(self, path: Path, presence_threshold: float | None = None, *, quick: bool = False) -> None:
        """`presence_threshold` is the presence at which the verdict becomes pedestrian, drawn as a line.

        With `quick`, a run that was interrupted leaves the drawing to a process that outlives it: a service has to stop
        in less time than a small board takes to load matplotlib.

        Raises:
            InvalidValueError: the file cannot be created.
        """
        self.warnings: list[str] = []
        self._path = path
        self._presence_threshold = presence_threshold
        self._timeline = Timeline()
        self._in_seconds = True
        self._title = ""
        self._quick = quick
        self._interrupted = False
        self._closed = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(path, error) from None

    def write(self, record: Record, frame: Frame | None) -> None:  # noqa: ARG002
        """Remember what the chart needs of a header or frame record."""
        if isinstance(record, Header):
            stream = "://" in record.source  # the last word of an address says little: live
            self._title = record.source if stream else PurePath(record.source).name or record.source
        if isinstance(record, FrameRecord):
            self._in_seconds = record.time_s is not None
            self._timeline.add(record)
        if isinstance(record, Summary):
            self._interrupted = record.exit_reason == "interrupted"

    def close(self) -> None:
        """Draw the chart; a run without a single frame has none."""
        spans = self._timeline.spans()
        if self._closed or not spans:
            return
        self._closed = True
        chart = Chart(spans, self._title, self._presence_threshold, self._in_seconds)
        try:
            if self._quick and self._interrupted and hasattr(os, "posix_spawn"):
                _draw_apart(chart, self._path)
            else:
                write_whole(self._path, render(chart))
        except OSError as error:
            raise broken_off(self._path, error) from None


def _draw_apart(chart: Chart, path: Path) -> None:
    """Begin to draw in another process, and do not wait for it."""
    with tempfile.TemporaryFile() as order:
        pickle.dump(chart, order)
        order.flush()
        order.seek(0)
        quiet = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)]
        command = own_process.command("edge.sinks.draw_chart", str(path.resolve()))
        actions = [(os.POSIX_SPAWN_DUP2, order.fileno(), 0), *quiet]
        os.posix_spawn(command[0], command, own_process.environment(), file_actions=actions, setsid=True)


def render(chart: Chart) -> bytes:
    """The chart as the bytes of a PNG."""
    spans, presence_threshold = chart.spans, chart.presence_threshold
    # Here, since matplotlib takes most of a second to import, and only this file needs it.
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

    figure = Figure(figsize=_SIZE_INCHES, dpi=_DPI, layout="constrained", facecolor="white")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    _shade(upper, lower, spans)
    _draw_presence(upper, spans, presence_threshold)
    _draw_count(lower, spans)
    lower.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5, min_n_ticks=1))
    if chart.in_seconds:
        lower.xaxis.set_major_locator(MultipleLocator(tick_step_s(spans[-1].end - spans[0].start)))
        lower.xaxis.set_major_formatter(FuncFormatter(lambda x, _: minutes_seconds(x)))
        clock = "min:sec" if _end(spans) < 3600 else "h:min:sec"
        lower.set_xlabel(f"time in the source ({clock})")
    else:
        lower.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12, min_n_ticks=1))
        lower.set_xlabel("picture (0 is the first)")
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=_INK)
        axes.margins(x=0.01)
    title = f"Pedestrians in {chart.title}".encode("utf-8", "replace").decode()  # a name may be no text
    upper.set_title(title.replace("$", r"\$"), loc="left", color=_INK, fontsize=13, pad=26)
    handles, labels = upper.get_legend_handles_labels()
    if handles:
        upper.legend(
            handles, labels, ncols=4, frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(-0.005, 1.0)
        )
    png = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters of a file name that the font lacks are drawn as boxes
        figure.savefig(png, format="png")
    return png.getvalue()


def tick_step_s(length_s: float) -> float:
    """Seconds between two marks on the time axis: round numbers of a clock, at most twelve marks."""
    clock_steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400)
    return next((step for step in clock_steps if length_s <= 12 * step), math.ceil(length_s / 12 / 86400) * 86400.0)


def minutes_seconds(time_s: float) -> str:
    """`m:ss`, from one hour on `h:mm:ss`; tenths only where there are some, as on the axis of a short clip."""
    tenths = round(abs(time_s) * 10)
    minutes, rest = divmod(tenths, 600)
    seconds = f"{rest // 10:02d}" + (f".{rest % 10}" if rest % 10 else "")
    text = f"{minutes}:{seconds}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{seconds}"
    return f"-{text}" if time_s < 0 and tenths else text


def _shade(upper: "Axes", lower: "Axes", spans: list[Span]) -> None:
    """Bands behind the curves: where the verdict was pedestrian, and where it was unknown."""
    end = _end(spans)
    narrowest = (end - spans[0].start) / _COLUMNS
    for chosen, colour, text in (
        ([s.pedestrian for s in spans], _PEDESTRIAN, "verdict: pedestrian"),
        ([s.unknown for s in spans], _UNKNOWN, "no signal / unknown"),
    ):
        bands = [(start, max(until - start, narrowest)) for start, until in runs(spans, chosen, end)]
        for axes in (upper, lower):
            if bands:
                axes.broken_barh(bands, (-10.0, 1e6), facecolors=colour, alpha=0.6, linewidth=0, zorder=0, label=text)


def _draw_presence(axes: "Axes", spans: list[Span], enter: float | None) -> None:
    x, y = _points(spans, [s.presence for s in spans])
    axes.plot(
        x, y, color=_PRESENCE, linewidth=1.2, marker="o" if len(spans) < 60 else None, markersize=3, label="presence"
    )
    if enter is not None:
        label = f"pedestrian from {enter:.2f} (--enter)"
        axes.axhline(enter, color=_INK, linewidth=0.9, linestyle=(0, (4, 3)), label=label)
    axes.set_ylim(-0.02, 1.03)
    axes.set_ylabel("presence", color=_INK)
    axes.grid(axis="y", color="#e3e6e8", linewidth=0.7)
    axes.set_axisbelow(True)


def _draw_count(axes: "Axes", spans: list[Span]) -> None:
    edges = [*(s.start for s in spans), _end(spans)]
    heights = [float("nan") if s.count is None else float(s.count) for s in spans]
    axes.stairs(heights, edges, fill=True, color=_COUNT, linewidth=0)
    top = max((s.count for s in spans if s.count is not None), default=0)
    axes.set_ylim(0, max(1, top) * 1.12)
    axes.set_ylabel("count", color=_INK)


def _points(spans: list[Span], values: list[float | None]) -> tuple[list[float], list[float]]:
    """x and y of a curve; a value that is None breaks it."""
    return [s.start for s in spans], [float("nan") if v is None else v for v in values]


def _end(spans: list[Span]) -> float:
    """Where the last frame's share of the axis ends."""
    return max(spans[-1].end, spans[-1].start + _typical_step(spans))


def _typical_step(spans: list[Span]) -> float:
    """The median distance of two spans; 1 for a single one."""
    steps = sorted(b.start - a.start for a, b in pairwise(spans))
    return steps[len(steps) // 2] if steps and steps[len(steps) // 2] > 0 else 1.0
