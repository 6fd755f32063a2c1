"""`kestrel-train self-train`, `finetune` and `ablate`: what they are told, turned into settings."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from edge.errors import InvalidValueError, UnusableInputError
from edge.options import with_options
from training.commands_train import LossOptions
from training.train_options import (
    WEIGHTS_HELP,
    BackboneOption,
    DatasetArgument,
    FrozenOption,
    HeadOption,
    LearnOptions,
    ResumeOption,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from training.loss_settings import LossSettings
    from training.noise import NoiseSettings
    from training.pseudo_labels import LabelRule
    from training.unlabelled import ThinSettings

TeacherFile = Annotated[
    str | None,
    typer.Option(
        help="Checkpoint or .safetensors.  [default: the teacher of the data's modality in this checkout]",
        metavar="FILE",
    ),
]
Footage = Annotated[
    list[str] | None,
    typer.Option(help="Recording, or folder of videos or pictures; more may follow.", metavar="VIDEO_OR_FOLDER..."),
]
MoreFootage = Annotated[list[str] | None, typer.Argument(help="More of --unlabelled.", metavar="VIDEO_OR_FOLDER")]


@dataclass(frozen=True, slots=True)
class StudentOptions:
    """The student that learns."""

    backbone: BackboneOption = "efficientnet_lite0"
    stride: Annotated[int, typer.Option(help="Stride of the detection map: 4 for small people, 8 for speed.")] = 4
    weights: Annotated[str, typer.Option(help=f"{WEIGHTS_HELP}.", metavar="WHERE")] = "pip"
    head: HeadOption = None
    activation: Annotated[
        Literal["silu", "hardswish", "relu"],
        typer.Option(help="Activation of yolox_nano or nanodet_m; silu, as released."),
    ] = "silu"
    frozen_stages: FrozenOption = None
    like: Annotated[
        Path | None,
        typer.Option(help="Take the architecture of this student's checkpoint instead.", metavar="CHECKPOINT"),
    ] = None

    def spec(self) -> dict[str, Any]:
        """The architecture, as a run wants it."""
        from training.networks.recipes import student_spec
        from training.teacher_files import load_network_file

        if self.weights == "teacher":
            rule = "none, pip, hub or a file"
            raise InvalidValueError(
                "weights", rule, self.weights, "a student that is compared starts without a teacher"
            )
        if self.like is not None:
            checkpoint = load_network_file(self.like)
            if checkpoint.kind != "student":
                raise UnusableInputError(f"--like must be a student's checkpoint, got a {checkpoint.kind}'s")
            return dict(checkpoint.spec)
        return student_spec(
            self.backbone,
            self.weights,
            self.stride,
            frozen_stages=self.frozen_stages,
            head=self.head,
            activation=self.activation,
        ).to_json()


@dataclass(frozen=True, slots=True)
class FootageOptions:
    """What is learnt of footage without labels, and under how much noise."""

    frames: Annotated[int, typer.Option(help="Most frames of all recordings together.", min=1)] = 500
    every: Annotated[float, typer.Option(help="Seconds between the frames that are looked at.", min=0)] = 0.5
    news: Annotated[float, typer.Option(help="How much a frame must differ from all before; 0 keeps all.", min=0)] = 0.1
    floor: Annotated[float, typer.Option(help="Score from which the teacher's detections are taught.")] = 0.6
    faint: Annotated[float, typer.Option(help="Score from which fainter ones are ignored instead.")] = 0.2
    dropout: Annotated[float, typer.Option(help="Share of channels dropped before the heads.")] = 0.1
    stochastic_depth: Annotated[float, typer.Option(help="Chance that a residual block is left out.")] = 0.1

    def thin(self) -> "ThinSettings":
        """Which frames are kept."""
        from training.unlabelled import ThinSettings

        return ThinSettings(self.every, self.news, self.frames)

    def rule(self) -> "LabelRule":
        """What the teacher's scores make of a detection."""
        from training.pseudo_labels import LabelRule

        return LabelRule(self.floor, self.faint)

    def noise(self) -> "NoiseSettings":
        """Inside the student."""
        from training.noise import NoiseSettings

        return NoiseSettings(self.dropout, self.stochastic_depth)


