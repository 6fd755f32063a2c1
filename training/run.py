"""A whole training run: data, networks, loop, checkpoints; resumed where it was cut off."""

import random
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from edge.errors import UnusableInputError
from edge.records import Modality
from training.augment import AugmentSettings
from training.batches import TrainingBatches
from training.checkpoints import Checkpoint, build_network, load_checkpoint, save_checkpoint, strip
from training.datasets import read_dataset
from training.distill import LossSettings, distill_step
from training.engine import (
    MovingAverage,
    Progress,
    TrainSettings,
    append_metrics,
    make_optimizer,
    train_one_epoch,
)
from training.networks.student import Student, inherit_trunk
from training.networks.teacher import Teacher
from training.networks.trunk import load_imagenet


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Everything that a run depends on."""

    kind: str  # student | teacher
    dataset: Path
    out: Path
    spec: Mapping[str, Any]
    train: TrainSettings
    losses: LossSettings = field(default_factory=LossSettings)
    teacher: Path | None = None  # checkpoint to distil from
    weights: str = "pip"  # none | pip | hub | FILE | teacher (start from the teacher's trunk)
    resume: bool = False
    crop_px: int = 320


def train(settings: RunSettings) -> Path:
    """Train, and return the file of the finished checkpoint, `OUT/KIND.pt`.

    Raises:
        UnusableInputError: bad data, bad weights, an output that exists, a teacher of another modality.
        ProcessingError: the loss stopped being finite, or the disk is full.
    """
    last, finished = settings.out / "last.pt", settings.out / f"{settings.kind}.pt"
    if settings.out.exists() and any(settings.out.iterdir()) and not settings.resume:
        raise UnusableInputError(
            f"out must be an empty folder, got {str(settings.out)!r}; add --resume or name another"
        )
    dataset = read_dataset(settings.dataset)
    if dataset.modality is None:
        raise UnusableInputError(f"dataset must say whether it is rgb or thermal, got neither in {settings.dataset}")
    random.seed(settings.train.seed)
    np.random.seed(settings.train.seed)  # libraries below us may draw from it
    torch.manual_seed(settings.train.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    teacher = _load_teacher(settings, dataset.modality, device)
    network = build_network(settings.kind, settings.spec)
    progress = Progress()
    previous = load_checkpoint(last) if settings.resume and last.exists() else None
    if previous is None:
        _start_weights(network, teacher, settings.weights)
    else:
        network.load_state_dict(dict(previous.current))
        progress = Progress(**previous.progress)
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer, average = make_optimizer(network, settings.train), MovingAverage(network, settings.train.average_decay)
    if previous is not None:
        optimizer.load_state_dict(dict(previous.optimizer))
        average.state = {k: v.to(device) for k, v in previous.averaged.items()}
    augment = AugmentSettings.of(dataset.modality, settings.crop_px)
    batches = TrainingBatches(dataset, augment, settings.train.batch_size, settings.train.seed)
    described = _describe(settings, augment, dataset.name)
    stream = batches.starting_at(progress.step)
    settings.out.mkdir(parents=True, exist_ok=True)
    bar = tqdm(
        total=1000,
        desc=settings.kind,
        disable=not sys.stderr.isatty(),
        bar_format="{l_bar}{bar}| {elapsed}<{remaining} {postfix}",
    )
    while progress.share(settings.train) < 1.0:
        means = train_one_epoch(
            network,
            lambda batch: distill_step(network, teacher, batch, settings.losses),
            stream,
            optimizer,
            average,
            progress,
            settings.train,
            bar,
        )
        append_metrics(settings.out / "metrics.jsonl", progress, means)
        checkpoint = Checkpoint(
            settings.kind,
            dict(settings.spec),
            dataset.modality,
            average.state,
            described,
            asdict(progress),
            strip(network),
            optimizer.state_dict(),
        )
        save_checkpoint(checkpoint, last)
    bar.close()
    save_checkpoint(
        Checkpoint(
            settings.kind,
            dict(settings.spec),
            dataset.modality,
            average.state,
            {**described, **asdict(progress)},
            {},
            {},
            {},
        ),
        finished,
    )
    return finished


def _load_teacher(settings: RunSettings, modality: Modality, device: torch.device) -> Teacher | None:
    if settings.teacher is None:
        return None
    checkpoint = load_checkpoint(settings.teacher)
    network = checkpoint.network()
    if not isinstance(network, Teacher):
        raise UnusableInputError(f"teacher must be a teacher's checkpoint, got a {checkpoint.kind}; name another file")
    if checkpoint.modality != modality:
        raise UnusableInputError(
            f"teacher must be of modality {modality}, got {checkpoint.modality}; name another file"
        )
    return network.to(device, memory_format=torch.channels_last).requires_grad_(False)  # type: ignore[call-overload, no-any-return]


def _start_weights(network: Student | Teacher, teacher: Teacher | None, weights: str) -> None:
    if weights != "teacher":
        load_imagenet(network.trunk, weights)
    elif teacher is None or not isinstance(network, Student) or not inherit_trunk(network, teacher):
        raise UnusableInputError(
            "weights must fit the student, got 'teacher' without a teacher of the same backbone; choose pip or a file"
        )


def _describe(settings: RunSettings, augment: AugmentSettings, dataset: str) -> dict[str, Any]:
    """Plain values for the checkpoint and, from there, for the model's metadata."""
    return {
        "dataset": dataset,
        "augment": asdict(augment),
        "train": asdict(settings.train),
        "losses": asdict(settings.losses),
        "teacher": settings.teacher.name if settings.teacher else None,
        "weights": settings.weights if settings.weights in ("none", "pip", "hub", "teacher") else "file",
    }
