"""The command `kestrel-export`. Heavy packages are imported inside, so `--help` is quick."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from edge.contract import LONG_SIDES, MOST_ENLARGE
from edge.errors import InvalidValueError, UnusableInputError
from edge.options import MAX_SIDE_PX, parse_size
from edge.records import SizeWH

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,  # errors that we foresee end as one line, see edge.startup
    rich_markup_mode=None,
)


class CalibrationRule(StrEnum):
    """Rules that `export.ranges` knows."""

    percentile = "percentile"
    entropy = "entropy"
    minmax = "minmax"


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(help="Student that kestrel-train wrote.", metavar="CHECKPOINT")],
    out: Annotated[Path, typer.Argument(help="Model file to write; its card goes beside it.", metavar="OUT.onnx")],
    validate: Annotated[
        Path | None,
        typer.Option(help="Labelled folder: fits threshold and presence, measures the model.", metavar="DATASET"),
    ] = None,
    also: Annotated[
        list[Path] | None, typer.Option(help="Further labelled folders to measure it on.", metavar="DATASET")
    ] = None,
    data_card: Annotated[
        Path | None, typer.Option(help="TOML with intended use, data and licences.", metavar="FILE")
    ] = None,
    show: Annotated[
        list[Path] | None,
        typer.Option(help="Pictures to show in the card, with what the model says of them; mind their licence."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name in records and listings.")] = None,
    version: Annotated[str, typer.Option(help="Version of the model.")] = "1",
    long_side: Annotated[
        int | None,
        typer.Option(
            help="Default long side of the input in pixels.  [default: as in training]",
            min=LONG_SIDES[0],
            max=LONG_SIDES[1],
        ),
    ] = None,
    max_enlarge: Annotated[
        float | None,
        typer.Option(
            help="Enlarge small pictures at most so much.  [default: as in training]", min=1.0, max=MOST_ENLARGE
        ),
    ] = None,
    second_look: Annotated[
        float | None,
        typer.Option(
            help="Look twice at each picture, the second time at this share of the size (0.545 suits): fewer false "
            "alarms, for about 1.45 times the time; 0: one look.  [default: as CHECKPOINT says, else 0]",
        ),
    ] = None,
    closer_look: Annotated[
        float | None,
        typer.Option(
            help="Where people turn out to be many and tiny, look once more at this multiple of the size (1.8 suits). "
            "Such a frame takes 3 to 4 times as long; 0: never.  [default: as CHECKPOINT says, else 0]",
        ),
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="What listings call its size: small, nano, ...", metavar="WORD")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace OUT.onnx, its card and pictures, and other forms.")
    ] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Write OUT-int8.onnx, too, if it is worth it.")] = False,
    calibrate: Annotated[
        str | None,
        typer.Option(
            help="At least 200 real frames, none of --validate or --also: a labelled folder, pictures or recordings.",
            metavar="DATASET|VIDEO",
        ),
    ] = None,
    calibration: Annotated[
        CalibrationRule | None, typer.Option(help="How INT8's ranges are chosen.  [default: percentile]")
    ] = None,
    allow_drop: Annotated[
        float | None, typer.Option(help="AP50 that INT8 may lose.  [default: 0.01]", min=0.0, max=1.0)
    ] = None,
    static: Annotated[
        str | None,
        typer.Option(
            help="Write OUT-WxH.onnx, too, for compilers that want a fixed size: one picture of WxH.", metavar="WxH"
        ),
    ] = None,
    raw_head: Annotated[
        bool,
        typer.Option(
            "--raw-head", help="Write OUT-raw-head.onnx, too: float picture in, head maps out; see edge/raw_head.py."
        ),
    ] = False,
    allow_slower: Annotated[
        float | None, typer.Option(help="Share of FP32's time that INT8 may take.  [default: 0.75]", min=0.0)
    ] = None,
) -> None:
    """Write a trained student as one ONNX file that carries all it needs, with its card.

    Example: kestrel-export student.pt my-model.onnx --validate data/rgb-val --int8 --calibrate data/rgb-train
    """
    if int8 and not calibrate:
        raise UnusableInputError("--int8 must come with --calibrate, got none; name a labelled folder or a recording")
    of_int8 = (("calibrate", calibrate), ("calibration", calibration), ("allow-drop", allow_drop))
    for option, given in (*of_int8, ("allow-slower", allow_slower)):
        if given is not None and not int8:
            raise UnusableInputError(f"--{option} must come with --int8, got it alone; add --int8")
    fixed_wh = _fixed_size(static)
    from export.build import ExportSettings, export_model
    from export.int8 import Int8Settings
    from export.proof import LARGEST_DROP, LARGEST_TIME_RATIO, Gate
    from export.static import OtherForm

    gate = Gate(
        LARGEST_DROP if allow_drop is None else allow_drop, LARGEST_TIME_RATIO if allow_slower is None else allow_slower
    )
    rule = calibration or CalibrationRule.percentile
    wanted = Int8Settings(calibrate or "", rule.value, gate=gate)
    settings = ExportSettings(
        checkpoint=checkpoint,
        out=out,
        validate=validate,
        also=tuple(also or ()),
        data_card=data_card,
        name=name or out.stem,
        version=version,
        long_side=long_side,
        max_enlarge=max_enlarge,
        second_look=second_look,
        closer_look=closer_look,
        size=size,
        overwrite=overwrite,
        int8=wanted if int8 else None,
        show=tuple(show or ()),
        other=None if fixed_wh is None and not raw_head else OtherForm(fixed_wh, raw_head),
    )
    for line in export_model(settings):
        print(line, file=sys.stderr)


def _fixed_size(static: str | None) -> SizeWH | None:
    try:
        return parse_size(static)
    except InvalidValueError:
        rule = f"WxH with sides of 1 to {MAX_SIDE_PX} px"
        raise InvalidValueError("--static", rule, static, "for example 640x512") from None
