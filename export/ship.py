"""Make a folder of models one that can be verified: reference outputs and checksums.

    python -m export.ship edge/models

Run it where the models are trusted, whenever one of them, or a picture `reference-rgb-*.png` or
`reference-thermal-*.png` beside them, has changed. `kestrel models --verify` then proves elsewhere that nothing
differs.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from edge.errors import UnusableInputError
from edge.recognizer import Recognizer
from edge.startup import run, run_app
from edge.verification import write_manifest, write_references

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def ship(
    folder: Annotated[Path, typer.Argument(help="Folder with models and reference pictures.", metavar="FOLDER")],
) -> None:
    """Write the reference outputs of every model in FOLDER, then SHA256SUMS.

    Example: python -m export.ship edge/models
    """
    print(make_verifiable(folder))


def make_verifiable(folder: Path) -> Path:
    """Write the reference outputs of every model and `SHA256SUMS`; returns the latter.

    Raises:
        UnusableInputError: no model, or no reference picture of a model's modality in which it finds somebody.
    """
    models = sorted(folder.glob("*.onnx"))
    if not models:
        raise UnusableInputError(f"FOLDER must hold models, got none in {str(folder)!r}; export one first")
    files = []
    for model in models:
        modality = Recognizer(model).metadata.modality
        frames = sorted(folder.glob(f"reference-{modality}-*.png"))
        if not frames:
            raise UnusableInputError(
                f"FOLDER must hold reference-{modality}-*.png for {model.name}, got none; add some"
            )
        files += [model, write_references(model, frames), *frames]
    return write_manifest(folder, set(files))


def main() -> None:
    """Entry point; never returns."""
    sys.exit(run("export.ship", lambda: run_app("export.ship", app), extra="export"))


if __name__ == "__main__":
    main()
