"""Threshold and presence of a model, fitted on validation pictures and judged on scenes that the fit did not see.

The final values are fitted on all pictures; every figure that is reported of them and depends on them comes from five
fits, each on the scenes of the other four parts. How well presence ranks pictures depends on neither slope nor
intercept, so its AUROC is that of the highest scores themselves: pooled folds would rank pictures by five scales.

Platt scaling: Platt 1999; with the priors of Lin, Lin & Weng, "A note on Platt's probabilistic outputs", 2007, which
keep a perfectly separable set from an infinite slope.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.contract import Calibration, VerdictRule
from training.evaluation import (
    JudgedPicture,
    OperatingPoint,
    SourceScore,
    best_f1_threshold,
    operating_point,
    score_sources,
)
from training.presence_scoring import PresenceScore, auroc, score_presence

FOLDS = 5
FEWEST_TO_FIT = 20  # held-out pictures by which what a model knows of itself is fitted anew
LEAST_PROBABILITY = 1e-6  # a picture without any peak has a top score of 0
LEAST_SLOPE = 1e-3
MOST_STEPS, STEP_ENOUGH = 100, 1e-9  # of Newton's method
LEAVE_LOG_ODDS = 1.5  # of presence: the verdict leaves `pedestrian` this far below where it enters

Vector = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Fit:
    """What a model file stores, and how well it did on scenes that it was not fitted to."""

    calibration: Calibration
    threshold: float
    verdict: VerdictRule
    presence: PresenceScore  # calibration cross-fitted, AUROC of the highest scores
    at_threshold: OperatingPoint  # cross-fitted; its threshold is the mean over the pictures
    sources: tuple[SourceScore, ...]  # cross-fitted
    anew: bool = True  # False: known before, so nothing is cross-fitted
    by_scene: bool = True  # False: all pictures are of one scene, and each was judged by a fit to others of it


def logit(probabilities: Vector) -> Vector:
    """log(p / (1 - p)), kept finite."""
    p = np.clip(probabilities, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    return np.asarray(np.log(p / (1 - p)))


def sigmoid(logits: Vector) -> Vector:
    """1 / (1 + exp(-x))."""
    return np.asarray(1 / (1 + np.exp(-logits)))


def fit_platt(top_scores: Vector, positive: Mask) -> Calibration:
    """Slope and intercept that make sigmoid(slope * logit(top score) + intercept) a probability.

    The least cross-entropy against Platt's smoothed targets; (N,) scores in 0..1 and (N,) truths. Without
    both kinds of pictures there is nothing to fit: the identity.
    """
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return Calibration(1.0, 0.0)
    targets = np.where(positive, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    features = np.stack((logit(top_scores), np.ones(len(top_scores))), 1)  # (N, 2)
    weights = _logistic_regression(features, targets)
    slope, intercept = (float(w) for w in weights)
    if slope < LEAST_SLOPE:  # scores that say nothing, or the opposite: presence is then the share of positives
        return Calibration(LEAST_SLOPE, float(logit(targets.mean())) - LEAST_SLOPE * float(features[:, 0].mean()))
    return Calibration(slope, intercept)


def _logistic_regression(features: Vector, targets: Vector) -> Vector:
    """(N, F) features and (N,) probabilities -> (F,) weights of the least cross-entropy.

    Newton's method; a step that does not lower the loss is halved, or two outliers make it jump to and fro for ever.
    """

    def loss(weights: Vector) -> float:
        z = features @ weights
        return float((np.logaddexp(0, z) - targets * z).sum())

    weights = np.zeros(features.shape[1])
    for _ in range(MOST_STEPS):
        p = sigmoid(features @ weights)
        gradient = features.T @ (p - targets)
        curvature = features.T @ (features * (p * (1 - p))[:, None]) + 1e-6 * np.eye(features.shape[1])
        step = np.linalg.solve(curvature, gradient)
        while loss(weights - step) > loss(weights) and np.abs(step).max() > STEP_ENOUGH:
            step = step / 2
        if np.abs(step).max() <= STEP_ENOUGH:
            break
        weights = weights - step
    return weights


def presence_of(top_scores: Vector, calibration: Calibration) -> Vector:
    """What the graph computes for pictures with these highest scores."""
    return np.array([calibration.presence(score) for score in top_scores.tolist()])


def folds_by_scene(scenes: Sequence[str], positive: Mask) -> npt.NDArray[np.int64]:
    """(N,) fold of each picture; a scene lies in one fold, and each fold has about its share of either kind.

    Largest scene first, each into the fold where it makes the shares of pictures with and without pedestrians the
    least uneven: else a fold of nothing but people would be judged by a fit on too many empty pictures.
    """
    counts: dict[str, list[int]] = {}
    for scene, with_people in zip(scenes, positive.tolist(), strict=True):
        counts.setdefault(scene, [0, 0])[with_people] += 1
    totals = np.maximum(np.sum([*counts.values(), [0, 0]], axis=0), 1)
    shares, fold_of = np.zeros((FOLDS, 2)), {}
    for scene in sorted(counts, key=lambda s: (-sum(counts[s]), s)):
        added = np.array(counts[scene]) / totals
        fold = int((((shares + added) ** 2).sum(1) - (shares**2).sum(1)).argmin())
        fold_of[scene] = fold
        shares[fold] += added
    return np.array([fold_of[scene] for scene in scenes], dtype=np.int64)


def fit(judged: Sequence[JudgedPicture], top_scores: Sequence[float]) -> Fit:
    """Fit on all pictures, judge by cross-fitting over scenes, or over pictures where all are of one scene."""
    tops = np.asarray(top_scores, dtype=np.float64)
    pictures = [one.detected.picture for one in judged]
    positive = np.array([p.shows_pedestrian is True for p in pictures])
    known = np.array([p.shows_pedestrian is not None for p in pictures])
    by_scene = len({p.scene for p in pictures}) > 1
    fold = folds_by_scene([p.scene if by_scene else str(n) for n, p in enumerate(pictures)], positive)
    presences, thresholds = np.zeros(len(tops)), np.zeros(len(tops))
    for k in sorted(set(fold.tolist())):
        rest, held = fold != k, fold == k
        rest_judged = [one for one, there in zip(judged, rest, strict=True) if there] or list(judged)
        presences[held] = presence_of(tops[held], fit_platt(tops[rest & known], positive[rest & known]))
        thresholds[held] = best_f1_threshold(rest_judged)
    presence = dataclasses.replace(
        score_presence(presences[known], positive[known]),
        auroc=auroc(tops[known & positive], tops[known & ~positive]),
    )
    final = fit_platt(tops[known], positive[known])
    threshold = best_f1_threshold(judged)
    return Fit(
        calibration=Calibration(final.slope, final.intercept, presence.calibration_error),
        threshold=threshold,
        verdict=verdict_rule(threshold, final),
        presence=presence,
        at_threshold=operating_point(judged, thresholds),
        sources=score_sources(judged, thresholds),
        by_scene=by_scene,
    )


def verdict_rule(threshold: float, calibration: Calibration) -> VerdictRule:
    """Enter where the best detection reaches the threshold, so that verdict and count agree; leave a little below."""
    at = calibration.slope * logit(np.array([threshold]))[0] + calibration.intercept
    enter, leave = (float(v) for v in sigmoid(np.array([at, at - LEAVE_LOG_ODDS])))
    return VerdictRule(enter=enter, leave=leave)
