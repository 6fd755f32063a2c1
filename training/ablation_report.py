"""An ablation as a Markdown table and as a chart: mean and spread over the seeds, and every single run."""

import datetime
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from edge.cpu import cpu_name
from training.image_files import save_figure

_FIGURES = {"ap50": "AP50", "ap50_95": "AP50:95", "centre_ap": "centre AP", "auroc": "presence AUROC"}
_CHARTED = ("ap50", "centre_ap", "auroc")


@dataclass(frozen=True, slots=True)
class Score:
    """What one run came to; None: the pictures cannot tell."""

    arm: str
    seed: int
    ap50: float | None
    ap50_95: float | None
    centre_ap: float | None
    auroc: float | None
    steps: int
    seconds: float  # of training


def table(rows: Mapping[str, str], scores: Sequence[Score], conditions: str) -> str:
    """Markdown; `rows` gives the words of each arm, the first of which is what the others are compared with."""
    first = next(iter(rows))
    lines = [
        f"| the student learns from | seeds | {' | '.join(_FIGURES.values())} | gain in AP50 | steps | minutes |",
        f"|---|---|{'---|' * len(_FIGURES)}---|---|---|",
    ]
    for arm, words in rows.items():
        ours = _of(scores, arm)
        if ours:
            figures = " | ".join(spread([getattr(one, name) for one in ours]) for name in _FIGURES)
            gain = "" if arm == first else spread(_gains(ours, _of(scores, first)), signed=True)
            steps, minutes = (np.mean(v) for v in ([s.steps for s in ours], [s.seconds / 60 for s in ours]))
            lines.append(f"| {words} | {len(ours)} | {figures} | {gain} | {steps:.0f} | {minutes:.1f} |")
    return "\n".join([*lines, "", f"{conditions} Mean ± standard deviation over the seeds. {_machine()}"])


def spread(values: Sequence[float | None], *, signed: bool = False) -> str:
    """Mean ± sample standard deviation; the mean alone of a single value, a dash of none."""
    known = [v for v in values if v is not None]
    if not known:
        return "-"
    mean = f"{np.mean(known):{'+' if signed else ''}.3f}"
    return f"{mean} ± {np.std(known, ddof=1):.3f}" if len(known) > 1 else mean


def draw(rows: Mapping[str, str], scores: Sequence[Score], title: str, file: Path) -> Path:
    """Every run as a dot, every mean as a tick, the last row (the teacher) as a line across; PNG.

    Raises:
        ProcessingError: the file cannot be written.
    """
    *arms, teacher = [arm for arm in rows if _of(scores, arm)]
    figure = Figure(figsize=(11, 1.6 + 0.45 * len(arms)), layout="constrained")
    panels = figure.subplots(1, len(_CHARTED), sharey=True)
    for axes, name in zip(panels, _CHARTED, strict=True):
        for place, arm in enumerate(arms):
            known = [v for one in _of(scores, arm) if (v := getattr(one, name)) is not None]
            if known:
                axes.hlines(place, min(known), max(known), color="#56B4E9", linewidth=9)
                axes.plot(known, [place] * len(known), "o", color="#0072B2", markersize=4)
                axes.plot(float(np.mean(known)), place, "|", color="black", markersize=20, markeredgewidth=2)
        line = next((getattr(one, name) for one in _of(scores, teacher)), None)
        if line is not None:
            axes.axvline(line, color="#D55E00", linestyle="--")
        shown = [v for one in scores if (v := getattr(one, name)) is not None]
        if shown:
            low, high = min(shown), max(shown)
            room = max(0.15 * (high - low), 0.01)
            axes.set_xlim(max(0.0, low - 2 * room), min(1.0, high + room) if high < 1 else 1.0 + room)
        axes.set_title(_FIGURES[name] + ("" if line is None else f" (teacher {line:.3f})"))
        axes.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(arms)), [rows[arm] for arm in arms])
    panels[0].invert_yaxis()
    figure.suptitle(title)
    return save_figure(figure, file)


def _of(scores: Sequence[Score], arm: str) -> list[Score]:
    return [one for one in scores if one.arm == arm]


def _gains(ours: Sequence[Score], theirs: Sequence[Score]) -> list[float | None]:
    """Seed by seed, which removes what a seed does to all arms alike; the teacher, which has one, against each."""
    by_seed = {one.seed: one.ap50 for one in theirs}
    if len(ours) == 1 and len(theirs) > 1:
        ours = [ours[0]] * len(theirs)
        return [_minus(one.ap50, other) for one, other in zip(ours, by_seed.values(), strict=True)]
    return [_minus(one.ap50, by_seed.get(one.seed)) for one in ours]


def _minus(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other


def _machine() -> str:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else cpu_name()
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return f"{device}, {os.cpu_count()} cores, torch {torch.__version__.split('+')[0]}, {today}."
