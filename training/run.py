"""A whole training run: data, networks, loop, checkpoints; resumed where it was cut off."""

import random
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from edge.errors import InvalidValueError, UnusableInputError
from edge.records import Modality
from training.augment import AugmentSettings, ViewSettings
from training.batches import TrainingBatches
from training.checkpoints import Checkpoint, save_checkpoint
from training.datasets import Dataset, read_dataset, require_decodable
from training.distill import LossSettings, distill_step, make_adaptor
from training.engine import Learner, TrainSettings, train_one_epoch
from training.extra_teacher import with_predictions
from training.hard_ground import with_hard_ground
from training.history import with_start
from training.learner import Change, Network, Plan, checkpoint_of, find_again, learner_of, network_of
from training.loss_settings import MOST_DISTILLED, distilled_share, require_something_to_learn
from training.metrics import append_metrics, draw, forget_after, tensorboard
from training.networks.ensemble import AnyNetwork, giver_of
from training.networks.inherit import inherit
from training.networks.student import Student
from training.networks.teacher import PYRAMID_STRIDES
from training.networks.trunks import load_weights
from training.processes import Processes, join_processes
from training.shared_batch_norm import share_batch_norms
from training.targets import Batch
from training.teacher_files import load_teacher

CROP_MULTIPLE = max(PYRAMID_STRIDES)
REFIT_BATCH = 8
REFIT_PICTURES = 48  # crops that a student's layers are refitted on, where activation or width is not its teacher's


def require_crop(crop_px: int) -> None:
    """Raises InvalidValueError for crops that some network of ours could not read."""
    if crop_px < 1 or crop_px % CROP_MULTIPLE:
        raise InvalidValueError("crop", f"a multiple of {CROP_MULTIPLE}", crop_px)


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Everything that a run depends on."""

    kind: str  # student | teacher
    dataset: Path
    out: Path
    spec: Mapping[str, Any]
    train: TrainSettings
    losses: LossSettings = field(default_factory=LossSettings)
    teacher: Path | None = None  # checkpoint or teacher file to distil from
    learns_on: Mapping[str, Any] | None = None  # the history of the model that it starts from, see history.taken_over
    second_look: float | None = None  # of the model that it starts from: `kestrel-export` goes on with it
    closer_look: float | None = None  # likewise
    weights: str = "pip"  # none | pip | hub | FILE | teacher (start from the teacher's trunk)
    resume: bool = False
    crop_px: int = 320
    views: ViewSettings = field(default_factory=ViewSettings)
    extra_teacher: Path | None = None  # scored predictions of any detector, see extra_teacher.py
    mistakes_of: str | None = None  # a model whose false alarms are looked at again, see hard_ground.py
    extra_category: int | None = None  # what it calls pedestrians; None: what the data set calls them
    tensorboard: bool = False
    decodable: bool = False  # every picture was decoded already

    def __post_init__(self) -> None:
        require_crop(self.crop_px)
        if self.extra_category is not None and self.extra_teacher is None:
            raise InvalidValueError("--extra-category", "left out without --extra-teacher", self.extra_category)

    def augment(self, modality: Modality) -> AugmentSettings:
        """How views of this modality's pictures are drawn."""
        return AugmentSettings.of(modality, self.crop_px, self.views)


def train(
    settings: RunSettings,
    dataset: Dataset | None = None,
    start: Change | None = None,
    prepare: Change | None = None,
) -> Path:
    """Train, and return the file of the finished checkpoint, `OUT/KIND.pt`. Under torchrun, all its processes learn.

    Args:
        settings: what to do.
        dataset: learn from this, already read, instead of `settings.dataset`.
        start: gives a fresh network its first weights, in place of `settings.weights`.
        prepare: changes how a fresh or resumed network learns, such as noise inside it; names of parameters stay.

    Raises:
        UnusableInputError: bad data, bad weights, an output that exists, a teacher of another modality or stride.
        ProcessingError: the loss stopped being finite, or the disk is full.
    """
    processes = join_processes()
    if processes.first:
        _check_out(settings)
    processes.wait()  # until the folder is judged, before anything is written into it
    dataset = _data(settings, dataset)
    _seed(settings.train.seed)
    device = _device(processes)
    modality = modality_of(dataset)
    teacher = None if settings.teacher is None else load_teacher(settings.teacher, modality)
    plan = Plan(settings.kind, _spec(settings, teacher), modality, device)
    previous = find_again(settings.out / "last.pt", plan) if settings.resume else None
    network = network_of(plan, previous, start or (lambda n: _first_weights(n, settings, dataset, teacher)), prepare)
    _check_losses(settings, network, teacher)
    if teacher is not None:  # not before: a student's layers are refitted to it on the CPU
        teacher.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if processes.count > 1:
        share_batch_norms(network)
        processes.agree_on(network)
    adaptor = make_adaptor(network, teacher) if teacher is not None and settings.losses.feature else None
    learner = learner_of(network, adaptor, settings.train, previous)
    if processes.first and previous is None and not settings.decodable:
        require_decodable(dataset.pictures)
    processes.wait()
    run = _Run(
        settings, _with_hard_ground(dataset, settings, modality, processes), plan, teacher, learner, previous, processes
    )
    return _learn(run)


