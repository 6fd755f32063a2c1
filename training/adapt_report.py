"""Before and after: what fine-tuning changed on the held-out pictures, as figures, a table and a chart."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from edge.contract import Calibration
from training.calibration import fit, presence_of
from training.coco_scoring import DetectedPicture
from training.evaluation import judge, score_known_presence
from training.image_files import save_figure
from training.rounding import text_of

LEAST_LOSS_AP50 = 0.005  # less may be rounding
LEAST_LOSS_AUROC = 0.02
LEAST_DOUBT_COUNT = 0.25  # people a picture

_NAMES = {
    "ap50": "AP50",
    "ap50_95": "AP50:95",
    "centre_ap": "centre AP",
    "auroc": "presence AUROC",
    "calibration_error": "calibration error",
    "threshold": "threshold",
    "precision": "precision at it",
    "recall": "recall at it",
    "count_mae": "count error",
}
_BARS = ("ap50", "ap50_95", "centre_ap", "auroc", "precision", "recall")
_BEFORE, _AFTER = "#999999", "#0072B2"


@dataclass(frozen=True, slots=True)
class Figures:
    """What a model is worth on the held-out pictures; None: these pictures cannot tell."""

    ap50: float | None
    ap50_95: float | None
    centre_ap: float | None
    auroc: float | None
    calibration_error: float | None
    threshold: float
    precision: float | None
    recall: float | None
    count_mae: float
    pairs: int  # of a picture with and one without pedestrians: what AUROC counts

    def to_json(self) -> dict[str, Any]:
        """Figures to 0.0001."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {k: round(v, 4) if isinstance(v, float) else v for k, v in values.items()}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both sides, what was fitted anew, and the quality of every snapshot by its step."""

    before: Figures
    after: Figures  # threshold and calibration cross-fitted
    threshold: float
    calibration: Calibration
    steps: tuple[int, ...]
    qualities: tuple[float, ...]
    kept_step: int


def figures_of(
    detected: Sequence[DetectedPicture], threshold: float | None = None, calibration: Calibration | None = None
) -> Figures:
    """Figures at the model's own threshold and calibration; at cross-fitted ones where it has none.

    `detected` carries the highest score of each picture as its presence.
    """
    evaluation = judge(detected, threshold or 0.5, model="", dataset="")
    tops = np.array([one.presence for one in detected], dtype=np.float64)
    fitted = fit(evaluation.judged, tops.tolist())
    presence = evaluation.presence
    point = fitted.at_threshold if threshold is None else evaluation.at_threshold
    error = fitted.presence.calibration_error
    if calibration is not None:
        error = score_known_presence(evaluation.judged, presence_of(tops, calibration)).calibration_error
    return Figures(
        ap50=evaluation.boxes.ap50,
        ap50_95=evaluation.boxes.ap50_95,
        centre_ap=evaluation.boxes.centre_ap,
        auroc=presence.auroc,
        calibration_error=error,
        threshold=point.threshold,
        precision=point.precision,
        recall=point.recall,
        count_mae=point.count_mae,
        pairs=presence.positives * presence.negatives,
    )


def regressions(before: Figures, after: Figures) -> tuple[str, ...]:
    """What got worse by more than rounding, or than one pair of pictures in another order; empty where nothing did."""
    lost = []
    if before.ap50 is not None and after.ap50 is not None and after.ap50 < before.ap50 - LEAST_LOSS_AP50:
        lost.append(f"AP50 {before.ap50:.3f} -> {after.ap50:.3f}")
    if before.auroc is not None and after.auroc is not None:
        chance = max(LEAST_LOSS_AUROC, 1.001 / max(after.pairs, 1))
        if after.auroc < before.auroc - chance:
            lost.append(f"presence AUROC {before.auroc:.3f} -> {after.auroc:.3f}")
    return tuple(lost)


def doubts(before: Figures, after: Figures) -> tuple[str, ...]:
    """What else got clearly worse: no reason to refuse a model by few pictures, but one to look at it."""
    found = []
    if after.count_mae > before.count_mae + max(LEAST_DOUBT_COUNT, before.count_mae / 2):
        found.append(f"the error of the count went from {before.count_mae:.2f} to {after.count_mae:.2f}")
    if before.precision is not None and after.precision is not None and after.precision < before.precision - 0.1:
        found.append(f"precision at the threshold went from {before.precision:.2f} to {after.precision:.2f}")
    return tuple(found)


def table(comparison: Comparison) -> str:
    """Plain text for a terminal."""
    lines = ["                     before    after"]
    for name, words in _NAMES.items():
        before, after = (text_of(getattr(side, name)) for side in (comparison.before, comparison.after))
        lines.append(f"{words:18}{before:>9}{after:>9}")
    return "\n".join(lines)


def draw(comparison: Comparison, title: str, file: Path) -> Path:
    """Bars of both sides, and the course of the run, as PNG.

    Raises:
        ProcessingError: the file cannot be written.
    """
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    bars, course = figure.subplots(1, 2)
    places = np.arange(len(_BARS))
    for shift, label, colour, side in (
        (-0.2, "before", _BEFORE, comparison.before),
        (0.2, "after", _AFTER, comparison.after),
    ):
        heights = [getattr(side, name) or 0.0 for name in _BARS]
        bars.bar(places + shift, heights, 0.38, color=colour, label=label)
        for place, name in zip(places, _BARS, strict=True):
            value = getattr(side, name)
            bars.text(place + shift, (value or 0.0) + 0.01, text_of(value, 2), ha="center", va="bottom", fontsize=7)
    bars.set_xticks(places, [_NAMES[name].replace(" at it", "") for name in _BARS], rotation=20, fontsize=8)
    bars.set(ylim=(0, 1.12))
    bars.legend(loc="upper left", ncols=2)
    bars.set_title(f"count error {comparison.before.count_mae:.2f} before, {comparison.after.count_mae:.2f} after")
    course.plot(comparison.steps, comparison.qualities, "o-", color=_AFTER, markersize=4)
    course.axvline(comparison.kept_step, color="#D55E00", linestyle="--", label=f"kept: step {comparison.kept_step}")
    course.legend(loc="best")
    known = "AP50" if comparison.before.auroc is None else "mean of AP50 and presence AUROC"
    course.set(xlabel="step", ylabel=known)
    course.set_title("held-out pictures, as the run went")
    figure.suptitle(title)
    return save_figure(figure, file)
