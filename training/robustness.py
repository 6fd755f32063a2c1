"""How much of its accuracy a model keeps under corruptions, or on thermal pictures of another look."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from edge.records import Image, Recognition
from training.coco_scoring import DetectedPicture, score_ap50
from training.corruptions import Variant
from training.datasets import load_image
from training.evaluation import Evaluation, as_detected
from training.presence_scoring import auroc
from training.rounding import rounded


@dataclass(frozen=True, slots=True)
class VariantScore:
    """One row of the table. None: nothing to find, or nothing to divide by."""

    name: str
    severity: str
    ap50: float | None
    share_of_clean: float | None  # of the AP50 on the pictures as they are
    auroc: float | None  # of presence

    def to_json(self) -> dict[str, Any]:
        """Figures to 0.0001."""
        return {
            "name": self.name,
            "severity": self.severity,
            "AP50": rounded(self.ap50),
            "share_of_clean": rounded(self.share_of_clean),
            "AUROC": rounded(self.auroc),
        }


def measure_variants(
    recognise: Callable[[Image], Recognition], clean: Evaluation, variants: Sequence[Variant]
) -> tuple[VariantScore, ...]:
    """Judge the pictures of an evaluation once more, changed in each of these ways.

    Raises:
        DatasetError: a picture that can no longer be read.
    """
    pictures = [one.detected.picture for one in clean.judged]
    rows = []
    for variant in variants:
        found = []
        for picture in tqdm(pictures, desc=variant.name, unit="picture", disable=None):
            detected = as_detected(picture, recognise(variant.of(load_image(picture), picture.path.name)))
            boxes_xyxy = (detected.boxes_xyxy / variant.scale).astype(np.float32)
            found.append(dataclasses.replace(detected, boxes_xyxy=boxes_xyxy))
        rows.append(_score(variant, found, clean))
    return tuple(rows)


def _score(variant: Variant, found: Sequence[DetectedPicture], clean: Evaluation) -> VariantScore:
    ap50, before = score_ap50(found), clean.boxes.ap50
    by_kind = [[one.presence for one in found if one.picture.shows_pedestrian is kind] for kind in (True, False)]
    return VariantScore(
        name=variant.name,
        severity=variant.severity,
        ap50=ap50,
        share_of_clean=ap50 / before if ap50 is not None and before else None,
        auroc=auroc(np.array(by_kind[0], np.float64), np.array(by_kind[1], np.float64)),
    )
