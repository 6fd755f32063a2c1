"""A network stream: RTSP, RTMP, HTTP(S), UDP, TCP, SRT."""

from collections.abc import Callable
from urllib.parse import urlsplit

import cv2

from edge.sources.live import LiveSource
from edge.sources.quiet import silence
from edge.sources.source import unusable

STREAM_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "tcp", "srt")
OPEN_TIMEOUT_MS = 10_000
READ_TIMEOUT_MS = 10_000


def open_stream(uri: str, shown: str, still_running: Callable[[], bool]) -> LiveSource:
    """Connect and wait for the stream's parameters, at most `OPEN_TIMEOUT_MS`.

    Raises:
        SourceError: the URL is malformed, or nobody answers there.
    """
    check_url(uri, shown)
    silence()
    # The time-outs only work where the backend is named (opencv/opencv#23207).
    time_outs = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_TIMEOUT_MS]
    capture = cv2.VideoCapture(uri, cv2.CAP_FFMPEG, time_outs)
    if not capture.isOpened():
        capture.release()
        raise unusable(shown, "a stream that can be opened", "check the address, the credentials and the network")
    return LiveSource(capture, shown, still_running)


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
        usable = (bool(parts.hostname) or scheme.lower() == "udp" or scheme.lower() == "srt") and parts.port != 0
    except ValueError:
        usable = False
    if not usable or any(c.isspace() for c in place):
        raise unusable(shown, f"a URL like {scheme}://host:port/path", "check its host and port")
