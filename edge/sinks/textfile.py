"""One text file or standard output, flushed after each piece, with its failures said in our words."""

import os
import sys
from pathlib import Path
from typing import TextIO

from edge.errors import OutputClosedError
from edge.sinks.sink import broken_off, unwritable


class TextOutput:
    """A file that is created at once, or standard output for None."""

    def __init__(self, path: Path | None, *, append: bool = False) -> None:
        """Create the file, and the folders above it.

        Raises:
            InvalidValueError: the file cannot be created.
        """
        self._path = path or Path("standard output")
        self._file: TextIO
        if path is None:
            self._file = sys.stdout
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a" if append else "w", encoding="utf-8", newline="")
        except OSError as error:
            raise unwritable(path, error) from None

    def put(self, text: str) -> None:
        """Write and flush.

        Raises:
            OutputClosedError: the reader of standard output went away.
            ProcessingError: the disk is full, or the file cannot be written for another reason.
        """
        try:
            self._file.write(text)
            self._file.flush()
        except BrokenPipeError:
            self._let_go_of_stdout()
            raise OutputClosedError("the reader of the output went away") from None
        except OSError as error:
            raise broken_off(self._path, error) from None

    def close(self) -> None:
        """Close the file; standard output stays open."""
        if self._file is sys.stdout:
            return
        try:
            self._file.close()
        except OSError as error:
            raise broken_off(self._path, error) from None

    def _let_go_of_stdout(self) -> None:
        """Point standard output nowhere, else Python complains of the broken pipe once more when it exits."""
        if self._file is sys.stdout:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
