"""Threshold, calibration and figures of a model file, from labelled pictures."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge.contract import FITTED_TO, Calibration, ModelMetadata
from training.calibration import FEWEST_TO_FIT, Fit, fit, presence_of, verdict_rule
from training.datasets import Dataset
from training.evaluation import Evaluation, evaluate_model, operating_point, score_known_presence, score_sources
from training.presence_scoring import PresenceScore

FITTED_BY = "fitted_by"  # in the settings: by what their figures are cross-fitted, scene or picture


def fitted_metadata(metadata: ModelMetadata, draft: Path, datasets: Sequence[Dataset]) -> tuple[ModelMetadata, Fit]:
    """Metadata with threshold, calibration and figures; the first data set is the one that they are fitted to.

    `draft` is a model whose presence is its highest score.
    """
    first, *others = (evaluate_model(draft, dataset) for dataset in datasets)
    fitted = _fit(first, metadata.settings)
    figures = _cross_fitted(first, fitted) if fitted.anew else _as_shipped(first, fitted)
    metrics = {first.dataset: figures, **{e.dataset: _as_shipped(e, fitted) for e in others}}
    by = {FITTED_TO: first.dataset, FITTED_BY: "scene" if fitted.by_scene else "picture"} if fitted.anew else {}
    changed = dataclasses.replace(
        metadata,
        score_threshold=fitted.threshold,
        calibration=fitted.calibration,
        verdict=fitted.verdict,
        metrics=metrics,
        settings={**metadata.settings, **by},
    )
    return changed, fitted


def _fit(evaluation: Evaluation, settings: Mapping[str, Any]) -> Fit:
    """Threshold and calibration, fitted to these pictures as far as they can tell.

    Fine-tuning may have left both. They stay where the pictures are too few to fit anything to, and its calibration
    stays where all of them show somebody, or none does.
    """
    fitted, left = fit(evaluation.judged, _tops(evaluation)), settings.get("finetune") or {}
    few = len(evaluation.judged) < FEWEST_TO_FIT
    if not left.get("calibration") or (fitted.presence.of_both_kinds and not few):
        return fitted
    if few:
        threshold = float(left["threshold"])
        fitted = dataclasses.replace(
            fitted,
            threshold=threshold,
            at_threshold=operating_point(evaluation.judged, threshold),
            sources=score_sources(evaluation.judged, threshold),
            anew=False,
        )
    calibration = Calibration(**left["calibration"])
    verdict, presence = verdict_rule(fitted.threshold, calibration), _presence(evaluation, calibration)
    return dataclasses.replace(fitted, calibration=calibration, verdict=verdict, presence=presence)


def _tops(evaluation: Evaluation) -> list[float]:
    """The highest score of each picture."""
    return [one.detected.presence for one in evaluation.judged]


def _presence(evaluation: Evaluation, calibration: Calibration) -> PresenceScore:
    return score_known_presence(evaluation.judged, presence_of(np.array(_tops(evaluation)), calibration))


def _cross_fitted(evaluation: Evaluation, fitted: Fit) -> dict[str, Any]:
    """On the data that the fit saw: what depends on threshold or calibration comes from scenes that it did not see."""
    return {
        **_of_scores_alone(evaluation),
        "at_threshold": fitted.at_threshold.to_json(),
        "presence": {**fitted.presence.to_json(), "bins": fitted.presence.bins_to_json()},
        "sources": [source.to_json() for source in fitted.sources],
    }


def _as_shipped(evaluation: Evaluation, fitted: Fit) -> dict[str, Any]:
    """On further data: with the very threshold and calibration that are shipped."""
    judged, presence = evaluation.judged, _presence(evaluation, fitted.calibration)
    return {
        **_of_scores_alone(evaluation),
        "at_threshold": operating_point(judged, fitted.threshold).to_json(),
        "presence": {**presence.to_json(), "bins": presence.bins_to_json()},
        "sources": [source.to_json() for source in score_sources(judged, fitted.threshold)],
    }


def _of_scores_alone(evaluation: Evaluation) -> dict[str, Any]:
    """Figures that depend neither on the threshold nor on the calibration."""
    figures = evaluation.to_json()
    keep = ("pictures", "pedestrians", "AP50", "AP50_95", "centre_AP", "max_recall", "AP50_by_height")
    return {name: figures[name] for name in keep}
