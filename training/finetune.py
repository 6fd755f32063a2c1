"""A student adapted to a user's own place from as few as twenty labelled pictures.

What it knows is kept: most of the trunk is frozen, batch norm keeps its statistics (a few pictures make poor ones), the
rate is low. Two things can be mixed in against forgetting (Li & Hoiem, "Learning without forgetting", arXiv
1606.09282): a teacher's soft targets on the same pictures, and older labelled pictures as every fourth of a batch.

Part of the pictures is held out, by scene (splits.py). The run stops when it gets no better on them (snapshots.py), and
what is reported is cross-fitted over their scenes. A student that got worse is not written.

    OUT/student.pt                      for kestrel-export
    OUT/held-out.json                   pictures to fit threshold and presence to: kestrel-export's --validate
    OUT/data-card.toml                  what shaped the weights: kestrel-export's --data-card
    OUT/before-after.txt, .png, .json   what has changed
"""

import dataclasses
import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from edge.contract import TrainingData
from edge.errors import InvalidValueError, ProcessingError, UnusableInputError
from training.adapt_report import Comparison, doubts, draw, figures_of, regressions, table
from training.augment import AugmentSettings
from training.batches import TrainingBatches
from training.calibration import FEWEST_TO_FIT, fit
from training.checkpoints import Checkpoint, save_checkpoint, strip
from training.coco_scoring import DetectedPicture
from training.data_card import UNSTATED
from training.datasets import Dataset, load_image, read_dataset, require_decodable
from training.datasets.coco_writing import write_coco
from training.distill import LossSettings, distill_step
from training.engine import Learner, MovingAverage, Progress, TrainSettings, make_optimizer, train_one_epoch
from training.evaluation import SCORE_FLOOR, detect, judge
from training.history import learnt_on, taken_over, with_start
from training.metrics import append_metrics
from training.near_duplicates import near_pairs
from training.networks.ensemble import AnyNetwork
from training.networks.student import Student
from training.processes import Processes, refuse_processes
from training.replay import without_held_out
from training.run import require_crop
from training.snapshots import Snapshot, best, cross_fitted, stale
from training.splits import Split, split_by_scene
from training.start_point import PROOF_PICTURES, StartPoint, read_start_point
from training.targets import Batch
from training.teacher_files import load_teacher
from training.torch_recognizer import TorchRecognizer, as_flown

FEW_PICTURES = 20
REPLAY_SHARE = 4  # every fourth picture of a batch is an old one
TRAIN = TrainSettings(steps=400, learning_rate=4e-4, warmup_steps=20, flat_share=0.2, epoch_steps=25)


@dataclass(frozen=True, slots=True)
class FinetuneSettings:
    """Everything that fine-tuning depends on."""

    model: str  # shipped name, FP32 model file or student's checkpoint
    dataset: Path
    out: Path
    train: TrainSettings = TRAIN
    crop_px: int = 320
    hold_out: float = 0.3  # share of the pictures that judge and never teach
    frozen: float = 0.75  # share of the trunk's layers, from the picture on, that keep their weights
    patience: int = 5  # epochs without anything better
    teacher: Path | None = None
    losses: LossSettings = field(default_factory=lambda: LossSettings(soft=0.25, soft_box=0.5))
    replay: Path | None = None  # older labelled pictures
    allow_worse: bool = False

    def __post_init__(self) -> None:
        require_crop(self.crop_px)
        if not 0 <= self.frozen <= 1:
            raise InvalidValueError("frozen", "in 0..1", self.frozen)
        if self.patience < 1:
            raise InvalidValueError("patience", "at least 1", self.patience)


