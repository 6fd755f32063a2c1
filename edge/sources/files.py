"""What a path, folder or glob holds: videos or pictures, never a mixture."""

import glob
import math
import os
import re
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edge.results import left_out
from edge.sources.pictures import PICTURE_SUFFIXES, NamedPicture
from edge.sources.source import unusable
from edge.sources.video_av import MOTION_JPEG_SUFFIXES

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp"}
    | {".264", ".h264", ".265", ".h265", ".hevc"}
    | MOTION_JPEG_SUFFIXES
)
_WILDCARD = re.compile(r"[*?[]")


@dataclass(frozen=True, slots=True)
class Found:
    """Videos or pictures in natural order; one of both is empty."""

    videos: tuple[Path, ...]
    pictures: tuple[NamedPicture, ...]


def path_of(uri: str) -> Path:
    """The path itself where something is there, else with its `~` expanded where that is somebody's home."""
    path = Path(uri)
    if os.path.lexists(path):
        return path
    with suppress(RuntimeError):
        return path.expanduser()
    return path


def base_of(uri: str) -> Path:
    """What a path names; of a glob the folder before its first wildcard. Brackets in the name of what is there are
    none."""
    path = path_of(uri)
    if os.path.lexists(path):
        return path
    base = Path(path.anchor)
    for part in path.parts[len(base.parts) :]:
        if _WILDCARD.search(part) and not os.path.lexists(base / part):
            return base
        base /= part
    return base


def find_recordings(uri: str) -> Found:
    """The recordings that `uri` names: a file of any name but a picture's counts as a video.

    Raises:
        SourceError: nothing is there, or a folder or glob holds no recordings, or both videos and pictures.
        OSError: the file system refuses to answer.
    """
    path = path_of(uri)
    kind = _kind(path) if uri else None
    if kind is not None and stat.S_ISDIR(kind):
        with os.scandir(path) as entries:
            files = [Path(entry.path) for entry in entries if entry.is_file()]
        return _sort_out(left_out(files) or files, path, uri)  # who names our own parts wants them
    if kind is not None:
        if path.suffix.lower() in PICTURE_SUFFIXES:
            return Found((), (NamedPicture(path, path.name),))
        return Found((path,), ())
    if _WILDCARD.search(uri):
        base = base_of(uri)
        pattern = path.relative_to(base).as_posix()
        matches = glob.glob(pattern, root_dir=base, recursive=True)  # noqa: PTH207 - Path.glob refuses '**.jpg'
        files = [base / match for match in matches if (base / match).is_file()]
        return _sort_out(left_out(files), base, uri)
    advice = "variables are filled in URLs and pipelines alone" if "${" in uri else "there is no such file"
    raise unusable(uri, "an existing file, a folder, a glob, a camera index or a URL", advice)


def natural_key(name: str) -> list[tuple[float, str]]:
    """Sorts `frame2` before `frame10`: runs of digits compare as numbers, before all else as lower-case text."""
    parts = re.split(r"(\d+)", name.lower())
    return [(int(part), part) if part.isdecimal() else (math.inf, part) for part in parts if part]


def _kind(path: Path) -> int | None:
    """The file's mode; None where there is no file of that name."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a zero byte in the name
        return None


def _sort_out(files: Iterable[Path], base: Path, uri: str) -> Found:
    """Videos or pictures among `files`; hidden files, such as the `._` ones of macOS, do not count."""
    visible = sorted((f for f in files if not f.name.startswith(".")), key=lambda f: natural_key(f.as_posix()))
    videos = tuple(f for f in visible if f.suffix.lower() in VIDEO_SUFFIXES)
    pictures = tuple(
        NamedPicture(f, f.relative_to(base).as_posix()) for f in visible if f.suffix.lower() in PICTURE_SUFFIXES
    )
    if videos and pictures:
        rule = "videos or pictures"
        held = f"it holds {len(videos)} videos and {len(pictures)} pictures"
        raise unusable(uri, rule, f"{held}; name one kind by a glob in quotes, such as '*{videos[0].suffix}'")
    if not videos and not pictures:
        advice = "it holds none" if visible or not _WILDCARD.search(uri) else "no file matches"
        raise unusable(uri, "videos or pictures", f"{advice}; sub-folders are searched by '**/*.jpg' only")
    return Found(videos, pictures)
