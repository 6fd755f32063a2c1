"""`kestrel-train teacher` and `kestrel-train distil`: what they are told, turned into one RunSettings."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from training.run import RunSettings

DatasetArgument = Annotated[
    Path, typer.Argument(help="Labelled folder: COCO, VisDrone, YOLO or HIT-UAV.", metavar="DATASET")
]
OutOption = Annotated[Path, typer.Option(help="Folder for checkpoints and metrics.jsonl.", metavar="DIR")]
BackboneOption = Annotated[str, typer.Option(help="Any timm model with feature maps, or yolox_nano.", metavar="NAME")]
MinutesOption = Annotated[float, typer.Option(help="Train for so long; the schedule fits itself to it.", min=0)]
StepsOption = Annotated[int, typer.Option(help="Train for so many batches.", min=0)]
CropOption = Annotated[int, typer.Option(help="Side of the square training crops in pixels.", min=64)]
BatchOption = Annotated[int, typer.Option(help="Crops a batch.", min=1)]
RateOption = Annotated[float, typer.Option(help="Peak learning rate of AdamW.")]
FrozenOption = Annotated[
    int | None,
    typer.Option(help="Stages of the trunk that keep their weights; default: 2, or 0 without weights.", min=0),
]
SeedOption = Annotated[int, typer.Option(help="Same seed, same batches.")]
ThreadsOption = Annotated[int | None, typer.Option(help="CPU threads; default: all usable cores.", min=1)]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on from OUT/last.pt.")]
WEIGHTS_HELP = (
    "Where the trunk starts: pip (efficientnet_lite0, lite2), hub, none, or a FILE (yolox_nano: its ONNX file)"
)


def teacher(
    dataset: DatasetArgument,
    out: OutOption = Path("runs/teacher"),
    backbone: BackboneOption = "efficientnet_lite0",
    weights: Annotated[str, typer.Option(help=f"{WEIGHTS_HELP}.", metavar="WHERE")] = "pip",
    minutes: MinutesOption = 0.0,
    steps: StepsOption = 0,
    crop: CropOption = 320,
    batch_size: BatchOption = 8,
    learning_rate: RateOption = 1e-3,
    frozen_stages: FrozenOption = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = None,
    resume: ResumeOption = False,
) -> None:
    """Train a teacher on labels. Example: kestrel-train teacher data/train --minutes 60 --out runs/teacher"""
    from training.engine import TrainSettings
    from training.networks.teacher import TeacherSpec
    from training.networks.trunks import recipe_of
    from training.run import RunSettings

    recipe = recipe_of(backbone, weights)
    _start(
        RunSettings(
            kind="teacher",
            dataset=dataset,
            out=out,
            spec=TeacherSpec(
                backbone=backbone,
                frozen_stages=recipe.frozen_stages if frozen_stages is None else frozen_stages,
                mean=recipe.mean,
                std=recipe.std,
            ).to_json(),
            train=TrainSettings(steps, minutes, batch_size, learning_rate, seed=seed),
            weights=weights,
            resume=resume,
            crop_px=crop,
        ),
        threads,
    )


def distil(
    dataset: DatasetArgument,
    teacher: Annotated[
        Path | None,
        typer.Option(help="Teacher's checkpoint; without it the student learns from labels alone.", metavar="FILE"),
    ] = None,
    out: OutOption = Path("runs/student"),
    backbone: BackboneOption = "efficientnet_lite0",
    stride: Annotated[int, typer.Option(help="Of the detection map: 4 for small people, 8 for speed.")] = 4,
    weights: Annotated[
        str, typer.Option(help=f"{WEIGHTS_HELP}, or teacher (its trunk, if the backbone is the same).", metavar="WHERE")
    ] = "pip",
    temperature: Annotated[float, typer.Option(help="Of the soft targets.")] = 2.0,
    soft: Annotated[float, typer.Option(help="Weight of the soft targets; 0: none.")] = 0.5,
    soft_box: Annotated[
        float, typer.Option(help="Weight of the teacher's boxes where they are better; 0: none.")
    ] = 2.0,
    minutes: MinutesOption = 0.0,
    steps: StepsOption = 0,
    crop: CropOption = 320,
    batch_size: BatchOption = 8,
    learning_rate: RateOption = 1e-3,
    frozen_stages: FrozenOption = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = None,
    resume: ResumeOption = False,
) -> None:
    """Distil a student. Example: kestrel-train distil data/train --teacher runs/teacher/teacher.pt --minutes 120"""
    from training.distill import LossSettings
    from training.engine import TrainSettings
    from training.networks.student import StudentSpec
    from training.networks.trunks import recipe_of
    from training.run import RunSettings

    recipe = recipe_of(backbone, weights)
    _start(
        RunSettings(
            kind="student",
            dataset=dataset,
            out=out,
            spec=StudentSpec(
                backbone=backbone,
                stride=stride,
                coarsest=recipe.coarsest,
                frozen_stages=recipe.frozen_stages if frozen_stages is None else frozen_stages,
                mean=recipe.mean,
                std=recipe.std,
            ).to_json(),
            train=TrainSettings(steps, minutes, batch_size, learning_rate, seed=seed),
            losses=LossSettings(soft=soft, soft_box=soft_box, temperature=temperature),
            teacher=teacher,
            weights=weights,
            resume=resume,
            crop_px=crop,
        ),
        threads,
    )


def _start(settings: "RunSettings", threads: int | None) -> None:
    import torch

    from training.run import train

    if threads is not None:
        torch.set_num_threads(threads)
    typer.echo(f"wrote {train(settings)}")
