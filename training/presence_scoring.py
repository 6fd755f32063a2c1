"""How far a picture's presence can be trusted: does it rank pictures, and is it a probability?"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.rounding import rounded

CALIBRATION_BINS = 15
CHANCE_DRAWS = 50

Vector = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Pictures whose presence lies in low < presence <= high (the first bin holds 0 as well)."""

    low: float
    high: float
    pictures: int
    mean_presence: float | None  # None: an empty bin
    pedestrian_share: float | None  # share of its pictures that hold a pedestrian


@dataclass(frozen=True, slots=True)
class PresenceScore:
    """Presence over pictures with pedestrians (positives) and without (negatives)."""

    positives: int
    negatives: int
    auroc: float | None  # None: only one of both kinds
    calibration_error: float | None  # None: no pictures
    error_by_chance: float | None  # what a perfectly calibrated model would show on so few pictures
    bins: tuple[CalibrationBin, ...]

    @property
    def of_both_kinds(self) -> bool:
        """Whether a calibration can be fitted: to pictures that all show somebody, or nobody, it cannot."""
        return self.positives > 0 and self.negatives > 0

    def to_json(self) -> dict[str, Any]:
        """Figures to 0.0001, without the bins."""
        return {
            "positives": self.positives,
            "negatives": self.negatives,
            "AUROC": rounded(self.auroc),
            "ECE": rounded(self.calibration_error),
            "ECE_by_chance": rounded(self.error_by_chance),
        }

    def bins_to_json(self) -> list[dict[str, Any]]:
        """The bins that hold pictures: presence said, share of pictures that hold a pedestrian, pictures."""
        return [
            {"said": rounded(one.mean_presence), "true": rounded(one.pedestrian_share), "pictures": one.pictures}
            for one in self.bins
            if one.pictures
        ]


def score_presence(presences: Vector, positive: Mask) -> PresenceScore:
    """Judge `presences` (N,) in 0..1 against whether each picture holds a pedestrian, `positive` (N,)."""
    bins = calibration_bins(presences, positive)
    return PresenceScore(
        positives=int(positive.sum()),
        negatives=int((~positive).sum()),
        auroc=auroc(presences[positive], presences[~positive]),
        calibration_error=calibration_error(bins),
        error_by_chance=error_by_chance(presences),
        bins=bins,
    )


def auroc(positives: Vector, negatives: Vector) -> float | None:
    """Chance that a positive scores above a negative, ties count half (Mann-Whitney); None without one of both."""
    if not len(positives) or not len(negatives):
        return None
    ordered = np.sort(negatives)
    below = np.searchsorted(ordered, positives, side="left")
    ties = np.searchsorted(ordered, positives, side="right") - below
    return float((below + ties / 2).mean() / len(negatives))


def calibration_bins(presences: Vector, positive: Mask) -> tuple[CalibrationBin, ...]:
    """Bins of equal width over 0..1, as in a reliability diagram."""
    edges = np.linspace(0.0, 1.0, CALIBRATION_BINS + 1)
    index = np.clip(np.searchsorted(edges, presences, side="left") - 1, 0, CALIBRATION_BINS - 1)
    return tuple(_bin(edges[k : k + 2], presences[index == k], positive[index == k]) for k in range(CALIBRATION_BINS))


def calibration_error(bins: tuple[CalibrationBin, ...]) -> float | None:
    """Expected calibration error: sum over bins of share of pictures x |pedestrian share - mean presence|.

    Guo et al., "On Calibration of Modern Neural Networks", arXiv 1706.04599, equation 3, 15 bins of equal width. It
    is biased upwards for few pictures, see `error_by_chance`.
    """
    total = sum(one.pictures for one in bins)
    if not total:
        return None
    gaps = [
        one.pictures * abs(one.pedestrian_share - one.mean_presence)
        for one in bins
        if one.pedestrian_share is not None and one.mean_presence is not None
    ]
    return sum(gaps) / total


def error_by_chance(presences: Vector) -> float | None:
    """The calibration error to expect if every presence were exactly right: chance alone, on so many pictures.

    Mean over truths drawn from the presences themselves, always the same draws; None without pictures.
    """
    if not len(presences):
        return None
    rng = np.random.default_rng(0)
    drawn = (calibration_bins(presences, rng.random(len(presences)) < presences) for _ in range(CHANCE_DRAWS))
    return float(np.mean([calibration_error(bins) or 0.0 for bins in drawn]))


def _bin(edges: Vector, presences: Vector, positive: Mask) -> CalibrationBin:
    some = len(presences) > 0
    return CalibrationBin(
        low=float(edges[0]),
        high=float(edges[1]),
        pictures=len(presences),
        mean_presence=float(presences.mean()) if some else None,
        pedestrian_share=float(positive.mean()) if some else None,
    )
