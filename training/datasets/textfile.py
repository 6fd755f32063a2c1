"""Annotation files of one box a line, as VisDrone and YOLO have them."""

import math
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.sources.pictures import PICTURE_SUFFIXES
from training.datasets.records import DatasetError


@dataclass(frozen=True, slots=True)
class Line:
    """One line that is not blank, cut into its fields."""

    place: str  # file and line, for error messages
    fields: tuple[str, ...]

    def number(self, position: int, name: str) -> float:
        """The field as a finite number."""
        try:
            value = float(self.fields[position])
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise DatasetError(f"{self.place}: {name} must be a number, got {self.fields[position]!r}")
        return value

    def choice(self, position: int, name: str, allowed: range) -> int:
        """The field as a whole number in `allowed`."""
        value = self.number(position, name)
        if value not in allowed:
            raise DatasetError(
                f"{self.place}: {name} must be a whole number in {allowed.start}..{allowed.stop - 1}, "
                f"got {self.fields[position]!r}"
            )
        return int(value)


def read_lines(file: Path, separator: str | None) -> Iterator[Line]:
    """The lines of a UTF-8 text file; `separator` None means white space.

    Raises:
        DatasetError: unreadable, or not text.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{file} must be a readable text file; {error}") from None
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield Line(f"{file}:{number}", tuple(field.strip() for field in line.strip().split(separator)))


def list_pictures(folder: Path) -> list[Path]:
    """Picture files below a folder, sorted by path.

    Raises:
        DatasetError: no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder} must be a folder with pictures; it is missing")
    pictures = files_below(folder, PICTURE_SUFFIXES)
    if not pictures:
        raise DatasetError(f"{folder} must hold at least one picture ({', '.join(sorted(PICTURE_SUFFIXES))}), got none")
    return pictures


def files_below(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Files with these endings (lower case), sorted by path; linked folders are entered, hidden files do not count."""
    files: list[Path] = []
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".") and not _leads_back(Path(place, name))]
        visible = (Path(place, name) for name in names if not name.startswith("."))
        files += [path for path in visible if path.suffix.lower() in suffixes and path.is_file()]
    return sorted(files)


def _leads_back(folder: Path) -> bool:
    """Whether it is a link to a folder that it lies in: its files would be found again and again."""
    return folder.is_symlink() and folder.resolve() in {above.resolve() for above in folder.parents}
