"""`kestrel-train evaluate MODEL DATASET`: the figures of a model, measured through the runtime that flies."""

import dataclasses
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.errors import UnusableInputError

if TYPE_CHECKING:
    from training.candidates import Candidate
    from training.datasets import Dataset
    from training.evaluation import Evaluation


def evaluate(
    model: Annotated[
        str,
        typer.Argument(help="Model file, name of a shipped model, checkpoint or teacher's file.", metavar="MODEL"),
    ],
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
    robustness: Annotated[
        bool, typer.Option("--robustness", help="Judge it under eight corruptions as well; nine times as long.")
    ] = False,
    looks: Annotated[
        bool, typer.Option("--looks", help="Judge it on inverted, iron and rainbow copies as well (thermal).")
    ] = False,
    tta: Annotated[
        bool,
        typer.Option(
            "--tta", help="Average a checkpoint over scales, flips and its networks; it takes several times as long."
        ),
    ] = False,
    train_set: Annotated[
        Path | None,
        typer.Option(
            help="Warn of pictures that nearly repeat one of this training set; default: the model's own, where it "
            "lies beside DATASET.",
            metavar="DATASET",
        ),
    ] = None,
) -> None:
    """Print how well a model finds the pedestrians of a labelled folder.

    Example: kestrel-train evaluate rgb data/rgb-val --report report/ --robustness --looks --train-set data/rgb-train
    """
    from training.candidates import open_candidate
    from training.corruptions import CORRUPTIONS, LOOKS
    from training.datasets import DatasetError, read_dataset, require_decodable
    from training.evaluation import evaluate as judge_all
    from training.evaluation import modality_warning
    from training.history import learnt_warning
    from training.report import table, variants_table, write_report, write_variants
    from training.robustness import measure_variants

    pictures = read_dataset(dataset, split)
    if limit is not None:
        pictures = dataclasses.replace(pictures, pictures=pictures.pictures[:limit])
    candidate = open_candidate(model, threads=threads, tta=tta)
    _check_outputs(report, json_file)
    require_decodable(pictures.pictures)
    training_set = _training_set(train_set, candidate, dataset, pictures.name)
    warnings = (
        *pictures.warnings,
        *modality_warning(pictures, candidate.modality),
        *learnt_warning(candidate.trained_on, (pictures.name,)),
        *_fit_warning(candidate, pictures),
    )
    pictures = dataclasses.replace(pictures, warnings=warnings)
    evaluation = judge_all(candidate.recognise, pictures, threshold=candidate.threshold, model=candidate.name)
    quiet = json_file == Path("-")
    figures = evaluation.to_json()
    if not quiet:
        typer.echo(table(evaluation))
    for warning in evaluation.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if report is not None:
        _say_written(write_report(evaluation, report))
    if training_set is not None:
        try:
            figures["near_duplicates"] = _near_duplicates(evaluation, training_set, report)
        except DatasetError as error:  # a picture that nobody named is damaged; one that was named was looked at before
            _say_not_looked(error)
    for stem, variants in (("robustness", CORRUPTIONS if robustness else ()), ("looks", LOOKS if looks else ())):
        if variants:
            rows = measure_variants(candidate.recognise, evaluation, variants)
            figures[stem] = [row.to_json() for row in rows]
            if not quiet:
                typer.echo(f"\n{variants_table(rows, evaluation)}")
            if report is not None:
                _say_written(write_variants(rows, evaluation, report, stem))
    if json_file is not None:
        _write_json(figures, json_file)


def _training_set(told: Path | None, candidate: "Candidate", dataset: Path, judged: str) -> "Dataset | None":
    """The data set that is named, or those of the model's own that lie beside the one to judge on, or with it."""
    from training.datasets import DatasetError, find_by_name, join_datasets, read_dataset, require_decodable

    if told is not None:
        named = read_dataset(told, usual="train")
        require_decodable(named.pictures)
        return named
    folder = (dataset if dataset.is_dir() else dataset.parent).resolve()
    try:
        learnt = (find_by_name(folder.parent, name) for name in candidate.trained_on if name != judged)
        found = [one for one in learnt if one is not None]
        return join_datasets(found) if found else None
    except DatasetError as error:
        _say_not_looked(error)
        return None


def _say_not_looked(error: Exception) -> None:
    typer.echo(f"warning: did not look for pictures that nearly repeat those of training: {error}", err=True)


def _fit_warning(candidate: "Candidate", pictures: "Dataset") -> tuple[str, ...]:
    if candidate.fitted_to != pictures.name:
        return ()
    return (
        f"threshold and presence of {candidate.name} were fitted to {pictures.name}: what depends on them is "
        "cross-fitted in the model's card, and a little too good here",
    )


def _near_duplicates(evaluation: "Evaluation", training_set: "Dataset", report: Path | None) -> dict[str, Any]:
    from training.image_files import save_sheet
    from training.near_duplicates import find_near_duplicates
    from training.pair_sheet import pair_sheet

    found = find_near_duplicates(evaluation, training_set)
    if found.pairs or found.same_scene:
        typer.echo(f"warning: {found}", err=True)
    if report is not None and found.pairs:
        _say_written((save_sheet(pair_sheet(found), report / "near_duplicates.png"),))
    return found.to_json()


def _say_written(files: Iterable[Path]) -> None:
    for file in files:
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
