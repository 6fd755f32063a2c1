"""Where frames come from: `open_source(uri)`, one file a kind.

A number or /dev/videoN is a camera, a URL is a stream, `test:` a test pattern, `gst:` a pipeline, `csi:` a Raspberry
Pi's camera; a folder or glob holds pictures or videos, a file is a picture if its name ends like one and a video
otherwise.
"""

from collections.abc import Callable
from pathlib import Path

from edge.errors import SourceError
from edge.secrets import redact
from edge.sources.addresses import live_kind, target_of
from edge.sources.files import find_recordings, path_of
from edge.sources.live import LiveOptions, LiveSource
from edge.sources.pictures import PicturesSource
from edge.sources.shrink import Fit
from edge.sources.source import Source, unusable
from edge.sources.video import VideoSource

__all__ = ["LiveOptions", "LiveSource", "Source", "expand_recordings", "files_of", "is_live", "open_source", "redact"]

_DEFAULT_LIVE = LiveOptions()


def open_source(
    uri: str,
    live: LiveOptions = _DEFAULT_LIVE,
    *,
    still_running: Callable[[], bool] = lambda: True,
    fit: Fit | None = None,
) -> Source:
    """Open whatever `uri` names; the caller closes it. Live sources ask `still_running` ten times a second.

    A live source that is down is opened all the same: its frames say that there is no signal, until there is one.
    With `fit` a video file's frames may come at that size, where it is smaller, which is cheaper than to scale later.

    Raises:
        SourceError: nothing is there, it cannot be read, or it is not what it claims to be. Credentials are redacted.
    """
    shown = redact(uri)
    kind = live_kind(uri)
    if kind is not None:
        return LiveSource(target_of(uri, kind, shown, live.patient_capture), shown, live.rules, still_running)
    try:
        found = find_recordings(uri)
        if len(found.videos) > 1:
            raise unusable(shown, "one recording", f"it holds {len(found.videos)} videos; open them one by one")
        return VideoSource(found.videos[0], shown, fit) if found.videos else PicturesSource(found.pictures, shown)
    except OSError as error:
        raise unusable(shown, "readable", error.strerror or type(error).__name__) from None


def is_live(uri: str) -> bool:
    """Whether `uri` names a camera or stream, without opening it."""
    return live_kind(uri) is not None


def expand_recordings(uri: str) -> list[str]:
    """The videos of a folder or glob in natural order of their names; `[uri]` for one file, and for pictures.

    Raises:
        SourceError: the folder or glob holds nothing that can be watched, or both videos and pictures.
    """
    if is_live(uri):
        return [uri]
    try:
        videos = find_recordings(uri).videos
        return [uri] if videos in ((), (path_of(uri),)) else [str(path) for path in videos]
    except OSError as error:
        raise unusable(uri, "readable", error.strerror or type(error).__name__) from None


def files_of(uri: str | None) -> list[Path]:
    """The files that `uri` names now; none of a live source, and none where it cannot be watched."""
    if uri is None or is_live(uri):
        return []
    try:
        found = find_recordings(uri)
    except (OSError, SourceError):
        return []
    return [*found.videos, *(picture.path for picture in found.pictures)]
