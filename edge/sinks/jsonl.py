"""JSON Lines: every record one line of its own, written at once, so that a reader beside us sees it at once."""

import json
import math
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path

from edge.errors import InvalidValueError
from edge.records import Frame, Header, Record
from edge.sinks.sink import Sink, broken_off
from edge.sinks.textfile import TextOutput


@dataclass(frozen=True, slots=True)
class Rotation:
    """A new file begins before one grows past `max_mb`; of the old ones, `keep` stay as FILE.1 (newest), FILE.2, ..."""

    max_mb: float
    keep: int = 10

    def __post_init__(self) -> None:
        if not 0 < self.max_mb < math.inf:
            raise InvalidValueError("rotate_mb", "more than 0", self.max_mb)
        if self.keep < 1:
            raise InvalidValueError("keep", "at least 1", self.keep)

    @property
    def max_bytes(self) -> int:
        """The size in bytes."""
        return round(self.max_mb * 1_000_000)


class JsonLinesSink(Sink):
    """All records as JSON Lines (schema 1) into a file, or to standard output for None."""

    def __init__(
        self,
        path: Path | None,
        *,
        append: bool = False,
        fsync_s: float | None = None,
        rotation: Rotation | None = None,
    ) -> None:
        """Raises InvalidValueError where the file cannot be created, or is standard output with a rotation."""
        if path is None and rotation is not None:
            raise InvalidValueError("rotate_mb", "left out where records go to standard output", rotation.max_mb)
        self.warnings: list[str] = []
        self._path = path
        self._fsync_s = fsync_s
        self._rotation = rotation
        self._header: Header | None = None
        self._output = TextOutput(path, append=append, fsync_s=fsync_s)

    def write(self, record: Record, frame: Frame | None) -> None:  # noqa: ARG002
        """One line, in ASCII, so that any name of a file survives."""
        line = _line(record)
        if isinstance(record, Header):
            self._header = record
        if self._path is not None and self._rotation is not None:
            size_bytes = self._output.size_bytes
            if size_bytes and size_bytes + len(line) > self._rotation.max_bytes:
                self._rotate(self._path, self._rotation.keep, record)
        self._output.put(line)

    def idle(self) -> None:
        """Sync the disk where that is due."""
        self._output.idle()

    def close(self) -> None:
        """Close the file."""
        self._output.close()

    def _rotate(self, path: Path, keep: int, record: Record) -> None:
        """Begin a new file with the header again, so that each file stands alone."""
        self._output.close()
        try:
            for number in takewhile(lambda number: numbered(path, number).exists(), count(keep)):
                numbered(path, number).unlink()  # the last one, and those of a run that kept more
            for number in range(keep - 1, 0, -1):
                if numbered(path, number).exists():
                    numbered(path, number).replace(numbered(path, number + 1))
            path.replace(numbered(path, 1))
        except OSError as error:
            raise broken_off(path, error) from None
        self._output = TextOutput(path, append=True, fsync_s=self._fsync_s)
        if self._header is not None and not isinstance(record, Header):
            self._output.put(_line(self._header))


def numbered(path: Path, number: int) -> Path:
    """`records.jsonl.3` of `records.jsonl`."""
    return path.with_name(f"{path.name}.{number}")


def _line(record: Record) -> str:
    return json.dumps(record.to_json(), allow_nan=False) + "\n"
