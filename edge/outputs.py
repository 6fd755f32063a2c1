"""Where the results of a run go: which folder, which files in it, and that nothing of the user's is overwritten."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from edge.errors import InvalidValueError
from edge.results import (
    CHART,
    FIRST_OF_RECORDS,
    PICTURES,
    RECORDS,
    RESULTS,
    SUMMARY,
    begins_as,
    has_foreign_summary,
    has_results,
    is_ours,
    listed,
    read_summary,
)
from edge.sinks.clips import ClipOptions
from edge.sinks.csv import FIRST_ROW
from edge.sinks.jsonl import Rotation
from edge.sinks.own_files import Budget
from edge.sources import files_of, is_live
from edge.sources.addresses import live_kind, short_name
from edge.sources.files import base_of

STDOUT = Path("-")
_STAMP = re.compile(r"-\d{8}T\d{6}Z(-\d+)?$")


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """What the user asked for. None follows the default."""

    out: Path | None = None  # ./<the source's stem>
    jsonl: Path | None = None  # records.jsonl in the folder; STDOUT for standard output
    csv: Path | None = None  # no CSV
    video: bool = True
    overwrite: bool = False
    rotation: Rotation | None = None  # one file of records
    fsync_s: float | None = None  # every second for live sources, else as the system likes
    segment_s: float | None = None  # ten minutes for live sources, else one video
    video_budget: Budget = field(default_factory=Budget)  # of live sources and segments
    clips: ClipOptions | None = None  # no clips

    def __post_init__(self) -> None:
        if self.jsonl == self.csv == STDOUT:
            raise InvalidValueError("csv", "a file where --jsonl goes to standard output", "-")
        if self.jsonl == STDOUT and self.rotation is not None:
            raise InvalidValueError("rotate_mb", "left out where --jsonl goes to standard output", self.rotation.max_mb)
        if self.fsync_s is not None and not 0 <= self.fsync_s < math.inf:
            raise InvalidValueError("fsync_s", "at least 0", self.fsync_s)
        if self.segment_s is not None and not 1 <= self.segment_s < math.inf:
            raise InvalidValueError("segment_s", "at least 1", self.segment_s)

    @property
    def need_pictures(self) -> bool:
        """Whether somebody but the network looks at the pictures."""
        return self.video or self.clips is not None

    @property
    def clips_folder(self) -> Path | None:
        """Where clips go, in full; None where none are made. Raises InvalidValueError."""
        return None if self.clips is None else _resolved(self.clips.folder)


def stem_of(uri: str) -> str:
    """A name for the folder of a source: `flight` of flight.mp4, `camera-0` of 0, host and path of a URL."""
    kind = live_kind(uri)
    if kind is not None:
        return short_name(uri, kind)
    path = base_of(uri)
    return path.stem if path.is_file() else path.resolve().name or "watched"


def folder_names(recordings: Sequence[str]) -> list[str]:
    """One name a recording, all different: the stem, or as much more of its path as it takes to tell it from others."""
    forms = [
        (path.stem, path.name.replace(".", "-"), re.sub(r"[^\w-]+", "-", str(path)).strip("-"), f"{i:04d}-{path.stem}")
        for i, path in enumerate(map(Path, recordings))
    ]
    chosen = [0] * len(forms)
    while True:
        names = [form[length] for form, length in zip(forms, chosen, strict=True)]
        counts = Counter(names)
        alike = [i for i, name in enumerate(names) if counts[name] > 1]
        if not alike:
            return names
        for i in alike:
            chosen[i] = min(chosen[i] + 1, 3)


def live_folder_names(uris: Sequence[str]) -> list[Path]:
    """One name a live source, all different: the second of a kind ends in -2."""
    names: list[Path] = []
    for uri in uris:
        stem = stem_of(uri)
        free = (Path(f"{stem}-{n}") for n in range(2, len(uris) + 2))
        names.append(Path(stem) if Path(stem) not in names else next(name for name in free if name not in names))
    return names


def choose_folder(uri: str, out: Path | None) -> Path:
    """The folder for the results of `uri`.

    A live run goes on in `out`, appending; without one it takes a time-stamped name where its folder exists already.

    Raises:
        InvalidValueError: `out` is the folder that is watched.
    """
    watched = None if is_live(uri) else _resolved(base_of(uri))
    if out is not None and out.is_dir() and _resolved(out) == watched:
        raise InvalidValueError("out", "another folder than the one that is watched", str(out))
    folder = out or Path(stem_of(uri))
    if out is None and _resolved(folder) == watched:
        folder = Path(f"{folder}-watched")
    return _free_name(folder) if is_live(uri) and out is None else folder


def choose_live_folders(uris: Sequence[str], out: Path | None) -> list[Path]:
    """A folder for each of several live sources: inside `out`, appending, or as for a single one."""
    return [_free_name(name) if out is None else out / name for name in live_folder_names(uris)]


def name_of_run(folder: Path) -> str:
    """The folder's name as it was before it was stamped: what topics, pages and clips call the source by, for ever."""
    return _STAMP.sub("", folder.name) or "kestrel"


