"""How a run goes: one line of JSON an epoch, and the same figures for TensorBoard where asked for."""

import contextlib
import json
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import ProcessingError, UnusableInputError
from training.write_aside import write_aside

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Means = Mapping[str, float]


def append_metrics(path: Path, step: int, seconds: float, means: Means) -> None:
    """Write one line.

    Raises:
        ProcessingError: the disk is full or the folder cannot be written.
    """
    line = {"step": step, "seconds": round(seconds, 1), **{k: round(v, 5) for k, v in means.items()}}
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    except OSError as error:
        raise ProcessingError(f"{path} must be writable, got {error}; free some space, then resume") from None


def forget_after(path: Path, step: int) -> None:
    """Drop what a run that was cut off wrote after its last checkpoint, a torn line too: it will be written again."""
    if not path.is_file():
        return
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    kept = [line for line in lines if 0 < _step_of(line) <= step]
    if kept == lines:
        return
    write_aside(path, lambda file: file.write("".join(f"{line}\n" for line in kept).encode()))


def _step_of(line: str) -> int:
    """0 for what is no whole line of ours."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return 0


@contextlib.contextmanager
def tensorboard(folder: Path | None, step: int) -> Iterator["SummaryWriter | None"]:
    """A writer of event files in `folder` that goes on at `step`; None without a folder.

    Raises:
        UnusableInputError: TensorBoard is not installed.
    """
    if folder is None:
        yield None
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # TensorBoard's own, nothing that a user could mend
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UnusableInputError(
                f"--tensorboard must find the package tensorboard, got {error}; run: pip install tensorboard"
            ) from None
        writer = SummaryWriter(str(folder), purge_step=step)
    try:
        yield writer
    finally:
        writer.close()


def draw(writer: "SummaryWriter | None", step: int, means: Means) -> None:
    """One point on every curve; `share_heat` is drawn as `share/heat`."""
    if writer is not None:
        for name, value in means.items():
            group, _, rest = name.partition("_")
            tag = f"share/{rest}" if group == "share" else f"loss/{name}"
            writer.add_scalar(tag, value, step)
        writer.flush()
