"""CSV for spreadsheets: one row a pedestrian, one row with empty boxes for a frame without."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from edge.records import Frame, FrameRecord, Record
from edge.sinks.sink import Sink
from edge.sinks.textfile import TextOutput

COLUMNS = ("seq", "name", "time_s", "verdict", "presence", "count", "x0", "y0", "x1", "y1", "score", "track")
FIRST_ROW = f"{','.join(COLUMNS)}\n"


class CsvSink(Sink):
    """Frames as rows, with the same rounding as the JSON Lines; other records have none."""

    def __init__(self, path: Path | None, *, append: bool = False, fsync_s: float | None = None) -> None:
        """Raises InvalidValueError where the file cannot be created. None is standard output."""
        self.warnings: list[str] = []
        self._output = TextOutput(path, append=append, fsync_s=fsync_s, first_line=FIRST_ROW)
        if not self._output.size_bytes:
            self._output.put(FIRST_ROW)

    def write(self, record: Record, frame: Frame | None) -> None:  # noqa: ARG002
        """The rows of one frame, in one piece."""
        if isinstance(record, FrameRecord):
            self._output.put(_as_csv(rows(record)))

    def idle(self) -> None:
        """Sync the disk where that is due."""
        self._output.idle()

    def close(self) -> None:
        """Close the file."""
        self._output.close()


def rows(record: FrameRecord) -> list[tuple[object, ...]]:
    """One row a pedestrian in the order of `COLUMNS`; None becomes an empty field."""
    line = record.to_json()
    start = tuple(line.get(column) for column in COLUMNS[:6])
    people = line["pedestrians"]
    if not people:
        return [(*start, *[None] * 6)]
    return [(*start, *person["box_xyxy"], person["score"], person["track"]) for person in people]


def _as_csv(lines: Sequence[tuple[object, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    # A file name that is no text would stop the run when it is encoded.
    return text.getvalue().encode("utf-8", "backslashreplace").decode("utf-8")
