"""JSON Lines: every record one line of its own, flushed, so that a reader beside us sees it at once."""

import json
from pathlib import Path

from edge.records import Frame, Record
from edge.sinks.sink import Sink
from edge.sinks.textfile import TextOutput


class JsonLinesSink(Sink):
    """All records as JSON Lines (schema 1) into a file, or to standard output for None."""

    def __init__(self, path: Path | None, *, append: bool = False) -> None:
        """Raises InvalidValueError where the file cannot be created."""
        self.warnings: list[str] = []
        self._output = TextOutput(path, append=append)

    def write(self, record: Record, frame: Frame | None) -> None:  # noqa: ARG002
        """One line, in ASCII, so that any name of a file survives."""
        self._output.put(json.dumps(record.to_json(), allow_nan=False) + "\n")

    def skip(self, frame: Frame) -> None:
        """Skipped frames have no line."""

    def close(self) -> None:
        """Close the file."""
        self._output.close()
