"""What every kind of sink offers, and the one form of its errors."""

import contextlib
import sys
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from edge.errors import OF_THE_DISK, InvalidValueError, KestrelError, OutputClosedError, ProcessingError
from edge.records import Frame, Record


class Sink(Protocol):
    """Receives every record of a run in order: header, frames and events, summary.

    `warnings` says what had to be done differently than asked. What was written stays readable if the program dies.
    """

    warnings: list[str]

    def write(self, record: Record, frame: Frame | None) -> None:
        """Take one record; `frame` is given exactly with a FrameRecord.

        Raises:
            ProcessingError: the sink failed half-way, for example on a full disk; the text names the file.
        """

    def skip(self, frame: Frame) -> None:  # noqa: ARG002  # most sinks leave it at that
        """Take a frame that was not recognised (`--every`): only videos show it, with the last record's boxes."""
        return

    def idle(self) -> None:
        """Called a few times a second while nothing comes, where the sink has a thread of its own."""
        return

    def settle(self) -> None:
        """Before the summary, which alone follows: finish what may fail, so that the summary knows of it.

        Raises:
            ProcessingError: the sink failed.
        """
        return

    def close(self) -> None:
        """Finish the file; a second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close. Where the run has failed already, what fails now is a note of that: it is seldom the cause."""
        try:
            self.close()
        except KestrelError as failure:
            if not isinstance(error, KestrelError) or isinstance(error, OutputClosedError):
                raise
            error.add_note(str(failure))


def unwritable(path: Path, error: Exception) -> InvalidValueError | ProcessingError:
    """The error for an output that cannot be created: a ProcessingError where the place is right and the disk is not.

    A service is not started again after an InvalidValueError, but after a full disk it has to be.
    """
    if getattr(error, "errno", None) in OF_THE_DISK:
        return ProcessingError(f"{path} cannot be written: {reason(error)}; make room, or mend the disk")
    return InvalidValueError("output", "a place that can be written to", str(path), reason(error))


def broken_off(path: Path, error: Exception) -> ProcessingError:
    """The error for an output that failed half-way."""
    return ProcessingError(f"{path} could not be written further: {reason(error)}; what was written stays readable")


def reason(error: Exception) -> str:
    """The system's own words, without its repetition of the path."""
    return getattr(error, "strerror", None) or type(error).__name__


def say_at_once(text: str) -> None:
    """A warning to people without waiting for the summary: a live run may not end for months."""
    with contextlib.suppress(OSError, ValueError):
        print(f"warning: {text}\n", end="", file=sys.stderr, flush=True)
