"""A whole training run: data, networks, loop, checkpoints; resumed where it was cut off."""

import random
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.optim import AdamW
from tqdm import tqdm

from edge.errors import InvalidValueError, UnusableInputError
from edge.records import Modality
from training.augment import AugmentSettings
from training.batches import TrainingBatches
from training.checkpoints import Checkpoint, build_network, load_checkpoint, save_checkpoint, strip
from training.datasets import Dataset, read_dataset
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
from training.networks.teacher import PYRAMID_STRIDES, Teacher
from training.networks.trunks import load_weights

CROP_MULTIPLE = max(PYRAMID_STRIDES)


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

    def __post_init__(self) -> None:
        if self.crop_px < 1 or self.crop_px % CROP_MULTIPLE:
            raise InvalidValueError("crop", f"a multiple of {CROP_MULTIPLE}", self.crop_px)


@dataclass(frozen=True, slots=True)
class Learner:
    """All that changes while a network learns; each of the four is updated in place."""

    network: Student | Teacher
    optimizer: AdamW
    average: MovingAverage
    progress: Progress


def train(settings: RunSettings) -> Path:
    """Train, and return the file of the finished checkpoint, `OUT/KIND.pt`.

    Raises:
        UnusableInputError: bad data, bad weights, an output that exists, a teacher of another modality.
        ProcessingError: the loss stopped being finite, or the disk is full.
    """
    _check_out(settings)
    dataset = read_dataset(settings.dataset)
    modality = _modality_of(dataset)
    _seed(settings.train.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    teacher = _load_teacher(settings, modality, device)
    spec = _spec(settings, teacher)
    learner = _resumed(settings, spec, modality, device) or _fresh(settings, spec, teacher, device)
    augment = AugmentSettings.of(modality, settings.crop_px)
    batches = TrainingBatches(dataset, augment, settings.train.batch_size, settings.train.seed)
    stream = batches.starting_at(learner.progress.step)
    described = _describe(settings, augment, dataset.name)
    _make_folder(settings.out)
    with _bar(settings.kind) as bar:
        while learner.progress.share(settings.train) < 1.0:
            means = train_one_epoch(
                learner.network,
                lambda batch: distill_step(learner.network, teacher, batch, settings.losses),
                stream,
                learner.optimizer,
                learner.average,
                learner.progress,
                settings.train,
                bar,
            )
            append_metrics(settings.out / "metrics.jsonl", learner.progress, means)
            save_checkpoint(_checkpoint(settings.kind, spec, modality, described, learner), settings.out / "last.pt")
    finished = settings.out / f"{settings.kind}.pt"
    save_checkpoint(_checkpoint(settings.kind, spec, modality, described, learner).finished(), finished)
    return finished


def _check_out(settings: RunSettings) -> None:
    out = settings.out
    if out.exists() and not out.is_dir():
        raise UnusableInputError(f"out must be a folder, got the file {str(out)!r}; name another")
    if out.exists() and any(out.iterdir()) and not settings.resume:
        raise UnusableInputError(f"out must be an empty folder, got {str(out)!r}; add --resume or name another")


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnusableInputError(f"out must be a folder that can be made, got {str(out)!r}; {error.strerror}") from None


def _modality_of(dataset: Dataset) -> Modality:
    if dataset.modality is None:
        raise UnusableInputError(
            f"dataset must say whether it is rgb or thermal, got neither in {dataset.name}; "
            "put the word into the folder's name"
        )
    return dataset.modality


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # libraries below us may draw from it
    torch.manual_seed(seed)


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


def _spec(settings: RunSettings, teacher: Teacher | None) -> Mapping[str, Any]:
    """The architecture; a trunk that comes from the teacher must see pictures normalised as the teacher does."""
    if settings.weights != "teacher" or teacher is None:
        return settings.spec
    return {**settings.spec, "mean": teacher.spec.mean, "std": teacher.spec.std}


def _fresh(settings: RunSettings, spec: Mapping[str, Any], teacher: Teacher | None, device: torch.device) -> Learner:
    network = build_network(settings.kind, spec)
    if settings.weights != "teacher":
        load_weights(network.trunk, settings.weights)
    elif teacher is None or not isinstance(network, Student) or not inherit_trunk(network, teacher):
        raise UnusableInputError(
            "weights must fit the student, got 'teacher' without a teacher of the same backbone; choose pip or a file"
        )
    return _learner(network, settings.train, Progress(), device)


def _resumed(
    settings: RunSettings, spec: Mapping[str, Any], modality: Modality, device: torch.device
) -> Learner | None:
    """Where the last checkpoint stands; None without one, since a run may be cut off before its first."""
    last = settings.out / "last.pt"
    if not settings.resume or not last.exists():
        return None
    previous = load_checkpoint(last)
    if (previous.kind, dict(previous.spec), previous.modality) != (settings.kind, dict(spec), modality):
        raise UnusableInputError(
            f"--resume must go on with the network of {last}, got another kind, architecture or modality; "
            "name another out"
        )
    network = build_network(previous.kind, previous.spec)
    network.load_state_dict(dict(previous.current))
    learner = _learner(network, settings.train, Progress(**previous.progress), device)
    learner.optimizer.load_state_dict(dict(previous.optimizer))
    learner.average.state = {k: v.to(device) for k, v in previous.averaged.items()}
    return learner


def _learner(network: Student | Teacher, settings: TrainSettings, progress: Progress, device: torch.device) -> Learner:
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = MovingAverage(network, settings.average_decay)
    return Learner(network, make_optimizer(network, settings), average, progress)


def _bar(kind: str) -> "tqdm[Any]":
    """Counts thousandths of the run, since its number of steps may not be known."""
    layout = "{l_bar}{bar}| {elapsed}<{remaining} {postfix}"
    return tqdm(total=1000, desc=kind, disable=not sys.stderr.isatty(), bar_format=layout)


def _checkpoint(
    kind: str, spec: Mapping[str, Any], modality: Modality, described: Mapping[str, Any], learner: Learner
) -> Checkpoint:
    return Checkpoint(
        kind=kind,
        spec=dict(spec),
        modality=modality,
        averaged=learner.average.state,
        settings=described,
        progress=asdict(learner.progress),
        current=strip(learner.network),
        optimizer=learner.optimizer.state_dict(),
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
