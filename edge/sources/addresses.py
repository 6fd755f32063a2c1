"""What a source's name stands for: a camera, a stream, a pipeline, the test pattern; or none of these, a recording."""

import importlib.util
import os
import re
from urllib.parse import quote, urlsplit

import cv2

from edge.capture.messages import CaptureOptions, Kind, Target
from edge.capture.pattern import parse_pattern
from edge.errors import InvalidValueError
from edge.secrets import HIDDEN, redact
from edge.sources.source import unusable

STREAM_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "tcp", "srt")
_LISTENING_SCHEMES = ("udp", "srt")  # may wait on any address of this machine: `udp://:5000`
_CAMERA = re.compile(r"(?:/dev/video)?(\d{1,4})")
_PREFIXES: dict[str, Kind] = {"gst": "gstreamer", "csi": "picamera", "picamera2": "picamera", "test": "pattern"}


def live_kind(uri: str) -> Kind | None:
    """The kind of camera or stream that `uri` names; None for a file, folder or glob."""
    if _camera_index(uri) is not None:
        return "camera"
    prefix, colon, _ = uri.partition(":")
    if colon and prefix in _PREFIXES:
        return _PREFIXES[prefix]
    return "stream" if "://" in uri else None


def target_of(uri: str, kind: Kind, shown: str, options: CaptureOptions) -> Target:
    """What the capture process is to open; `shown` is `uri` without its credentials.

    Raises:
        SourceError: the address can never be opened: it is malformed, or needs something that is not installed.
    """
    rest = uri.partition(":")[2]
    match kind:
        case "camera":
            return Target(kind, str(_camera_index(uri)), options)
        case "stream":
            check_url(uri, shown)
            return Target(kind, with_encoded_credentials(uri), options)
        case "gstreamer":
            check_gstreamer(rest, shown)
        case "picamera":
            check_picamera(rest, shown)
        case "pattern":
            try:
                parse_pattern(rest)
            except InvalidValueError as error:
                raise unusable(shown, "a test pattern like test:1280x720@30", str(error)) from None
    return Target(kind, rest, options)


def short_name(uri: str, kind: Kind) -> str:
    """A name for the results of a live source, of letters, digits and hyphens, without credentials."""
    shown = redact(uri).replace(HIDDEN, "")
    match kind:
        case "camera":
            return f"camera-{uri}" if uri.isdigit() else uri.rpartition("/")[2]
        case "stream":
            shown = re.sub(r":\d+(?=/|$)", "", re.split(r"[?#]", shown.partition("://")[2])[0], count=1)
        case "gstreamer":
            shown = " ".join(shown.split()[:1])
        case "picamera" | "pattern":
            pass
    return "-".join(re.findall(r"[A-Za-z0-9]+", shown)) or kind


def check_url(uri: str, shown: str) -> None:
    """Refuse a URL that no stream can have.

    Raises:
        SourceError: the scheme is unknown, the host is missing, or the port is no number in 1..65535.
    """
    scheme, _, rest = uri.partition("://")
    if scheme.lower() not in STREAM_SCHEMES:
        raise unusable(shown, f"a URL that starts with {'://, '.join(STREAM_SCHEMES)}://", "check its spelling")
    place = rest.rpartition("@")[2]  # a password may hold anything
    try:
        parts = urlsplit(f"//{place}")
        usable = (bool(parts.hostname) or scheme.lower() in _LISTENING_SCHEMES) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or any(c.isspace() for c in place):
        raise unusable(shown, f"a URL like {scheme}://host:port/path", "check its host and port")


def with_encoded_credentials(uri: str) -> str:
    """The URL with user and password percent-encoded, as FFmpeg wants them; what is encoded already stays.

    Credentials end at the last `@` before the path. Where there is none, and what stands before the path cannot be
    host and port, the password holds a `/`, and they end at the last `@` of all.
    """
    scheme, _, rest = uri.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        credentials = authority.rpartition("@")[0]
    elif "@" in rest and re.fullmatch(r"[^:\[]+:(?!\d*$).*", authority):
        credentials = rest.rpartition("@")[0]
    else:
        return uri
    user, colon, password = credentials.partition(":")
    return f"{scheme}://{_encoded(user)}{colon}{_encoded(password)}@{rest[len(credentials) + 1 :]}"


def check_gstreamer(pipeline: str, shown: str) -> None:
    """Raises SourceError where this OpenCV has no GStreamer, or there is no pipeline."""
    if not re.search(r"GStreamer:\s+YES", cv2.getBuildInformation()):
        raise unusable(
            shown,
            "one that this OpenCV can open",
            "OpenCV from pip has no GStreamer; use Debian's python3-opencv (apt-get install python3-opencv, and a "
            "venv with --system-site-packages and without opencv-python), or build it: "
            "pip install --no-binary opencv-python opencv-python",
        )
    if not pipeline.strip():
        raise unusable(shown, "a pipeline after gst:", "for example gst:v4l2src ! videoconvert")


def check_picamera(number: str, shown: str) -> None:
    """Raises SourceError where picamera2 is not installed, or the camera's number is none."""
    if number and not number.isdecimal():
        raise unusable(shown, "csi: or csi:N with the number of a camera", "csi:0 is the first one")
    if importlib.util.find_spec("picamera2") is None:
        raise unusable(
            shown,
            "one that this machine can open",
            "it needs the package picamera2: apt-get install python3-picamera2 on Raspberry Pi OS, "
            "and a venv with --system-site-packages",
        )


def _camera_index(uri: str) -> int | None:
    """N of `N`, `/dev/videoN` or a link to it such as /dev/v4l/by-id/..., else None."""
    match = _CAMERA.fullmatch(os.path.realpath(uri) if uri.startswith("/dev/") else uri)
    return int(match[1]) if match else None


def _encoded(text: str) -> str:
    """Percent-encoded but for what is so already: `%40` stays, a `%` that begins no code becomes `%25`."""
    return re.sub(r"%25(?=[0-9A-Fa-f]{2})", "%", quote(text, safe=""))