@dataclass(frozen=True, slots=True)
class _Run:
    """What the loop needs."""

    settings: RunSettings
    dataset: Dataset
    plan: Plan
    teacher: AnyNetwork | None
    learner: Learner
    previous: Checkpoint | None
    processes: Processes


def _learn(run: _Run) -> Path:
    """The loop: epochs, a checkpoint and a line of metrics after each."""
    settings, learner, progress = run.settings, run.learner, run.learner.progress
    out = settings.out
    augment = settings.augment(run.plan.modality)
    batches = TrainingBatches(run.dataset, augment, settings.train.batch_size, settings.train.seed)
    described = _describe(settings, augment, run.dataset.name, run.processes)
    stored = with_start(run.previous.settings if run.previous else settings.learns_on, described, progress.step)
    if run.processes.first:
        _make_folder(out)
        _announce(run)
        forget_after(out / "metrics.jsonl", progress.step)
    board = out / "tensorboard" if settings.tensorboard and run.processes.first else None
    stream, warned = _stream(batches, progress.step, run.processes), False
    with (
        _bar(settings.kind, run.processes.first, progress.share(settings.train)) as bar,
        tensorboard(board, progress.step) as writer,
    ):
        while progress.share(settings.train) < 1.0:
            means = train_one_epoch(
                learner,
                lambda batch: distill_step(learner.network, run.teacher, batch, settings.losses, learner.adaptor),
                stream,
                settings.train,
                run.processes,
                bar,
            )
            if run.processes.first:
                append_metrics(out / "metrics.jsonl", progress.step, progress.seconds, means)
                draw(writer, progress.step, means)
                save_checkpoint(checkpoint_of(learner, run.plan, stored), out / "last.pt")
                if not warned and progress.step > settings.train.epoch_steps:  # a fresh head tells nothing yet
                    warned = _warn_of_teachers(progress.step, distilled_share(means))
    finished = out / f"{settings.kind}.pt"
    if run.processes.first:
        save_checkpoint(checkpoint_of(learner, run.plan, stored).finished(), finished)
    run.processes.wait()
    return finished


def _announce(run: _Run) -> None:
    """What is learnt from, and what is odd about it, before hours are spent."""
    named = [str(file) for file in (run.settings.teacher, run.settings.extra_teacher) if file is not None]
    taught = f"and of {' and '.join(named)}" if named else "alone"
    for warning in run.dataset.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"learns of the labels of {run.dataset.name} {taught}", file=sys.stderr)


def _warn_of_teachers(step: int, share: float) -> bool:
    """Say so where distillation outweighs the labels; returns whether it does."""
    if share <= MOST_DISTILLED:
        return False
    told = f"teachers have {share:.0%} of the gradient at step {step}, labels the rest"
    tqdm.write(f"warning: {told}; lower the weights of their losses", file=sys.stderr)
    return True


def _stream(batches: TrainingBatches, step: int, processes: Processes) -> Iterator[Batch]:
    """This process's share of the endless batches: of any n in a row, every one of n processes has another."""
    return (batches.batch(number) for number in count(step * processes.count + processes.rank, processes.count))


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


def _data(settings: RunSettings, dataset: Dataset | None) -> Dataset:
    found = read_dataset(settings.dataset, usual="train", require_pedestrians=True) if dataset is None else dataset
    if settings.extra_teacher is None:
        return found
    return with_predictions(found, settings.dataset, settings.extra_teacher, settings.extra_category)


