"""Threshold, calibration and figures of a model file, from labelled pictures."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge.contract import ModelMetadata
from training.calibration import Fit, fit, presence_of
from training.datasets import Dataset
from training.evaluation import Evaluation, evaluate_model, operating_point, score_known_presence, score_sources

FITTED_TO = "fitted_to"  # in the settings: name of the data set that threshold and presence were fitted to
FITTED_BY = "fitted_by"  # in the settings: by what their figures are cross-fitted, scene or picture


def fitted_metadata(metadata: ModelMetadata, draft: Path, datasets: Sequence[Dataset]) -> tuple[ModelMetadata, Fit]:
    """Metadata with threshold, calibration and figures; the first data set is the one that they are fitted to.

    `draft` is a model whose presence is its highest score.
    """
    first, *others = (evaluate_model(draft, dataset) for dataset in datasets)
    fitted = fit(first.judged, [one.detected.presence for one in first.judged])
    metrics = {first.dataset: _cross_fitted(first, fitted), **{e.dataset: _as_shipped(e, fitted) for e in others}}
    changed = dataclasses.replace(
        metadata,
        score_threshold=fitted.threshold,
        calibration=fitted.calibration,
        verdict=fitted.verdict,
        metrics=metrics,
        settings={**metadata.settings, FITTED_TO: first.dataset, FITTED_BY: "scene" if fitted.by_scene else "picture"},
    )
    return changed, fitted


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
    judged = evaluation.judged
    tops = np.array([one.detected.presence for one in judged], np.float64)
    presence = score_known_presence(judged, presence_of(tops, fitted.calibration))
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
