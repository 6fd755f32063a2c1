"""`kestrel-train evaluate MODEL.onnx DATASET`: the figures of a model file, measured through the runtime that flies."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.errors import UnusableInputError

if TYPE_CHECKING:
    from training.evaluation import Evaluation


def evaluate(
    model: Annotated[str, typer.Argument(help="Model file, or the name of a shipped model.", metavar="MODEL.onnx")],
    dataset: Annotated[
        Path, typer.Argument(help="Labelled folder: COCO, VisDrone, YOLO or HIT-UAV.", metavar="DATASET")
    ],
    split: Annotated[str | None, typer.Option(help="Which split, where the folder holds several.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write curves and contact sheets there.", metavar="DIR")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures there; - for standard output.", metavar="FILE")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first N pictures.", min=1, metavar="N")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: usable cores, at most 4.", min=1)] = None,
) -> None:
    """Print how well a model finds the pedestrians of a labelled folder."""
    from edge.model_files import resolve
    from training.datasets import read_dataset
    from training.evaluation import evaluate_model
    from training.report import table

    pictures = read_dataset(dataset, split)
    if limit is not None:
        pictures = dataclasses.replace(pictures, pictures=pictures.pictures[:limit])
    _check_outputs(report, json_file)
    evaluation = evaluate_model(resolve(model), pictures, threads=threads)
    to_stdout = json_file == Path("-")
    if json_file is not None:
        _write_json(evaluation.to_json(), json_file)
    if not to_stdout:
        typer.echo(table(evaluation))
    for warning in evaluation.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if report is not None:
        _write_report(evaluation, report)


def _write_report(evaluation: "Evaluation", folder: Path) -> None:
    from training.report import write_report

    for file in write_report(evaluation, folder):
        typer.echo(f"wrote {file}", err=True)


def _check_outputs(report: Path | None, json_file: Path | None) -> None:
    """Before the pictures are judged, so that nobody waits for figures that cannot be written."""
    if json_file is not None and (not json_file.parent.is_dir() or json_file.is_dir()):
        raise UnusableInputError(f"--json must be a file in a folder that exists, got {str(json_file)!r}")
    if report is None:
        return
    try:
        report.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnusableInputError(
            f"--report must be a folder that can be made, got {str(report)!r}; {error.strerror}"
        ) from None


def _write_json(figures: dict[str, Any], file: Path) -> None:
    text = json.dumps(figures, indent=1) + "\n"
    if file == Path("-"):
        sys.stdout.write(text)
        return
    try:
        file.write_text(text)
    except OSError as error:
        raise UnusableInputError(
            f"--json must be a file that can be written, got {str(file)!r}; {error.strerror}"
        ) from None
