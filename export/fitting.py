"""Threshold, calibration and figures of a model file, from labelled pictures."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge.contract import ModelMetadata
from training.calibration import Fit, fit
from training.datasets import Dataset
from training.evaluation import Evaluation, evaluate_model


def fitted_metadata(metadata: ModelMetadata, draft: Path, datasets: Sequence[Dataset]) -> tuple[ModelMetadata, Fit]:
    """Metadata with threshold, calibration and figures; the first data set is the one that they are fitted to.

    `draft` is a model whose presence is its highest score.
    """
    first, *others = (evaluate_model(draft, dataset) for dataset in datasets)
    fitted = fit(first.judged, [one.detected.presence for one in first.judged])
    metrics = {first.dataset: _figures(first, fitted), **{e.dataset: _uncalibrated(e) for e in others}}
    changed = dataclasses.replace(
        metadata,
        score_threshold=fitted.threshold,
        calibration=fitted.calibration,
        verdict=fitted.verdict,
        metrics=metrics,
    )
    return changed, fitted


def _figures(evaluation: Evaluation, fitted: Fit) -> dict[str, Any]:
    """What goes into the file: what depends on threshold or calibration is cross-fitted."""
    figures = _uncalibrated(evaluation)
    figures["at_threshold"] = fitted.at_threshold.to_json()
    figures["presence"] = fitted.presence.to_json()
    return figures


def _uncalibrated(evaluation: Evaluation) -> dict[str, Any]:
    """Figures that depend neither on the threshold nor on the calibration."""
    figures = evaluation.to_json()
    keep = ("pictures", "pedestrians", "AP50", "AP50_95", "centre_AP", "max_recall", "AP50_by_height")
    presence = {"AUROC": figures["presence"]["AUROC"]}
    return {**{k: figures[k] for k in keep}, "presence": presence}