def _with_hard_ground(dataset: Dataset, settings: RunSettings, modality: Modality, processes: Processes) -> Dataset:
    """Takes minutes, so what is cheap to refuse is refused before; one process looks, the others read what it found."""
    if settings.mistakes_of is None:
        return dataset
    long_side = settings.augment(modality).default_long_side
    if processes.first:
        dataset = with_hard_ground(dataset, settings.mistakes_of, long_side, settings.out)
    processes.wait()
    return dataset if processes.first else with_hard_ground(dataset, settings.mistakes_of, long_side, settings.out)


def modality_of(dataset: Dataset) -> Modality:
    """Of its pictures; raises UnusableInputError where neither they nor its name say so."""
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


def _device(processes: Processes) -> torch.device:
    return torch.device(f"cuda:{processes.local_rank}" if torch.cuda.is_available() else "cpu")


def _check_losses(settings: RunSettings, network: Network, teacher: AnyNetwork | None) -> None:
    """Before anything is spent: whatever a loss learns from must be there."""
    losses = settings.losses
    require_something_to_learn(losses, teacher=teacher is not None, extra=settings.extra_teacher is not None)
    if teacher is None:
        for name in ("hard", "feature"):
            if getattr(losses, name):
                raise InvalidValueError(name, "0 without a teacher", getattr(losses, name), "name one")
        return
    missing = sorted(set(network.strides) - set(teacher.strides))
    if missing:
        raise InvalidValueError(
            "teacher",
            f"one with a head at stride {missing[0]}",
            f"strides {list(teacher.strides)}",
            f"choose --stride {teacher.strides[0]}, or another teacher",
        )


def _spec(settings: RunSettings, teacher: AnyNetwork | None) -> Mapping[str, Any]:
    """The architecture; a trunk that comes from the teacher must see pictures normalised as the teacher does."""
    if settings.weights != "teacher" or teacher is None:
        return settings.spec
    giver = giver_of(teacher, settings.spec["backbone"])
    return {**settings.spec, "mean": giver.spec.mean, "std": giver.spec.std}


def _first_weights(network: Network, settings: RunSettings, dataset: Dataset, teacher: AnyNetwork | None) -> None:
    if settings.weights != "teacher":
        load_weights(network, settings.weights)
        return

    def pictures() -> list[Tensor]:
        return refit_pictures(settings, dataset)

    giver = teacher and giver_of(teacher, settings.spec["backbone"])
    if giver is None or not isinstance(network, Student) or not inherit(network, giver, pictures):
        raise UnusableInputError(
            "weights must fit the student, got 'teacher' without a teacher of the same backbone; choose pip or a file"
        )


def refit_pictures(settings: RunSettings, dataset: Dataset) -> list[Tensor]:
    """Batches (B, 3, H, W) on which layers are refitted to another activation or width."""
    batches = TrainingBatches(dataset, settings.augment(modality_of(dataset)), REFIT_BATCH, settings.train.seed)
    return [batches.batch(number).images for number in range(-(-REFIT_PICTURES // REFIT_BATCH))]


def _bar(kind: str, shown: bool, share: float) -> "tqdm[Any]":
    """Counts thousandths of the run, since its number of steps may not be known; it begins where the run goes on."""
    layout = "{l_bar}{bar}| {elapsed}<{remaining} {postfix}"
    hidden = not shown or not sys.stderr.isatty()
    return tqdm(total=1000, desc=kind, initial=round(1000 * share), disable=hidden, bar_format=layout)


def _describe(settings: RunSettings, augment: AugmentSettings, dataset: str, processes: Processes) -> dict[str, Any]:
    """Plain values for the checkpoint and, from there, for the model's metadata."""
    return {
        "dataset": dataset,
        "augment": asdict(augment),
        "train": asdict(settings.train),
        "losses": asdict(settings.losses),
        "teacher": settings.teacher.name if settings.teacher else None,
        "mistakes_of": settings.mistakes_of and Path(settings.mistakes_of).name,
        "extra_teacher": settings.extra_teacher.name if settings.extra_teacher else None,
        "second_look": settings.second_look,
        "closer_look": settings.closer_look,
        "weights": Path(settings.weights).name,  # a word, a file, or the model that learnt on
        "processes": processes.count,
    }
