"""The files of a run, and whose they are: nothing but an earlier run's is replaced, and none of those is watched."""

import json
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from edge.errors import InvalidValueError

RECORDS, VIDEO, CHART, SUMMARY = "records.jsonl", "annotated.mp4", "timeline.png", "summary.json"
RESULTS = (RECORDS, VIDEO, CHART, SUMMARY)
PICTURES = "annotated"  # a folder
SEGMENT = "annotated"  # how the names of videos begin that are written in parts
LIST_NAME = ".kestrel-files"  # which parts, clips and pictures in its folder are ours, see sinks/own_files.py
FIRST_OF_RECORDS = b'{"record": "header"'
_KINDS = {"model": dict, "frames": int}  # of what is looked at in a summary


def read_summary(folder: Path) -> dict[str, Any] | None:
    """The summary of an earlier run; None where it has none, or one that is not ours."""
    with suppress(OSError, ValueError):
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        if isinstance(summary, dict) and not summary.keys().isdisjoint(("exit_reason", "outcomes")):
            whole = all(isinstance(summary.get(name), kind | None) for name, kind in _KINDS.items())
            return summary if whole else None
    return None


def has_foreign_summary(folder: Path) -> bool:
    """Whether a file of that name is no run's; one that cannot be read may be ours, spoilt by a power cut."""
    with suppress(OSError, ValueError):
        json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        return read_summary(folder) is None
    return False


def has_results(folder: Path) -> bool:
    """Whether an earlier run left its summary or its records in a folder."""
    return read_summary(folder) is not None or _are_records(folder / RECORDS)


def is_ours(folder: Path) -> bool:
    """Whether a run may take a folder for its own: it has results of an earlier one, or nothing of anybody else's."""
    if has_results(folder):
        return True
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    return names <= {VIDEO, CHART, LIST_NAME, *listed(folder)}


def listed(folder: Path) -> frozenset[str]:
    """Names of the parts and clips in a folder that a run wrote."""
    with suppress(OSError):
        lines = (folder / LIST_NAME).read_text(encoding="utf-8", errors="replace").splitlines()
        return frozenset(name for name in (line.partition("\t")[0] for line in lines) if Path(name).name == name)
    return frozenset()


def left_out(files: Iterable[Path]) -> list[Path]:
    """Those that no run wrote."""
    listed_in, ours = cache(listed), cache(has_results)

    def is_result(file: Path) -> bool:
        folder = file.parent
        if file.name in listed_in(folder):
            return True
        return (file.name == VIDEO and ours(folder)) or (folder.name == PICTURES and ours(folder.parent))

    return [file for file in files if not is_result(file)]


def clear(folder: Path, records: Path | None = None) -> None:
    """Remove the results of an earlier run, and nothing else; `records`: where they are, if not in the folder.

    Raises:
        InvalidValueError: they cannot be removed.
    """
    records = records or folder / RECORDS
    try:
        clear_pictures(folder / PICTURES)
        parts = [folder / name for name in listed(folder) if name.startswith(f"{SEGMENT}-")]
        older = [path for path in records.parent.glob(f"{records.name}.*") if path.suffix[1:].isdecimal()]
        for path in (*parts, *filter(_are_records, older), *(folder / name for name in RESULTS)):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise InvalidValueError(
            "output", "a folder that can be written to", str(folder), error.strerror or ""
        ) from None


def clear_pictures(folder: Path) -> None:
    """Remove the annotated pictures that a run wrote into `folder`, and the folders that are empty then.

    Raises:
        OSError: one of them cannot be removed.
    """
    listing = folder / LIST_NAME
    if not listing.is_file():
        return
    names = map(Path, listing.read_text(encoding="utf-8", errors="surrogateescape").split("\n"))
    files = [folder / name for name in names if name.parts and not name.is_absolute() and ".." not in name.parts]
    for file in (*files, listing):
        file.unlink(missing_ok=True)
    folders = {parent for file in (*files, listing) for parent in file.parents if parent.is_relative_to(folder)}
    for emptied in sorted(folders, key=lambda one: -len(one.parts)):
        with suppress(OSError):
            emptied.rmdir()


def _are_records(file: Path) -> bool:
    return _head(file, len(FIRST_OF_RECORDS)) == FIRST_OF_RECORDS


def begins_as(file: Path, first: bytes) -> bool:
    """Whether a file begins so, or ends before it could: what a run wrote that was killed at once, or nothing."""
    head = _head(file, len(first))
    return head is not None and first.startswith(head)


def _head(file: Path, length: int) -> bytes | None:
    """The first bytes of a file; None where it cannot be read."""
    with suppress(OSError), file.open("rb") as opened:
        return opened.read(length)
    return None
