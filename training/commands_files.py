"""`kestrel-train average` and `export-teacher`: new files of networks that are trained."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from edge.errors import UnusableInputError


def average(
    checkpoints: Annotated[
        list[Path],
        typer.Argument(help="Two or more checkpoints of runs that learnt on from one start.", metavar="CHECKPOINT..."),
    ],
    out: Annotated[Path, typer.Option(help="Checkpoint to write.", metavar="FILE.pt")],
    share: Annotated[
        float | None,
        typer.Option(help="Share of the last CHECKPOINT; the others have the same each.  [default: all the same]"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
) -> None:
    """Average the weights of several runs: as fast as one of them, and often better on other places.

    Example: kestrel-train average runs/before/student.pt runs/after/student.pt --out runs/mean.pt
    """
    from training.averaging import average as mean_of
    from training.checkpoints import save_checkpoint
    from training.teacher_files import load_network_file

    if not overwrite and out.exists():
        raise UnusableInputError(f"--out must be a new file, got {str(out)!r}; add --overwrite")
    save_checkpoint(mean_of([load_network_file(file) for file in checkpoints], share), out)
    typer.echo(f"wrote {out}; kestrel-train evaluate tells whether it is better than each")


def export_teacher(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of a finished teacher.", metavar="CHECKPOINT")],
    out: Annotated[Path, typer.Argument(help="File to write; its card lies beside it.", metavar="OUT.safetensors")],
    others: Annotated[
        list[Path] | None,
        typer.Option(
            "--with",
            help="Another network that teaches along, whose chances and boxes are averaged with CHECKPOINT's; may be "
            "repeated.",
            metavar="CHECKPOINT",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the teacher.  [default: the file's]")] = None,
    data_card: Annotated[
        Path | None, typer.Option(help="TOML file with intended use, data sets and licences.", metavar="FILE")
    ] = None,
    metrics: Annotated[
        list[Path] | None,
        typer.Option(help="What kestrel-train evaluate --json wrote of it; may be repeated.", metavar="JSON"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file and its card.")] = False,
) -> None:
    """Write a teacher to give away: at most 15 MB of FP16 safetensors, and a card.

    Example: kestrel-train export-teacher runs/a/teacher.pt teacher.safetensors --with runs/b/teacher.pt
    """
    from training.data_card import read_data_card
    from training.ensembles import join
    from training.teacher_card import teacher_card
    from training.teacher_files import SUFFIX, about_checkpoint, load_network_file, write_teacher
    from training.write_aside import write_aside

    card = out.with_suffix(".md")
    if out.suffix != SUFFIX:
        raise UnusableInputError(f"OUT must end in {SUFFIX}, got {out.name!r}; name a file like teacher{SUFFIX}")
    if not overwrite and (out.exists() or card.exists()):
        raise UnusableInputError(f"OUT and its card must be new files, got {str(out)!r}; add --overwrite")
    network = join([load_network_file(file) for file in (checkpoint, *(others or ()))])
    stated = read_data_card(data_card)
    figures = {file.stem: _figures(file) for file in metrics or ()}
    if len(figures) < len(metrics or ()):
        raise UnusableInputError(
            "--metrics must be files of different names, which the card calls them by, got one twice"
        )
    about = about_checkpoint(network, name or out.stem, figures, stated)
    size_mb = write_teacher(network, about, out) / 1e6
    write_aside(card, lambda file: file.write(teacher_card(about, out.name, size_mb).encode()))
    typer.echo(f"wrote {out} ({size_mb:.1f} MB) and {card.name}")


def _figures(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnusableInputError(f"--metrics must be what evaluate --json wrote, got {file.name}: {error}") from None
    if not isinstance(values, dict) or "AP50" not in values:
        raise UnusableInputError(f"--metrics must be what evaluate --json wrote, got no AP50 in {file.name}")
    return values
