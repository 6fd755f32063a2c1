"""Where the results of a run go: which folder, which files in it, and that nothing of the user's is overwritten."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from edge.errors import InvalidValueError
from edge.sinks import AnnotatedPicturesSink, ChartSink, CsvSink, JsonLinesSink, Sink, SummarySink, VideoSink
from edge.sources import Source, is_live
from edge.sources.addresses import live_kind, short_name
from edge.sources.pictures import PicturesSource

RECORDS, VIDEO, CHART, SUMMARY = "records.jsonl", "annotated.mp4", "timeline.png", "summary.json"
RESULTS = (RECORDS, VIDEO, CHART, SUMMARY)
PICTURES = "annotated"
STDOUT = Path("-")
_WILDCARDS = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """What the user asked for. None follows the default."""

    out: Path | None = None  # ./<the source's stem>
    jsonl: Path | None = None  # records.jsonl in the folder; STDOUT for standard output
    csv: Path | None = None  # no CSV
    video: bool = True
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.jsonl == self.csv == STDOUT:
            raise InvalidValueError("csv", "a file where --jsonl goes to standard output", "-")


def stem_of(uri: str) -> str:
    """A name for the folder of a source: `flight` of flight.mp4, `camera-0` of 0, host and path of a URL."""
    kind = live_kind(uri)
    if kind is not None:
        return short_name(uri, kind)
    path = _without_wildcards(Path(uri).expanduser())
    return path.stem if path.is_file() else path.resolve().name or "watched"


def folder_names(recordings: Sequence[str]) -> list[str]:
    """One name a recording, all different: the stem, or as much more of its path as it takes."""
    paths = [Path(recording) for recording in recordings]
    for names in (
        [path.stem for path in paths],
        [path.name.replace(".", "-") for path in paths],
        [re.sub(r"[^\w-]+", "-", str(path)).strip("-") for path in paths],
    ):
        if len(set(names)) == len(names):
            return names
    return [f"{index:04d}-{path.stem}" for index, path in enumerate(paths)]


def live_folder_names(uris: Sequence[str]) -> list[Path]:
    """One name a live source, all different: the second of a kind ends in -2."""
    names: list[Path] = []
    for uri in uris:
        stem = stem_of(uri)
        free = (Path(f"{stem}-{n}") for n in range(2, len(uris) + 2))
        names.append(Path(stem) if Path(stem) not in names else next(name for name in free if name not in names))
    return names


def choose_folder(uri: str, out: Path | None) -> Path:
    """The folder for the results of `uri`. A live run takes a time-stamped name where its folder exists already.

    Raises:
        InvalidValueError: `out` is the folder that is watched.
    """
    watched = None if is_live(uri) else _without_wildcards(Path(uri).expanduser()).resolve()
    if out is not None and out.is_dir() and out.resolve() == watched:
        raise InvalidValueError("out", "another folder than the one that is watched", str(out))
    folder = out or Path(stem_of(uri))
    if out is None and folder.resolve() == watched:
        folder = Path(f"{folder}-watched")
    return _free_name(folder) if is_live(uri) else folder


def refuse_source(folder: Path, options: OutputOptions, source: str) -> None:
    """Raises InvalidValueError where the results would overwrite the recording itself."""
    for file in (options.jsonl, options.csv, *(folder / name for name in RESULTS)):
        if file is not None and file != STDOUT and file.resolve() == Path(source).expanduser().resolve():
            raise InvalidValueError("output", "another file than the source", str(file))


def refuse_existing(folder: Path, options: OutputOptions) -> None:
    """Raises InvalidValueError where results would be overwritten unasked."""
    if folder.exists() and not folder.is_dir():
        raise InvalidValueError("output", "a folder", str(folder), "name another with --out")
    if options.overwrite:
        return
    advice = "add --overwrite to replace it, or choose another"
    if folder.is_dir() and any(folder.iterdir()):
        raise InvalidValueError("output", "a new or empty folder", str(folder), f"{advice} with --out")
    for file in (options.jsonl, options.csv):
        if file is not None and file.is_file():
            raise InvalidValueError("output", "a new file", str(file), advice)


def clear(folder: Path) -> None:
    """Remove the results of an earlier run, and nothing else.

    Raises:
        InvalidValueError: they cannot be removed.
    """
    try:
        if (folder / SUMMARY).exists() or (folder / RECORDS).exists():
            shutil.rmtree(folder / PICTURES, ignore_errors=True)
        for name in RESULTS:
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise InvalidValueError(
            "output", "a folder that can be written to", str(folder), error.strerror or ""
        ) from None


def make_sinks(folder: Path, options: OutputOptions, source: Source, enter: float) -> list[Sink]:
    """Create the files of one run; `enter` is the presence that the chart marks.

    Raises:
        InvalidValueError: one of them cannot be created; those before it are closed again.
    """
    live, records = source.info.live, options.jsonl or folder / RECORDS
    sinks: list[Sink] = []
    try:
        sinks.append(SummarySink(folder / SUMMARY))
        sinks.append(JsonLinesSink(None if records == STDOUT else records, append=live))
        if options.csv is not None:
            sinks.append(CsvSink(None if options.csv == STDOUT else options.csv, append=live))
        if options.video and isinstance(source, PicturesSource):
            sinks.append(AnnotatedPicturesSink(folder / PICTURES))
        elif options.video and source.info.size_wh is not None:
            sinks.append(VideoSink(folder / VIDEO, source.info.size_wh, source.info.fps))
        sinks.append(ChartSink(folder / CHART, enter))
    except InvalidValueError:
        for sink in sinks:
            sink.close()
        raise
    return sinks


def _without_wildcards(path: Path) -> Path:
    """The part of a glob before its first wildcard; the path itself where it exists or has none."""
    if path.exists():
        return path
    parts = list(path.parts)
    while parts and any(_WILDCARDS & set(part) for part in parts):
        parts.pop()
    return Path(*parts)


def _free_name(folder: Path) -> Path:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return folder
    stamped = Path(f"{folder}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    return next(name for name in (stamped, *(Path(f"{stamped}-{n}") for n in range(2, 1000))) if not name.exists())