def finetune(settings: FinetuneSettings) -> Iterator[str]:
    """Adapt, judge, and write the student if it has not got worse; yields lines of progress.

    Raises:
        UnusableInputError: bad data, no student, another modality, an output that exists.
        ProcessingError: the student got worse; the report is kept. Or the disk is full.
    """
    refuse_processes("finetune")
    _check_out(settings.out)
    dataset = read_dataset(settings.dataset, usual="train", require_pedestrians=True)
    require_decodable(dataset.pictures)
    proof = [load_image(picture) for picture in dataset.pictures[:PROOF_PICTURES]]
    start = read_start_point(settings.model, proof)
    dataset = _of_modality(start, dataset, "dataset")
    split = split_by_scene(dataset, settings.hold_out, settings.train.seed)
    yield from _described(split)
    yield from _repeated(split)
    old = _old_pictures(settings, start, split)
    mixed_in = () if old is None else (old,)
    yield from (f"warning: {said}" for one in mixed_in for said in one.warnings)
    teacher, stream = _load_teacher(settings, start), _stream(settings, start, split.learn, old)
    before = _ask(start.student, start, split.held_out)
    snapshots = _learn(settings, start, split.held_out, teacher, stream)
    comparison = _compare(start, before, snapshots)
    worse = regressions(comparison.before, comparison.after)
    finished = settings.out / "student.pt"
    if not worse or settings.allow_worse:  # first of all: no picture of it is worth as much
        save_checkpoint(_checkpoint(settings, start, (dataset, *mixed_in), best(snapshots), comparison), finished)
    _write_report(settings, start, split, [one.name for one in mixed_in], comparison)
    yield table(comparison)
    if start.threshold is not None and len(split.held_out.pictures) < FEWEST_TO_FIT:
        yield f"threshold and calibration stay as they were: fewer than {FEWEST_TO_FIT} held-out pictures"
    yield from (
        f"warning: {doubt}; look at the held-out pictures" for doubt in doubts(comparison.before, comparison.after)
    )
    if worse and not settings.allow_worse:
        raise ProcessingError(
            f"{start.name} got worse on the held-out pictures, {' and '.join(worse)}: student.pt was not written "
            f"(see {settings.out / 'before-after.png'}); label more pictures, or add --allow-worse"
        )
    yield f"wrote {finished}; make a model of it: {_export_command(settings.out)}"


