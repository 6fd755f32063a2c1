"""`kestrel-train teacher` and `distil`: what they are told, turned into settings."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edge.errors import InvalidValueError
from edge.options import with_options
from training.train_options import (
    WEIGHTS_HELP,
    BackboneOption,
    DatasetArgument,
    FrozenOption,
    HeadOption,
    LearnOptions,
    OutOption,
    ResumeOption,
    ViewOptions,
)

if TYPE_CHECKING:
    from edge.records import Modality
    from training.checkpoints import Checkpoint
    from training.datasets import Dataset
    from training.learner import Change
    from training.loss_settings import AskedLosses
    from training.networks.student import StudentSpec
    from training.networks.teacher import TeacherSpec
    from training.run import RunSettings
    from training.start_point import StartPoint

WEIGHT = "Weight of the {}; 0: none.  [default: {}]"


@dataclass(frozen=True, slots=True)
class LossOptions:
    """Weights of what is learnt from a teacher; None: the default where there is one."""

    soft: Annotated[float | None, typer.Option(help=WEIGHT.format("teacher's soft targets", 0.5))] = None
    temperature: Annotated[float | None, typer.Option(help="Temperature of the soft targets.  [default: 2]")] = None
    hard: Annotated[
        float | None, typer.Option(help=WEIGHT.format("teacher's decision, in place of soft targets", 0))
    ] = None
    soft_box: Annotated[float | None, typer.Option(help=WEIGHT.format("teacher's boxes where they are better", 2))] = (
        None
    )
    feature: Annotated[float | None, typer.Option(help=WEIGHT.format("teacher's feature maps", 0))] = None

    def asked(self) -> "AskedLosses":
        """The same, as training knows it."""
        from training.loss_settings import AskedLosses

        return AskedLosses(self.soft, self.hard, self.soft_box, self.feature, self.temperature)


@dataclass(frozen=True, slots=True)
class ExtraLossOptions:
    """The same for an extra teacher."""

    extra: Annotated[float | None, typer.Option(help=WEIGHT.format("extra teacher's scored boxes", 0.5))] = None
    extra_box: Annotated[
        float | None, typer.Option(help=WEIGHT.format("extra teacher's boxes where they are better", 1))
    ] = None


@with_options
def teacher(
    dataset: DatasetArgument,
    options: LearnOptions,
    views: ViewOptions,
    out: OutOption = Path("runs/teacher"),
    backbone: BackboneOption = "efficientnet_lite0",
    weights: Annotated[str, typer.Option(help=f"{WEIGHTS_HELP}.", metavar="WHERE")] = "pip",
    head: HeadOption = None,
    frozen_stages: FrozenOption = None,
    learn_on: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Learn on from a teacher's checkpoint or .safetensors. Its layers and weights stand in for "
            "--backbone, --head, --weights; its size of input, unless --long-side tells another.",
            metavar="FILE",
        ),
    ] = None,
    network: Annotated[
        int | None,
        typer.Option(help="Which of --from's networks, where several teach together: 1, 2, ...", metavar="N"),
    ] = None,
    resume: ResumeOption = False,
) -> None:
    """Train a teacher on labels. Example: kestrel-train teacher data/rgb-train --minutes 60 --out runs/teacher"""
    from training.datasets import read_dataset
    from training.history import taken_over
    from training.networks.inherit import inherit_all
    from training.networks.teacher import TeacherSpec
    from training.run import RunSettings

    pictures = read_dataset(dataset, usual="train", require_pedestrians=True)
    start = None if learn_on is None else _teacher_to_learn_on(learn_on, network, pictures)
    if start is None:
        if network is not None:
            raise InvalidValueError("network", "left out without --from", network)
        spec, seen_at = _fresh_teacher(backbone, weights, head, frozen_stages), views.asked()
    else:
        spec = replace(TeacherSpec.from_json(start.spec), frozen_stages=frozen_stages or 0)
        seen_at = views.asked().learning_on(start.input_rule)
    settings = RunSettings(
        kind="teacher",
        dataset=dataset,
        out=out,
        spec=spec.to_json(),
        train=options.train_settings(weights if learn_on is None else str(learn_on)),
        learns_on=None if start is None else taken_over(start.settings),
        weights=weights if learn_on is None else str(learn_on),
        resume=resume,
        crop_px=options.crop,
        views=seen_at,
        tensorboard=options.tensorboard,
    )
    first_weights = None if start is None else partial(inherit_all, teacher=start.network(), pictures=list)
    _start(settings, options.threads, pictures, first_weights)


@with_options
def distil(
    dataset: DatasetArgument,
    options: LearnOptions,
    views: ViewOptions,
    losses: LossOptions,
    extra_losses: ExtraLossOptions,
    teacher: Annotated[
        str | None,
        typer.Option(
            help="Checkpoint or .safetensors of any network of ours with a map at the student's stride; none: labels "
            "alone.  [default: the teacher of the data's modality in this checkout, if it is there]",
            metavar="FILE|none",
        ),
    ] = None,
    extra_teacher: Annotated[
        Path | None,
        typer.Option(help="Another detector's scored COCO predictions for the training pictures.", metavar="JSON"),
    ] = None,
    extra_category: Annotated[
        int | None,
        typer.Option(
            help="Category id of pedestrians in that file.  [default: the data set's own category, or 1]", metavar="ID"
        ),
    ] = None,
    out: OutOption = Path("runs/student"),
    backbone: BackboneOption = "efficientnet_lite0",
    stride: Annotated[int, typer.Option(help="Stride of the detection map: 4 for small people, 8 for speed.")] = 4,
    weights: Annotated[
        str,
        typer.Option(
            help=f"{WEIGHTS_HELP}, or teacher (its trunk if the backbone is the same, all of it if the head is, too).",
            metavar="WHERE",
        ),
    ] = "pip",
    head: HeadOption = None,
    activation: Annotated[
        Literal["silu", "hardswish", "relu"] | None,
        typer.Option(
            help="Activation of yolox_nano or nanodet_m: silu, as released (nanodet_m: leaky ReLU); hardswish, nearly "
            "the same and faster; or relu, for INT8. A model (--from) or teacher (--weights teacher) that has "
            "another is refitted to it.  [default: silu, or the model's]",
        ),
    ] = None,
    width_multiplier: Annotated[
        float | None,
        typer.Option(
            help="Share of yolox_nano's channels: 0.5 is twice as fast. A model (--from) or teacher "
            "(--weights teacher) that is wider gives its strongest channels.  [default: 1, or the model's]",
        ),
    ] = None,
    frozen_stages: FrozenOption = None,
    learn_on: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Learn on from a shipped model (rgb, thermal, ...), an FP32 model file or a student's checkpoint. "
            "Its layers and weights stand in for --backbone, --stride, --head, --weights; its size of input, unless "
            "--long-side tells another.",
            metavar="MODEL",
        ),
    ] = None,
    mistakes_of: Annotated[
        str | None,
        typer.Option(
            help="Look again and again at what this model, shipped or a file, takes for people in the training "
            "pictures.",
            metavar="MODEL",
        ),
    ] = None,
    resume: ResumeOption = False,
) -> None:
    """Distil a student. Example: kestrel-train distil data/rgb-train --teacher runs/teacher/teacher.pt --minutes 120"""
    from training.datasets import read_dataset
    from training.finetune import hold_norms
    from training.history import taken_over
    from training.loss_settings import settle
    from training.networks.inherit import inherit_all
    from training.networks.recipes import student_spec
    from training.run import RunSettings, refit_pictures

    train_settings = options.train_settings(learn_on or weights)
    asked = replace(losses.asked(), extra=extra_losses.extra, extra_box=extra_losses.extra_box)
    pictures = read_dataset(dataset, usual="train", require_pedestrians=True)
    start = None if learn_on is None else _start_point(learn_on, pictures)
    teacher_file = _find_teacher(teacher, pictures)
    if start is not None:
        spec = _spec_to_learn_on(start.student.spec, frozen_stages or 0, activation, width_multiplier)
        seen_at = views.asked().learning_on(start.input_rule)
    else:
        seen_at = views.asked()
        spec = student_spec(
            backbone,
            weights,
            stride,
            frozen_stages=frozen_stages,
            head=head,
            activation=activation or "silu",
            width_multiplier=1.0 if width_multiplier is None else width_multiplier,
        )
    settings = RunSettings(
        kind="student",
        dataset=dataset,
        out=out,
        spec=spec.to_json(),
        train=train_settings,
        losses=settle(asked, teacher=teacher_file is not None, extra=extra_teacher is not None),
        teacher=teacher_file,
        learns_on=None if start is None else taken_over(start.settings),
        second_look=None if start is None else start.second_look,
        closer_look=None if start is None else start.closer_look,
        weights=learn_on or weights,
        resume=resume,
        crop_px=options.crop,
        views=seen_at,
        extra_teacher=extra_teacher,
        extra_category=extra_category,
        mistakes_of=mistakes_of,
        tensorboard=options.tensorboard,
    )
    first_weights = prepare = None
    if start is not None:
        pictures_to_refit = partial(refit_pictures, settings, pictures)
        first_weights = partial(inherit_all, teacher=start.student, pictures=pictures_to_refit)
        prepare = None if start.norms_known else hold_norms
    _start(settings, options.threads, pictures, first_weights, prepare)


def _find_teacher(asked: str | None, dataset: "Dataset") -> Path | None:
    """The file that was named, or else this checkout's teacher; None where there is none."""
    from training.teacher_files import shipped_teacher

    if asked is not None:
        return None if asked == "none" else Path(asked)
    return shipped_teacher(dataset.modality) if dataset.modality else None


