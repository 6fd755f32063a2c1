"""The files that Kestrel wrote into a folder: a budget for them, and room that is left on the disk.

A list beside them, `.kestrel-files`, says which they are, also to the next run. What is not on it is never touched.
"""

import contextlib
import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from edge.errors import InvalidValueError
from edge.records import Frame
from edge.results import LIST_NAME
from edge.sinks.sink import unwritable
from edge.whole_file import write_whole

_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Budget:
    """`max_mb` for all our files together, None without bound; `min_free_mb` of the disk stay free."""

    name: str = "max_mb"  # of the option, for its errors
    max_mb: float | None = None
    min_free_mb: float = 200.0

    def __post_init__(self) -> None:
        if self.max_mb is not None and not self.max_mb > 0:
            raise InvalidValueError(self.name, "more than 0", self.max_mb)
        if not self.min_free_mb >= 0:
            raise InvalidValueError("min_free_mb", "at least 0", self.min_free_mb)

    def share(self, sources: int) -> "Budget":
        """An equal part for each of several sources, which write at the same time into folders of their own."""
        return self if self.max_mb is None else replace(self, max_mb=self.max_mb / sources)


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    size: int | None  # None: it is being written, or whoever wrote it was killed


class OwnFiles:
    """Our files in one folder, oldest first."""

    def __init__(self, folder: Path, budget: Budget) -> None:
        """Raises InvalidValueError where the folder cannot be created or its list not be written, and ProcessingError
        where that is the disk's fault."""
        self.folder = folder
        self._budget = budget
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._entries = _read(folder / LIST_NAME)
            self._write()
        except OSError as error:
            raise unwritable(folder, error) from None

    def begin(self, kind: str, moment: str) -> Path:
        """The path of a new file, `<kind>-<moment>.mp4`. Raises OSError."""
        stem = f"{kind}-{moment}"
        names = (f"{stem}.mp4", *(f"{stem}-{number}.mp4" for number in range(2, 1000)))
        taken = {entry.name for entry in self._entries}
        name = next(name for name in names if name not in taken and not (self.folder / name).exists())
        self._entries.append(_Entry(name, None))
        self._write()
        return self.folder / name

    def finish(self, path: Path) -> None:
        """The file is complete, or was not kept. Raises OSError."""
        size = path.stat().st_size if path.exists() else None
        others = [entry for entry in self._entries if entry.name != path.name]
        self._entries = others if size is None else [*others, _Entry(path.name, size)]
        self._write()

    def make_room(self, writing: Path | None = None) -> str | None:
        """Delete our oldest files until all fit into the budget, but for the one that is being written.

        Why there is no room all the same; None where there is. Raises OSError.
        """
        free_mb = shutil.disk_usage(self.folder).free / _MB
        if self._budget.max_mb is not None:
            self._delete_beyond(self._budget.max_mb * _MB, writing)
            if writing is not None and writing.exists() and writing.stat().st_size >= self._budget.max_mb * _MB:
                return f"it alone fills the {self._budget.max_mb:g} MB that are allowed"
        if free_mb < self._budget.min_free_mb:
            return f"{free_mb:.0f} MB are free on the disk of {self.folder}, less than {self._budget.min_free_mb:g}"
        return None

    def _delete_beyond(self, bytes_allowed: float, writing: Path | None) -> None:
        sizes = {entry.name: _size(self.folder / entry.name) for entry in self._entries}
        total = sum(sizes.values())
        kept = list(self._entries)
        for entry in self._entries:
            if total < bytes_allowed:
                break
            if writing is not None and entry.name == writing.name:
                continue
            path = self.folder / entry.name
            if entry.size in (None, sizes[entry.name]) and not path.is_symlink():  # else somebody put another there
                path.unlink(missing_ok=True)
                total -= sizes[entry.name]
            kept.remove(entry)
        if kept != self._entries:
            self._entries = kept
            self._write()

    def _write(self) -> None:
        lines = [f"{entry.name}\t{'' if entry.size is None else entry.size}\n" for entry in self._entries]
        write_whole(self.folder / LIST_NAME, "".join(lines))


def moment_of(frame: Frame, time_s: float) -> str:
    """The UTC time of a captured frame, the time in the source of any other, as a part of a file's name."""
    if frame.captured_at is not None:
        return f"{datetime.fromisoformat(frame.captured_at).astimezone(UTC):%Y%m%dT%H%M%SZ}"
    minutes, seconds = divmod(int(max(0.0, time_s)), 60)
    return f"{minutes // 60:02d}h{minutes % 60:02d}m{seconds:02d}s"


def _read(path: Path) -> list[_Entry]:
    """What is on the list and still there; a name that leads out of the folder is none of ours."""
    entries: list[_Entry] = []
    if not path.is_file():
        return entries
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, size = line.partition("\t")
        if Path(name).name == name and name not in ("", ".", "..") and (path.parent / name).is_file():
            entries.append(_Entry(name, int(size) if size.isascii() and size.isdigit() else None))
    return entries


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.lstat().st_size
    return 0
