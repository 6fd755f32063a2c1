"""One step of learning: from the labels, and from a frozen teacher that sees the very same picture.

"Knowledge distillation: a good teacher is patient and consistent" (Beyer et al., arXiv 2106.05237): same view for both,
the teacher is asked online.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edge.errors import InvalidValueError
from training.losses.box_distillation import box_distillation_loss
from training.losses.focal import heatmap_focal_loss
from training.losses.giou import giou_loss
from training.losses.soft_targets import soft_target_loss
from training.networks.dense import Predictions
from training.targets import Batch, DenseTargets, dense_targets


@dataclass(frozen=True, slots=True)
class LossSettings:
    """Weights of the losses; 0 leaves one out. Distillation should not outweigh the labels."""

    box: float = 5.0
    soft: float = 0.5
    soft_box: float = 2.0
    temperature: float = 2.0

    def __post_init__(self) -> None:
        for name in ("box", "soft", "soft_box"):
            if not getattr(self, name) >= 0:
                raise InvalidValueError(name, "at least 0", getattr(self, name))
        if not self.temperature > 0:
            raise InvalidValueError("temperature", "positive", self.temperature)


@dataclass(frozen=True, slots=True)
class Losses:
    """Scalars of one step; `total` is what the optimiser sees, `named` are the weighted parts that sum to it."""

    total: Tensor
    task: Tensor
    distill: Tensor
    named: Mapping[str, Tensor]


def distill_step(student: nn.Module, teacher: nn.Module | None, batch: Batch, settings: LossSettings) -> Losses:
    """Ask the teacher without gradients, then the student, and compare both with each other and with the labels.

    Without a teacher this is plain training (of a teacher, or of a student alone).

    Raises:
        InvalidValueError: the teacher has no head at the student's stride.
    """
    taught: Mapping[int, Predictions] = {}
    if teacher is not None:
        with torch.no_grad():
            taught = teacher(batch.images)
    named: dict[str, Tensor] = {}
    predicted: Mapping[int, Predictions] = student(batch.images)
    for stride, predictions in predicted.items():
        targets = dense_targets(batch.targets, stride, batch.images)
        task = _task_losses(predictions, targets, settings)
        if teacher is not None:
            if stride not in taught:
                raise InvalidValueError("teacher", f"one with a head at stride {stride}", f"strides {sorted(taught)}")
            task |= _distill_losses(predictions, taught[stride], targets, settings)
        for name, loss in task.items():
            named[name] = named.get(name, torch.zeros(())) + loss / len(predicted)
    distill = sum((v for k, v in named.items() if k.startswith("soft")), torch.zeros(()))
    total = sum(named.values(), torch.zeros(()))
    return Losses(total, total - distill, distill, named)


def _task_losses(predictions: Predictions, targets: DenseTargets, settings: LossSettings) -> dict[str, Tensor]:
    return {
        "heat": heatmap_focal_loss(predictions.logits, targets.heat, targets.counted),
        "box": settings.box * giou_loss(predictions.boxes_xyxy(), targets.boxes_xyxy, targets.box_weight),
    }


def _distill_losses(
    predictions: Predictions, taught: Predictions, targets: DenseTargets, settings: LossSettings
) -> dict[str, Tensor]:
    losses = {}
    if settings.soft:
        losses["soft"] = settings.soft * soft_target_loss(
            predictions.logits, taught.logits, targets.counted, settings.temperature
        )
    if settings.soft_box:
        losses["soft_box"] = settings.soft_box * box_distillation_loss(
            predictions.boxes_xyxy(), taught.boxes_xyxy(), targets.boxes_xyxy, targets.box_weight
        )
    return losses
