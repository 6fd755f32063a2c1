"""The presence of a frame that was seen as many pictures, such that it raises no more false alarms than one picture.

The highest presence of k pictures is too high: each is one more chance of a false alarm. With F the distribution of
presence over pictures without people, the highest of k has the distribution F^k; the frame's presence is the value at
which one picture would be as rare as the highest is among k (Sidak, "Rectangular confidence regions for the means of
multivariate normal distributions", 1967): 1 - F(frame) = 1 - F(highest)^k. One picture alone stays as it is.

F follows from what a model file says of itself. Presence is calibrated, so its log-odds beyond the prior's are the
logarithm of a likelihood ratio; if these are normal for pictures with and without people, calibration demands that they
are N(d^2/2, d^2) and N(-d^2/2, d^2), and the AUROC is Phi(d / sqrt(2)). Tiles are taken as independent: where a ground
deceives in several tiles alike, the correction is larger than it needs to be.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from edge.contract import ModelMetadata

FITTED_TO = "fitted_to"  # in the metadata's settings: the data set whose figures belong to the calibration
_NORMAL = NormalDist()
_LEAST_CHANCE = 1e-9
_AUROC_RANGE = (0.55, 0.9999)
_PRIOR_RANGE = (0.01, 0.99)


@dataclass(frozen=True, slots=True)
class Separation:
    """How well presence parts pictures with people from those without, and the share of the former among all.

    The defaults are for a model file that does not say: a middling model, as many with people as without.
    """

    auroc: float = 0.9
    prior: float = 0.5

    @property
    def distance(self) -> float:
        """d: how far apart the log-odds of both kinds are, in standard deviations."""
        return math.sqrt(2) * _NORMAL.inv_cdf(_within(self.auroc, _AUROC_RANGE))


def separation_of(metadata: ModelMetadata) -> Separation:
    """What the model file says of its presence on the pictures that it was calibrated on."""
    figures = metadata.metrics.get(str(metadata.settings.get(FITTED_TO)))
    for entry in (figures, *metadata.metrics.values()):
        presence = entry.get("presence") if isinstance(entry, Mapping) else None
        if isinstance(presence, Mapping) and _tells(presence):
            positives, negatives = presence["positives"], presence["negatives"]
            return Separation(float(presence["AUROC"]), positives / (positives + negatives))
    return Separation()


def _tells(presence: Mapping[str, Any]) -> bool:
    return all(isinstance(presence.get(name), int | float) for name in ("AUROC", "positives", "negatives")) and (
        presence["positives"] + presence["negatives"] > 0
    )


def frame_presence(pictures: Sequence[float], separation: Separation) -> float:
    """The presence 0..1 of a frame, from what each of its pictures (overview and tiles) says alone."""
    highest, d = max(pictures), separation.distance
    if len(pictures) == 1:
        return highest
    quiet = _log_odds(_within(separation.prior, _PRIOR_RANGE)) - d * d / 2  # the mean log-odds without people
    rarity = _NORMAL.cdf((quiet - _log_odds(highest)) / d)  # 1 - F(highest)
    among_all = -math.expm1(len(pictures) * math.log1p(-_chance(rarity)))  # 1 - F(highest)^k
    return 1 / (1 + math.exp(-(quiet - d * _NORMAL.inv_cdf(_chance(among_all)))))


def _log_odds(probability: float) -> float:
    p = _chance(probability)
    return math.log(p / (1 - p))


def _chance(probability: float) -> float:
    return _within(probability, (_LEAST_CHANCE, 1 - _LEAST_CHANCE))


def _within(value: float, limits: tuple[float, float]) -> float:
    return min(max(value, limits[0]), limits[1])