@with_options
def self_train(
    dataset: DatasetArgument,
    student: StudentOptions,
    options: LearnOptions,
    losses: LossOptions,
    footage: FootageOptions,
    more: MoreFootage = None,
    unlabelled: Footage = None,
    teacher: TeacherFile = None,
    rounds: Annotated[int, typer.Option(help="The student of a round is the teacher of the next.", min=1)] = 1,
    out: Annotated[Path, typer.Option(help="Folder for frames, labels and students.", metavar="DIR")] = Path(
        "runs/self-train"
    ),
    resume: ResumeOption = False,
) -> None:
    """Learn from own footage without labels: a teacher labels it, the student learns it with DATASET, disturbed.

    Example: kestrel-train self-train data/rgb-train --unlabelled flights/ --teacher teacher.pt --minutes 60

    Look at OUT/round-1.png before you trust the student. The teacher labels, and that is all, unless a loss of its own
    is named, such as --soft 0.5: then it is asked at every step as well, and the others have their defaults.
    """
    from training.loss_settings import FROM_TEACHER, settle
    from training.run import RunSettings
    from training.self_train import SelfTrainSettings
    from training.self_train import self_train as run_self_train

    file = _teacher_file(teacher, dataset)
    asked = losses.asked()
    taught = any(asked.of(FROM_TEACHER).values())
    run = RunSettings(
        kind="student",
        dataset=dataset,
        out=out,
        spec=student.spec(),
        train=options.train_settings(student.weights),
        losses=settle(asked, teacher=taught, extra=False),
        teacher=file if taught else None,
        weights=student.weights,
        resume=resume,
        crop_px=options.crop,
        tensorboard=options.tensorboard,
    )
    names = (*(unlabelled or ()), *(more or ()))
    settings = SelfTrainSettings(run, file, names, rounds, footage.noise(), footage.thin(), footage.rule())
    _print_all(run_self_train(settings), options.threads)


