"""One step of learning: from the labels, and from a frozen teacher that sees the very same picture.

"Knowledge distillation: a good teacher is patient and consistent" (Beyer et al., arXiv 2106.05237): same view for both,
the teacher is asked online. What an extra teacher said of the pictures beforehand travels with them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edge.errors import InvalidValueError
from training.loss_settings import LossSettings
from training.losses.box_distillation import box_distillation_loss
from training.losses.channel_wise import channel_wise_loss, standardised
from training.losses.focal import heatmap_focal_loss
from training.losses.giou import giou_loss
from training.losses.hard_targets import hard_target_loss
from training.losses.scored_heat import scored_heat_loss
from training.losses.soft_targets import soft_target_loss
from training.networks.dense import PredictedMaps
from training.scored_targets import ScoredTargets, scored_targets
from training.shared_maps import channels_by_stride, watched
from training.targets import Batch, DenseTargets, dense_targets

__all__ = ["LossSettings", "Losses", "distill_step", "make_adaptor"]

FROM_LABELS = ("heat", "box")


@dataclass(frozen=True, slots=True)
class Losses:
    """Scalars of one step; `total` is what the optimiser sees, `named` are the weighted parts that sum to it."""

    total: Tensor
    task: Tensor
    distill: Tensor
    named: Mapping[str, Tensor]
    shared: tuple[Tensor, ...] = ()  # the student's maps that all of them depend on, see shared_maps.py


@dataclass(frozen=True, slots=True)
class Taught:
    """What a teacher says of a batch."""

    predictions: Mapping[int, PredictedMaps]  # by stride
    maps: Mapping[int, Tensor]  # by stride, (B, C, h, w)


def distill_step(
    student: nn.Module,
    teacher: nn.Module | None,
    batch: Batch,
    settings: LossSettings,
    adaptor: nn.Module | None = None,
) -> Losses:
    """Ask the teacher without gradients, then the student, and compare both with each other and with the labels.

    Without a teacher this is plain training (of a teacher, or of a student alone).

    Args:
        student: learns.
        teacher: frozen, in evaluation mode.
        batch: what both see.
        settings: weights of the losses.
        adaptor: brings the student's features to the teacher's channels, see make_adaptor; due where `feature` is.

    Raises:
        InvalidValueError: the teacher has no head at the student's stride.
    """
    taught = None if teacher is None else _ask(teacher, batch.images)
    with watched(student) as maps:
        predicted: Mapping[int, PredictedMaps] = student(batch.images)
    named: dict[str, Tensor] = {}
    for stride, predictions in predicted.items():
        targets = dense_targets(batch.targets, stride, batch.images)
        losses = _task_losses(predictions, targets, settings)
        if taught is not None:
            losses |= _distill_losses(predictions, _at(stride, taught.predictions), targets, settings)
        scored = scored_targets(batch.targets, stride, batch.images)
        if scored is not None:
            losses |= _extra_losses(predictions, scored, targets, settings)
        for name, loss in losses.items():
            named[name] = named.get(name, torch.zeros((), device=loss.device)) + loss / len(predicted)
    if taught is not None and settings.feature and adaptor is not None:
        named["feature"] = settings.feature * _feature_loss(maps.by_stride(batch.images), taught.maps, adaptor)
    task = sum((v for k, v in named.items() if k in FROM_LABELS), torch.zeros(()))
    distill = sum((v for k, v in named.items() if k not in FROM_LABELS), torch.zeros(()))
    return Losses(task + distill, task, distill, named, tuple(maps.all))


def make_adaptor(student: nn.Module, teacher: nn.Module) -> nn.Conv2d:
    """A 1x1 convolution from the student's channels to the teacher's, at the finest stride at which both have features.

    It learns with the student and is thrown away at the end.

    Raises:
        InvalidValueError: they share no stride.
    """
    ours, theirs = channels_by_stride(student), channels_by_stride(teacher)
    stride = _common_stride(ours, theirs)
    device = next(student.parameters()).device
    return nn.Conv2d(ours[stride], theirs[stride], 1, device=device)


def _common_stride(ours: Mapping[int, object], theirs: Mapping[int, object]) -> int:
    common = ours.keys() & theirs.keys()
    if not common:
        rule = f"0 where student (strides {sorted(ours)}) and teacher ({sorted(theirs)}) share no feature map"
        raise InvalidValueError("feature", rule, "more", "choose another stride")
    return min(common)


@torch.no_grad()
def _ask(teacher: nn.Module, images: Tensor) -> Taught:
    with watched(teacher) as maps:
        predictions: Mapping[int, PredictedMaps] = teacher(images)
    return Taught(predictions, maps.by_stride(images))


def _at(stride: int, taught: Mapping[int, PredictedMaps]) -> PredictedMaps:
    if stride not in taught:
        raise InvalidValueError("teacher", f"one with a head at stride {stride}", f"strides {sorted(taught)}")
    return taught[stride]


def _task_losses(predictions: PredictedMaps, targets: DenseTargets, settings: LossSettings) -> dict[str, Tensor]:
    return {
        "heat": heatmap_focal_loss(predictions.logits, targets.heat, targets.counted),
        "box": settings.box * giou_loss(predictions.boxes_xyxy(), targets.boxes_xyxy, targets.box_weight),
    }


def _distill_losses(
    predictions: PredictedMaps, taught: PredictedMaps, targets: DenseTargets, settings: LossSettings
) -> dict[str, Tensor]:
    losses = {}
    if settings.soft:
        losses["soft"] = settings.soft * soft_target_loss(
            predictions.logits, taught.logits, targets.counted, settings.temperature
        )
    if settings.hard:
        losses["hard"] = settings.hard * hard_target_loss(predictions.logits, taught.logits, targets.counted)
    if settings.soft_box:
        losses["soft_box"] = settings.soft_box * box_distillation_loss(
            predictions.boxes_xyxy(), taught.boxes_xyxy(), targets.boxes_xyxy, targets.box_weight
        )
    return losses


def _extra_losses(
    predictions: PredictedMaps, scored: ScoredTargets, targets: DenseTargets, settings: LossSettings
) -> dict[str, Tensor]:
    losses = {}
    if settings.extra:
        losses["extra"] = settings.extra * scored_heat_loss(
            predictions.logits, scored.heat, scored.score, scored.counted
        )
    if settings.extra_box:
        losses["extra_box"] = settings.extra_box * box_distillation_loss(
            predictions.boxes_xyxy(), scored.boxes_xyxy, targets.boxes_xyxy, targets.box_weight * scored.boxed
        )
    return losses


def _feature_loss(ours: Mapping[int, Tensor], theirs: Mapping[int, Tensor], adaptor: nn.Module) -> Tensor:
    stride = _common_stride(ours, theirs)
    return channel_wise_loss(standardised(adaptor(ours[stride])), standardised(theirs[stride]))
