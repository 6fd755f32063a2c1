"""One text file or standard output, flushed after each piece, with its failures said in our words."""

import contextlib
import os
import sys
from pathlib import Path
from typing import NoReturn, TextIO

from edge.errors import KestrelError, OutputClosedError
from edge.sinks.sink import broken_off, unwritable


class TextOutput:
    """A file that is created at once, or standard output for None."""

    def __init__(self, path: Path | None, *, append: bool = False) -> None:
        """Create the file, and the folders above it.

        Raises:
            InvalidValueError: the file cannot be created.
        """
        self._path = path or Path("standard output")
        self._failure: KestrelError | None = None
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
        if self._failure is not None:
            raise self._failure
        try:
            self._file.write(text)
            self._file.flush()
        except BrokenPipeError:
            self._fail(OutputClosedError("the reader of the output went away"))
        except OSError as error:
            self._fail(broken_off(self._path, error))

    def close(self) -> None:
        """Close the file; standard output stays open."""
        if self._file is sys.stdout:
            return
        try:
            self._file.close()
        except OSError as error:
            raise broken_off(self._path, error) from None

    def _fail(self, failure: KestrelError) -> NoReturn:
        """Let go of the output and say why; what Python still holds for it is lost, or it would complain at exit."""
        self._failure = failure
        if self._file is sys.stdout:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
        else:
            with contextlib.suppress(OSError):
                self._file.close()
        raise failure from None