@with_options
def finetune(
    model: Annotated[
        str, typer.Argument(help="Shipped model's name, FP32 model file, or a student's checkpoint.", metavar="MODEL")
    ],
    dataset: DatasetArgument,
    out: Annotated[Path, typer.Option(help="Folder for the student and the report.", metavar="DIR")] = Path(
        "runs/finetune"
    ),
    steps: Annotated[int, typer.Option(help="Most batches; it stops when nothing gets better.", min=1)] = 400,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate of AdamW.")] = 4e-4,
    batch_size: Annotated[int, typer.Option(help="Crops a batch.", min=1)] = 8,
    crop: Annotated[int, typer.Option(help="Side of the square training crops in pixels.", min=64)] = 320,
    frozen: Annotated[float, typer.Option(help="Share of the trunk's layers that keep their weights.")] = 0.75,
    hold_out: Annotated[float, typer.Option(help="Share of the pictures, by scene, that judge and never teach.")] = 0.3,
    patience: Annotated[int, typer.Option(help="Looks at the held-out pictures without anything better.", min=1)] = 5,
    teacher: Annotated[
        Path | None, typer.Option(help="Mix in the soft targets of this teacher against forgetting.", metavar="FILE")
    ] = None,
    soft: Annotated[
        float | None, typer.Option(help="Weight of these soft targets.  [default: 0.25]", min=0, show_default=False)
    ] = None,
    replay: Annotated[
        Path | None, typer.Option(help="Mix in these older labelled pictures against forgetting.", metavar="DATASET")
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same split, same batches.")] = 0,
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: all usable cores.", min=1)] = None,
    allow_worse: Annotated[bool, typer.Option("--allow-worse", help="Write the student even if it got worse.")] = False,
) -> None:
    """Adapt a student to your own place from twenty labelled pictures or more; says what has become better.

    Example: kestrel-train finetune thermal my-pictures-thermal --out runs/mine

    Pictures of one flight should share a scene (COCO: `scene` of an image; else the name before its number).
    """
    from training.finetune import TRAIN, FinetuneSettings
    from training.finetune import finetune as run_finetune

    train = replace(TRAIN, steps=steps, learning_rate=learning_rate, batch_size=batch_size, seed=seed)
    settings = FinetuneSettings(
        model=model,
        dataset=dataset,
        out=out,
        train=train,
        crop_px=crop,
        hold_out=hold_out,
        frozen=frozen,
        patience=patience,
        teacher=teacher,
        losses=_against_forgetting(soft, teacher),
        replay=replay,
        allow_worse=allow_worse,
    )
    _print_all(run_finetune(settings), threads)


def _against_forgetting(soft: float | None, teacher: Path | None) -> "LossSettings":
    """What a student that is adapted learns from a teacher, if there is one.

    Raises:
        InvalidValueError: a weight without a teacher, or a teacher that teaches nothing.
    """
    from training.loss_settings import LossSettings

    if teacher is None and soft is not None:
        raise InvalidValueError("--soft", "left out without --teacher", soft, "name somebody to learn from")
    if soft == 0:
        raise InvalidValueError("--soft", "above 0 with --teacher", soft, "leave out both")
    weight = 0.25 if soft is None else soft
    return LossSettings(soft=weight, soft_box=2 * weight)


@with_options
def ablate(
    dataset: DatasetArgument,
    student: StudentOptions,
    options: LearnOptions,
    footage: FootageOptions,
    validate: Annotated[Path, typer.Option(help="Labelled folder that judges.", metavar="DATASET")],
    teacher: TeacherFile = None,
    more: MoreFootage = None,
    unlabelled: Footage = None,
    out: Annotated[Path, typer.Option(help="Folder for all runs, the table and the chart.", metavar="DIR")] = Path(
        "runs/ablation"
    ),
    seeds: Annotated[int, typer.Option(help="Runs of each arm.", min=1)] = 3,
    jobs: Annotated[int, typer.Option(help="Runs side by side, of one thread each.", min=1)] = 1,
    arms: Annotated[
        str | None,
        typer.Option(help="Some of alone,twice,hard,soft,feature,noisy.  [default: all; noisy with --unlabelled]"),
    ] = None,
    soft: Annotated[float, typer.Option(help="Weight of the soft targets.", min=0)] = 0.5,
    hard: Annotated[float, typer.Option(help="Weight of the hard targets.", min=0)] = 0.5,
    soft_box: Annotated[float, typer.Option(help="Weight of the teacher's boxes where they are better.", min=0)] = 2.0,
    feature: Annotated[float, typer.Option(help="Weight of the teacher's feature maps.", min=0)] = 1.0,
    temperature: Annotated[float, typer.Option(help="Temperature of the soft targets.")] = 2.0,
) -> None:
    """Find out whether distillation helps: the same student with and without it, over several seeds.

    Example: kestrel-train ablate data/rgb-train --validate data/rgb-val --teacher teacher.pt --steps 2000 --jobs 2

    What is finished is kept: run the same command again after a kill, with more seeds, or with more arms.
    """
    from training.ablate import AblateSettings, ArmLosses, choose_arms
    from training.ablate import ablate as run_ablate
    from training.run import RunSettings

    weights = ArmLosses(soft, hard, soft_box, feature, temperature)
    names = (*(unlabelled or ()), *(more or ()))
    run = RunSettings(
        kind="student",
        dataset=dataset,
        out=out,
        spec=student.spec(),
        train=options.train_settings(student.weights),
        teacher=_teacher_file(teacher, dataset),
        weights=student.weights,
        crop_px=options.crop,
        tensorboard=options.tensorboard,
    )
    settings = AblateSettings(
        run=run,
        validate=validate,
        arms=choose_arms(weights, arms.split(",") if arms else None, noisy=bool(names)),
        seeds=seeds,
        jobs=jobs,
        unlabelled=names,
        noise=footage.noise(),
        thin=footage.thin(),
        rule=footage.rule(),
    )
    _print_all(run_ablate(settings), options.threads)


def _teacher_file(asked: str | None, dataset: Path) -> Path:
    from training.datasets import read_dataset
    from training.run import modality_of
    from training.teacher_files import shipped_teacher

    if asked is not None:
        return Path(asked)
    found = shipped_teacher(modality_of(read_dataset(dataset, usual="train")))
    if found is None:
        raise InvalidValueError("teacher", "a file where this checkout has none", asked, "train one, name it")
    return found


def _print_all(lines: "Iterator[str]", threads: int | None) -> None:
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    for line in lines:
        typer.echo(line, err=line.startswith("warning: "))
        sys.stdout.flush()
