"""There is the old file or the new one, never half of one."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from edge.errors import ProcessingError


def write_aside(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a file beside `path`, then rename it: there is the old file or the new one, never half of one.

    Raises:
        ProcessingError: the disk is full or the folder cannot be written.
    """
    aside = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())  # a full disk may be told only now; and the rename must not overtake the bytes
        aside.replace(path)
    except (OSError, RuntimeError) as error:  # torch's writer turns a full disk into a RuntimeError
        with contextlib.suppress(OSError):
            aside.unlink()
        raise ProcessingError(f"{path} must be writable, got {error}; free some space, then go on") from None
