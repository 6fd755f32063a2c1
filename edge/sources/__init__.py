"""Where frames come from: `open_source(uri)`, one file a kind.

A number or /dev/videoN is a camera, a URL is a stream, a folder or glob holds pictures or videos, a file is a picture
if its name ends like one and a video otherwise.
"""

import os
import re
from collections.abc import Callable

from edge.secrets import redact
from edge.sources.camera import open_camera
from edge.sources.files import find_recordings
from edge.sources.pictures import PicturesSource
from edge.sources.source import Source, unusable
from edge.sources.stream import open_stream
from edge.sources.video import VideoSource

__all__ = ["Source", "expand_recordings", "is_live", "open_source", "redact"]

_CAMERA = re.compile(r"(?:/dev/video)?(\d{1,4})")


def open_source(uri: str, *, still_running: Callable[[], bool] = lambda: True) -> Source:
    """Open whatever `uri` names; the caller closes it. Live sources ask `still_running` before each read.

    Raises:
        SourceError: nothing is there, it cannot be read, or it is not what it claims to be. Credentials are redacted.
    """
    shown = redact(uri)
    camera = _camera_index(uri)
    if camera is not None:
        return open_camera(camera, shown, still_running)
    if "://" in uri:
        return open_stream(uri, shown, still_running)
    try:
        found = find_recordings(uri)
        if len(found.videos) > 1:
            raise unusable(shown, "one recording", f"it holds {len(found.videos)} videos; open them one by one")
        return VideoSource(found.videos[0], shown) if found.videos else PicturesSource(found.pictures, shown)
    except OSError as error:
        raise unusable(shown, "readable", error.strerror or type(error).__name__) from None


def is_live(uri: str) -> bool:
    """Whether `uri` names a camera or stream, without opening it."""
    return _camera_index(uri) is not None or "://" in uri


def expand_recordings(uri: str) -> list[str]:
    """The videos of a folder or glob in natural order of their names; `[uri]` for everything else, pictures included.

    Raises:
        SourceError: the folder or glob holds nothing that can be watched, or both videos and pictures.
    """
    if is_live(uri):
        return [uri]
    try:
        return [str(path) for path in find_recordings(uri).videos] or [uri]
    except OSError as error:
        raise unusable(uri, "readable", error.strerror or type(error).__name__) from None


def _camera_index(uri: str) -> int | None:
    """N of `N`, `/dev/videoN` or a link to it such as /dev/v4l/by-id/..., else None."""
    match = _CAMERA.fullmatch(os.path.realpath(uri) if uri.startswith("/dev/") else uri)
    return int(match[1]) if match else None