def hold_norms(network: nn.Module) -> None:
    """Batch norms use the statistics that they have, also while the network learns; changed in place."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(_evaluate)


def _evaluate(module: nn.Module, _: Any) -> None:
    module.train(False)


def freeze_front(trunk: nn.Module, share: float) -> int:
    """The first layers of a trunk keep their weights, in place; returns the number of layers that still learn."""
    layers = [m for m in trunk.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    order = [p for m in trunk.modules() for p in m.parameters(recurse=False)]
    frozen = round(share * len(layers))
    first = next((i for i, p in enumerate(order) if frozen < len(layers) and p is layers[frozen].weight), len(order))
    for parameter in order[:first]:
        parameter.requires_grad_(False)
    return len(layers) - frozen


def _learn(
    settings: FinetuneSettings,
    start: StartPoint,
    held_out: Dataset,
    teacher: AnyNetwork | None,
    stream: Iterator[Batch],
) -> tuple[Snapshot, ...]:
    """The loop: an epoch, a look at the held-out pictures, until nothing gets better."""
    torch.manual_seed(settings.train.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = start.student.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if teacher is not None:
        teacher.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    watched = _copy_of(network)
    hold_norms(network)
    freeze_front(network.trunk, settings.frozen)
    average = MovingAverage(network, settings.train.average_decay)
    learner = Learner(network, make_optimizer(network, settings.train), average, Progress())
    settings.out.mkdir(parents=True, exist_ok=True)
    snapshots: list[Snapshot] = []
    bar: tqdm[Any]
    with tqdm(total=1000, desc="finetune", disable=not sys.stderr.isatty()) as bar:
        while learner.progress.share(settings.train) < 1.0 and not stale(snapshots, settings.patience):
            means = train_one_epoch(
                learner,
                lambda batch: distill_step(network, teacher, batch, settings.losses),
                stream,
                settings.train,
                Processes(),
                bar,
            )
            watched.load_state_dict(average.state)
            found = _ask(watched, start, held_out)
            weights = {k: v.cpu() for k, v in strip(watched).items()}
            snapshots.append(Snapshot(learner.progress.step, weights, found))
            means["held_out"] = snapshots[-1].quality
            append_metrics(settings.out / "metrics.jsonl", learner.progress.step, learner.progress.seconds, means)
    return tuple(snapshots)


def _copy_of(network: Student) -> Student:
    copied = Student(network.spec)
    return copied.to(next(network.parameters()).device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload, no-any-return]


def _ask(student: Student, start: StartPoint, held_out: Dataset) -> tuple[DetectedPicture, ...]:
    recognizer = TorchRecognizer(student, student.spec.stride, start.input_rule, student.spec.coarsest)
    return detect(as_flown(recognizer.recognise, start.modality), held_out.pictures)


def _load_teacher(settings: FinetuneSettings, start: StartPoint) -> AnyNetwork | None:
    if settings.teacher is None:
        return None
    network = load_teacher(settings.teacher, start.modality)
    if start.student.spec.stride not in network.strides:
        rule = f"one with a head at stride {start.student.spec.stride}"
        raise InvalidValueError("teacher", rule, f"strides {list(network.strides)}", "name another file")
    return network


def _old_pictures(settings: FinetuneSettings, start: StartPoint, split: Split) -> Dataset | None:
    """The older pictures to mix in; None for none."""
    if settings.replay is None:
        return None
    old = _of_modality(start, read_dataset(settings.replay, usual="train"), "replay")
    require_decodable(old.pictures)
    return without_held_out(old, split)


def _stream(settings: FinetuneSettings, start: StartPoint, learn: Dataset, old: Dataset | None) -> Iterator[Batch]:
    augment = _augment(settings, start)
    count, seed = settings.train.batch_size, settings.train.seed
    if old is None:
        return TrainingBatches(learn, augment, count, seed).starting_at(0)
    replayed = max(1, count // REPLAY_SHARE)
    ours = TrainingBatches(learn, augment, max(1, count - replayed), seed).starting_at(0)
    return map(_joined, ours, TrainingBatches(old, augment, replayed, seed + 1).starting_at(0))


def _augment(settings: FinetuneSettings, start: StartPoint) -> AugmentSettings:
    """People are learnt at the size at which the model will see them."""
    rule = start.input_rule
    return dataclasses.replace(
        AugmentSettings.of(start.modality, settings.crop_px),
        default_long_side=rule.default_long_side,
        max_enlarge=rule.max_enlarge,
    )


def _joined(ours: Batch, old: Batch) -> Batch:
    return Batch(torch.cat((ours.images, old.images)), ours.targets + old.targets, ours.names + old.names)


def _compare(start: StartPoint, before: tuple[DetectedPicture, ...], snapshots: tuple[Snapshot, ...]) -> Comparison:
    kept = best(snapshots)
    first = Snapshot(0, {}, before)
    answers = cross_fitted(snapshots)
    few = len(answers) < FEWEST_TO_FIT
    # What was fitted to the mean of two looks says nothing of one, and figures here go by one.
    known = (None, None) if start.second_look and not few else (start.threshold, start.calibration)
    former = figures_of(before, *known)
    judged = judge(answers, SCORE_FLOOR, model=start.name, dataset="").judged
    fitted = fit(judged, [one.presence for one in answers])
    # By few pictures, or ones that all show somebody or all nobody, nothing can be fitted: what was known stays.
    threshold = start.threshold if few else None
    calibration = start.calibration if few or not former.pairs else None
    return Comparison(
        before=former,
        after=figures_of(answers, threshold, calibration),
        threshold=fitted.threshold if threshold is None else threshold,
        calibration=fitted.calibration if calibration is None else calibration,
        steps=(0, *(one.step for one in snapshots)),
        qualities=(first.quality, *(one.quality for one in snapshots)),
        kept_step=kept.step,
    )


def _checkpoint(
    settings: FinetuneSettings, start: StartPoint, learnt: Sequence[Dataset], kept: Snapshot, comparison: Comparison
) -> Checkpoint:
    described: Mapping[str, Any] = {
        "augment": asdict(_augment(settings, start)),
        "dataset": "+".join(dataset.name for dataset in learnt),
        "train": asdict(settings.train),
        "losses": asdict(settings.losses),
        "teacher": settings.teacher.name if settings.teacher else None,
        "weights": start.name,
        "second_look": start.second_look,
        "closer_look": start.closer_look,
        "finetune": {
            "frozen": settings.frozen,
            "hold_out": settings.hold_out,
            "replay": settings.replay.name if settings.replay else None,
            "before": comparison.before.to_json(),
            "after": comparison.after.to_json(),
            **_fitted(start, comparison),
        },
    }
    stored = with_start(taken_over(start.settings), described, 0)
    student = Checkpoint(
        "student", start.student.spec.to_json(), start.modality, kept.weights, stored, {"step": kept.step}, {}, {}
    )
    return student.finished()


def _fitted(start: StartPoint, comparison: Comparison) -> dict[str, Any]:
    """Threshold and calibration on all held-out pictures; where these cannot tell, what the model had."""
    calibration = comparison.calibration if comparison.after.pairs else start.calibration
    return {"threshold": comparison.threshold, "calibration": asdict(calibration) if calibration else None}


def _write_report(
    settings: FinetuneSettings, start: StartPoint, split: Split, mixed_in: Sequence[str], comparison: Comparison
) -> None:
    out = settings.out
    held = split.held_out
    scenes = "by scene" if split.by_scene else "by picture: no whole scenes are that share"
    title = f"{start.name} on {held.name}: {len(held.pictures)} pictures, held out {scenes}"
    draw(comparison, title, out / "before-after.png")
    figures = {"before": comparison.before.to_json(), "after": comparison.after.to_json()}
    write_coco(out / "held-out.json", held.pictures, start.modality)
    try:
        (out / "before-after.txt").write_text(f"{title}\n\n{table(comparison)}\n", encoding="utf-8")
        (out / "before-after.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        (out / "data-card.toml").write_text(_data_card(start, held.name, mixed_in), encoding="utf-8")
    except OSError as error:
        raise ProcessingError(f"{out} must be writable, got {error}; free some space and try again") from None


def _data_card(start: StartPoint, dataset: str, mixed_in: Sequence[str]) -> str:
    """TOML as kestrel-export reads it; JSON's strings are TOML's. What the start was trained on is part of it."""
    earlier = start.data or tuple(TrainingData(name, UNSTATED) for name in sorted(learnt_on(start.settings)))
    data = (*earlier, *(TrainingData(name, UNSTATED) for name in mixed_in if name not in {e.name for e in earlier}))
    data += (TrainingData(dataset, "the user's own"),)
    lines = [f"intended_use = {_quoted(start.intended_use or UNSTATED)}"]
    for one in data:
        lines += ["[[data]]", *(f"{name} = {_quoted(value)}" for name, value in asdict(one).items())]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _described(split: Split) -> Iterator[str]:
    learn, held = split.learn, split.held_out
    yield from (f"warning: {said}" for said in learn.warnings)
    scenes = [len({p.scene for p in part.pictures}) for part in (learn, held)]
    yield (
        f"learns from {len(learn.pictures)} pictures ({learn.pedestrians} pedestrians, {scenes[0]} scenes), "
        f"is judged by {len(held.pictures)} ({held.pedestrians} pedestrians, {scenes[1]} scenes)"
    )
    if not split.by_scene:
        yield "warning: no whole scenes are that share: neighbours of what it learns judge, so expect less elsewhere"
    empty = sum(not len(p.boxes_xyxy) for p in held.pictures)
    if not empty:
        yield "warning: every held-out picture shows somebody: label empty ones, too, or false alarms go unseen"
    if len(learn.pictures) + len(held.pictures) < FEW_PICTURES:
        yield f"warning: fewer than {FEW_PICTURES} pictures; figures of so few say little"


def _repeated(split: Split) -> Iterator[str]:
    """A warning where names tell scenes apart that are one: what is learnt then nearly shows what judges."""
    pairs = near_pairs(split.held_out.pictures, split.learn.pictures)
    if pairs:
        yield (
            f"warning: {len(pairs)} of {len(split.held_out.pictures)} held-out pictures nearly repeat one that is "
            "learnt, so expect less elsewhere; folders or names such as day1_0001.jpg tell scenes apart"
        )


def _of_modality(start: StartPoint, dataset: Dataset, name: str) -> Dataset:
    """The same, learnt as pictures of the model's modality where it says none; raises InvalidValueError for another."""
    if dataset.modality not in (None, start.modality):
        raise InvalidValueError(name, f"{start.modality} as {start.name} is", dataset.modality, "name another model")
    return dataclasses.replace(dataset, modality=start.modality)


def _check_out(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UnusableInputError(f"out must be an empty folder, got {str(out)!r}; name another")


def _export_command(out: Path) -> str:
    student, held_out, card = (
        shlex.quote(str(out / name)) for name in ("student.pt", "held-out.json", "data-card.toml")
    )
    return f"kestrel-export {student} my-model.onnx --validate {held_out} --data-card {card}"