def refuse_clashes(folder: Path, options: OutputOptions, source: str) -> None:
    """Raises InvalidValueError where results would overwrite the recording itself, or each other."""
    watched = _resolved(base_of(source))
    if not is_live(source) and watched.parent == _resolved(folder) and watched.name in listed(folder):
        raise InvalidValueError("output", "another folder than that of the part which is watched", str(folder))
    pictures = _resolved(folder / PICTURES)
    if not is_live(source) and (watched == pictures or pictures in watched.parents):
        raise InvalidValueError("output", "another folder than that of the pictures", str(folder))
    own = [folder / name for name in RESULTS if name != RECORDS or options.jsonl is None]
    taken: set[Path] = set()
    for file in (*own, options.jsonl, options.csv):
        if file is None or file == STDOUT:
            continue
        place = _resolved(file)
        if place == watched:
            raise InvalidValueError("output", "another file than the source", str(file))
        if place in taken:
            raise InvalidValueError("output", "a file of its own for each output", str(file))
        taken.add(place)
    in_parts = options.video and (options.segment_s is not None or is_live(source))
    if in_parts and options.clips is not None and options.clips_folder == _resolved(folder):
        raise InvalidValueError("clips", "another folder than that of the video's parts", str(options.clips.folder))


def refuse_foreign(folder: Path, options: OutputOptions) -> None:
    """Raises InvalidValueError where somebody else's files would be replaced by a run that goes on with an earlier."""
    if options.overwrite:
        return
    for file, first in ((options.jsonl, FIRST_OF_RECORDS), (options.csv, FIRST_ROW.encode())):
        if file is not None and file.is_file() and not begins_as(file, first):
            advice = "it is another; add --overwrite to replace it, or choose another"
            raise InvalidValueError("output", "a file of an earlier run, or a new one", str(file), advice)
    if folder.is_dir() and not is_ours(folder):
        advice = "it holds other files; add --overwrite to replace results, or choose another with --out"
        raise InvalidValueError("output", "a folder of an earlier run, or a new one", str(folder), advice)


def refuse_foreign_summary(folder: Path, options: OutputOptions) -> None:
    """Raises InvalidValueError where the summary of several recordings would replace a file that no run wrote."""
    if not options.overwrite and has_foreign_summary(folder):
        advice = f"its {SUMMARY} is another; add --overwrite to replace it, or choose another folder with --out"
        raise InvalidValueError("output", "a folder of an earlier run, or a new one", str(folder), advice)


def refuse_recorded(folder: Path) -> None:
    """Raises InvalidValueError where a live run, which goes on with what is there, would replace a recording's results.

    Or a summary that no run wrote.
    """
    summary = read_summary(folder)
    rule, advice = "a new folder, or one of the same live source", "choose another with --out"
    if summary is not None and summary.get("source_bytes") is not None:
        raise InvalidValueError("output", rule, f"{folder} of {summary.get('source')}", advice)
    if summary is None and has_foreign_summary(folder):
        raise InvalidValueError("output", rule, f"{folder} with another {SUMMARY}", advice)


def size_bytes(recording: str) -> int | None:
    """Bytes of a recording, or of all pictures of a folder or glob: tells it from another one of the same name."""
    files = files_of(recording)
    try:
        return sum(file.stat().st_size for file in files) if files else None
    except OSError:
        return None


def are_there(folder: Path, options: OutputOptions) -> bool:
    """Whether an earlier run wrote all that is asked for now."""
    files = ((options.jsonl or folder / RECORDS, FIRST_OF_RECORDS), (options.csv, FIRST_ROW.encode()))
    if options.clips is not None and (read_summary(folder) or {}).get("clips") != str(options.clips_folder):
        return False
    if not all(begins_as(file, first) for file, first in files if file not in (None, STDOUT)):
        return False
    return (folder / CHART).is_file() and (not options.video or any(folder.glob(f"{PICTURES}*")))


def refuse_existing(folder: Path, options: OutputOptions) -> None:
    """Raises InvalidValueError where results would be overwritten unasked."""
    if folder.exists() and not folder.is_dir():
        raise InvalidValueError("output", "a folder", str(folder), "name another with --out")
    if options.overwrite:
        return
    advice = "add --overwrite to replace it, or choose another"
    if folder.is_dir() and any(folder.iterdir()):
        finish = "add --resume to finish it, " if has_results(folder) else ""
        raise InvalidValueError("output", "a new or empty folder", str(folder), f"{finish}{advice} with --out")
    for file in (options.jsonl, options.csv):
        if file is not None and file.is_file():
            raise InvalidValueError("output", "a new file", str(file), advice)


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except RuntimeError:  # links that lead in a circle
        raise InvalidValueError("output", "a path that leads somewhere", str(path), "mend its links") from None


def _free_name(folder: Path) -> Path:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return folder
    stamped = Path(f"{folder}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    return next(name for name in (stamped, *(Path(f"{stamped}-{n}") for n in range(2, 1000))) if not name.exists())


def refuse_shared_files(options: OutputOptions) -> None:
    """Raises InvalidValueError where several recordings or sources would write into one file."""
    if options.csv == STDOUT:
        advice = "its rows do not say whose they are; the lines of --jsonl - do"
        raise InvalidValueError("csv", "left out for several recordings", "-", advice)
    for name, file in (("jsonl", options.jsonl), ("csv", options.csv)):
        if file not in (None, STDOUT):
            rule = "left out or '-'" if name == "jsonl" else "left out"  # as said above
            advice = "each one's folder has its own records.jsonl"
            raise InvalidValueError(name, f"{rule} for several recordings", str(file), advice)