def _start_point(model: str, dataset: "Dataset") -> "StartPoint":
    from training.datasets import load_image
    from training.start_point import PROOF_PICTURES, read_start_point

    start = read_start_point(model, [load_image(picture) for picture in dataset.pictures[:PROOF_PICTURES]])
    _require_modality(start.modality, dataset)
    return start


def _spec_to_learn_on(
    spec: "StudentSpec", frozen_stages: int, activation: str | None, width_multiplier: float | None
) -> "StudentSpec":
    width = spec.width_multiplier if width_multiplier is None else width_multiplier
    if activation not in (None, spec.activation) and spec.head == "dense":
        raise InvalidValueError("activation", "left out with a model whose layers have their own", activation)
    if width != spec.width_multiplier and spec.head != "yolox":
        raise InvalidValueError("width_multiplier", "left out with a model that cannot be narrowed", width)
    if width > spec.width_multiplier:
        raise InvalidValueError("width_multiplier", f"at most the model's {spec.width_multiplier:g}", width)
    return replace(spec, frozen_stages=frozen_stages, activation=activation or spec.activation, width_multiplier=width)


def _fresh_teacher(backbone: str, weights: str, head: str | None, frozen_stages: int | None) -> "TeacherSpec":
    from training.networks.teacher import TeacherSpec
    from training.networks.trunks import recipe_of

    recipe = recipe_of(backbone, weights)
    return TeacherSpec(
        backbone=backbone,
        frozen_stages=recipe.frozen_stages if frozen_stages is None else frozen_stages,
        mean=recipe.mean,
        std=recipe.std,
        head=head or recipe.head,
    )


def _teacher_to_learn_on(file: Path, number: int | None, dataset: "Dataset") -> "Checkpoint":
    from training.ensembles import one_of
    from training.teacher_files import load_network_file

    chosen = one_of(load_network_file(file), number)
    if chosen.kind != "teacher":
        raise InvalidValueError(
            "from", "a teacher", f"a {chosen.kind}", "kestrel-train distil --from learns on from it"
        )
    _require_modality(chosen.modality, dataset)
    return chosen.finished() if chosen.progress else chosen  # how far an unfinished run came joins its settings


def _require_modality(modality: "Modality", dataset: "Dataset") -> None:
    if dataset.modality not in (None, modality):
        raise InvalidValueError("from", f"a {dataset.modality} model, as the data is", modality, "name another")


def _start(
    settings: "RunSettings",
    threads: int | None,
    dataset: "Dataset",
    first_weights: "Change | None" = None,
    prepare: "Change | None" = None,
) -> None:
    import torch

    from training.processes import join_processes
    from training.run import train

    if threads is not None:
        torch.set_num_threads(threads)
    finished = train(settings, dataset, first_weights, prepare)
    if join_processes().first:
        typer.echo(f"wrote {finished}")
