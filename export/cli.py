"""The command `kestrel-export`. Heavy packages are imported inside, so `--help` is quick."""

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,  # errors that we foresee end as one line, see edge.startup
    rich_markup_mode=None,
)


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
    name: Annotated[str | None, typer.Option(help="Name in records and listings.")] = None,
    version: Annotated[str, typer.Option(help="Version of the model.")] = "1",
    long_side: Annotated[
        int | None, typer.Option(help="Default long side of the input; default: as in training.", min=32)
    ] = None,
    max_enlarge: Annotated[
        float | None, typer.Option(help="Enlarge small pictures at most so much; default: as in training.", min=1.0)
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.onnx.")] = False,
) -> None:
    """Write a trained student as one ONNX file that carries all it needs, with its card.

    Example: kestrel-export runs/student/student.pt my-model.onnx --validate data/val
    """
    from export.build import ExportSettings, export_model

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
        overwrite=overwrite,
    )
    for line in export_model(settings):
        print(line, file=sys.stderr)
