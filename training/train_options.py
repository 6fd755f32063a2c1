"""The options that all commands share in which a network learns: one dataclass, which any command can take.

@with_options
def teacher(dataset: DatasetArgument, options: LearnOptions, backbone: BackboneOption = "efficientnet_lite0"): ...
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.contract import LONG_SIDES
from edge.errors import InvalidValueError

if TYPE_CHECKING:
    from training.augment import ViewSettings
    from training.engine import TrainSettings

DatasetArgument = Annotated[
    Path, typer.Argument(help="Labelled folder: COCO, VisDrone, YOLO or HIT-UAV.", metavar="DATASET")
]
OutOption = Annotated[Path, typer.Option(help="Folder for checkpoints and metrics.jsonl.", metavar="DIR")]
BackboneOption = Annotated[
    str, typer.Option(help="Any timm model with feature maps, yolox_nano or nanodet_m.", metavar="NAME")
]
FrozenOption = Annotated[
    int | None,
    typer.Option(help="Stages of the trunk that keep their weights; default: 2, or 0 without weights.", min=0),
]
HeadOption = Annotated[
    str | None,
    typer.Option(help="dense, or a detector's own: yolox, nanodet.  [default: its own at stride 4, else dense]"),
]
WEIGHTS_HELP = (
    "Where the trunk starts: pip (efficientnet_lite0, lite2), hub, none, or a FILE (of yolox_nano, nanodet_m: ONNX)"
)


@dataclass(frozen=True, slots=True)
class LearnOptions:
    """How long and how fast, on what machine; the same for every command that trains."""

    minutes: Annotated[float, typer.Option(help="Train for so long; the schedule fits itself to it.", min=0)] = 0.0
    steps: Annotated[int, typer.Option(help="Train for so many batches.", min=0)] = 0
    crop: Annotated[int, typer.Option(help="Side of the square training crops in pixels.", min=64)] = 320
    batch_size: Annotated[int, typer.Option(help="Crops a batch, in each process.", min=1)] = 8
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate of AdamW.")] = 1e-3
    seed: Annotated[int, typer.Option(help="Same seed, same batches.")] = 0
    precision: Annotated[str, typer.Option(help="bf16, fp32, or auto: bf16 where the machine is fast at it.")] = "auto"
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: all usable cores.", min=1)] = None
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write curves to OUT/tensorboard, too.")] = False

    def train_settings(self, weights: str) -> "TrainSettings":
        """What of it the loop must know; a trunk that starts with no weights learns as fast as the head.

        Raises:
            InvalidValueError: neither steps nor minutes, or a value out of its range.
        """
        from training.engine import TrainSettings

        settings = TrainSettings(
            self.steps,
            self.minutes,
            self.batch_size,
            self.learning_rate,
            seed=self.seed,
            precision=self.precision,  # type: ignore[arg-type]  # checked there
        )
        return replace(settings, trunk_factor=1.0) if weights == "none" else settings


ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in OUT.")]


@dataclass(frozen=True, slots=True)
class ViewOptions:
    """Which views of the pictures are learnt from; None: the default of the data's modality."""

    long_side: Annotated[
        int | None,
        typer.Option(
            help="Long side in pixels at which pictures will be recognised.  [default: 960, or --from's]",
            min=LONG_SIDES[0],
            max=LONG_SIDES[1],
        ),
    ] = None
    scale: Annotated[
        tuple[float, float] | None,
        typer.Option(
            help="Smallest and largest view, relative to that.  [default: 0.35 1.5, thermal 0.6 1.4]",
            metavar="LOW HIGH",
        ),
    ] = None
    empty_weight: Annotated[
        float | None,
        typer.Option(help="How much oftener pictures without people are drawn.  [default: 2, thermal 1]"),
    ] = None
    emphasise: Annotated[
        list[str] | None,
        typer.Option(help="Draw pictures of this source so much oftener; may be repeated.", metavar="SOURCE=FACTOR"),
    ] = None

    def asked(self) -> "ViewSettings":
        """The same, as training knows it.

        Raises:
            InvalidValueError: a value out of its range, or not SOURCE=FACTOR.
        """
        from training.augment import ViewSettings

        return ViewSettings(
            self.long_side, self.scale, self.empty_weight, dict(_emphasis(said) for said in self.emphasise or ())
        )


def _emphasis(said: str) -> tuple[str, float]:
    source, _, factor = said.rpartition("=")
    try:
        return source, float(factor)
    except ValueError:
        raise InvalidValueError("emphasise", "SOURCE=FACTOR", said, "write one like tinyperson=1.7") from None
