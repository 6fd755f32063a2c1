"""A network stream through PyAV: RTSP, RTMP, HTTP(S) with MJPEG or HLS, UDP, TCP, and SRT where its FFmpeg has it.

PyAV rather than OpenCV: its time-outs hold for every protocol, its options need no environment variable, it decodes
without the frames of delay that OpenCV's threads add, and it says which pictures are corrupt.
"""

import errno
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import av
import av.error
import av.logging
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from edge.capture.messages import CaptureError, CaptureOptions, Opened, Taken
from edge.damage import Doubt, after_packet, after_picture
from edge.jpeg import is_cut_short
from edge.nal import is_without_picture
from edge.records import Image
from edge.thermal import RollingStretch, is_raw

_PROBE = {"analyzeduration": "1500000", "probesize": "2000000"}  # microseconds, bytes: enough for 10 frames a second
_NO_TIMESTAMPS = 0x80  # AVFMT_NOTIMESTAMPS of <libavformat/avformat.h>
_MOST_AHEAD_S = 30.0  # a time stamp further ahead is a jump, not a picture that came early
_ONE_CORE_PX = 2560 * 1440
_WAIT_S, _BEHIND_AFTER_S = 0.002, 3.0


def read_stream(address: str, options: CaptureOptions) -> Iterator[Opened | Taken]:
    """The first video stream of `address`.

    Raises:
        CaptureError: nobody answers there, there is no video, a time-out, or the stream broke off.
    """
    av.logging.set_level(None)  # with a level, its callback may wait for Python's lock for ever
    time_outs = (options.open_timeout_s, options.read_timeout_s)
    heard_s, patience_s = time.monotonic(), options.open_timeout_s
    try:
        with av.open(
            address, options=open_options(address, options), timeout=time_outs, metadata_errors="replace"
        ) as container:
            if not container.streams.video:
                raise CaptureError("it has no video")
            stream = container.streams.video[0]
            stream.thread_type = decoding_threads(stream.codec_context.width * stream.codec_context.height)
            yield Opened(rate_fps(container, stream))
            patience_s = options.read_timeout_s
            for taken in read_frames(container, stream):
                heard_s = taken.captured_s
                yield taken
    except av.error.ProtocolNotFoundError:
        scheme = address.partition("://")[0]
        advice = "build PyAV against an FFmpeg with it: pip install av --no-binary av"
        raise CaptureError(f"the FFmpeg in PyAV has no {scheme}; {advice}", hopeless=True) from None
    except (av.error.FFmpegError, OSError, ValueError, RuntimeError) as error:
        # FFmpeg has many words for a time-out, "Invalid data" among them
        timed_out = time.monotonic() - heard_s >= patience_s
        if timed_out:
            reason = "it timed out"
        elif isinstance(error, OSError) and error.errno == errno.EIO and not resolves(address):
            reason = "its host's name cannot be resolved"
        else:
            reason = reason_of(error)
        raise CaptureError(reason) from None


def resolves(address: str) -> bool:
    """Whether the host in an address can be found: where it cannot, FFmpeg speaks of an input/output error."""
    try:
        host = urlsplit(address).hostname
        return host is None or bool(socket.getaddrinfo(host, None))
    except (OSError, ValueError):
        return False


def decoding_threads(area_px: int) -> str:
    """How several cores decode. Threads over frames hold back as many frames as there are threads, so they are for
    pictures that one core may not decode in time; most cameras send one slice a frame."""
    return "AUTO" if area_px > _ONE_CORE_PX else "SLICE"


def rate_fps(container: InputContainer, stream: VideoStream) -> float | None:
    """Frames a second, where the stream tells: of one without time stamps, such as MJPEG, FFmpeg makes 25 up."""
    if container.format.flags & _NO_TIMESTAMPS or container.format.name.endswith("_pipe"):
        return None
    rate = stream.average_rate or stream.guessed_rate
    return float(rate) if rate and 0 < rate < 1000 else None


def open_options(address: str, options: CaptureOptions) -> dict[str, str]:
    """FFmpeg's options for this kind of address."""
    scheme = address.partition("://")[0].lower()
    if scheme in ("rtsp", "rtsps"):
        return _PROBE | {"rtsp_transport": options.rtsp_transport}
    if scheme == "udp":
        return _PROBE | {"overrun_nonfatal": "1", "fifo_size": "50000"}
    return dict(_PROBE)


def read_frames(container: InputContainer, stream: VideoStream) -> Iterator[Taken]:
    """Every picture that decodes, with its doubts; keyframes alone while decoding is behind what comes in."""
    doubt, skipped, stretch = Doubt(), 0, RollingStretch()
    playback = Playback() if comes_in_bursts(container) else None
    codec = stream.codec_context
    is_jpeg = codec.name == "mjpeg"
    started_s = time.monotonic()
    backlog = Backlog(started_s)
    for packet in container.demux(stream):
        received_s = time.monotonic()
        if playback is None:
            backlog = after_wait(backlog, received_s - started_s, key=packet.is_keyframe, now_s=received_s)
        started_s = received_s
        if backlog.behind and packet.size and (is_jpeg or not packet.is_keyframe):
            skipped += 1
            continue
        frames, broken = decode(packet)
        decode_ms = 1e3 * (time.monotonic() - received_s)
        broken = broken and not is_without_picture(packet, codec.name, codec.extradata)
        damaged = packet.is_corrupt or broken or (is_jpeg and is_cut_short(bytes(packet)))
        doubt = after_packet(doubt, damaged=damaged, now_s=received_s)
        for frame in frames:
            if playback is not None and frame.time is not None:
                time.sleep(playback.wait_s(frame.time, time.monotonic()))
            doubt = after_picture(doubt, corrupt=frame.is_corrupt, key=frame.key_frame, now_s=received_s)
            yield Taken(
                captured_s=time.monotonic(),
                captured_at_s=time.time(),
                decode_ms=decode_ms,
                corrupt=doubt.since_s is not None,
                image=partial(to_image, frame, stretch),
                skipped=skipped,
            )
            skipped = 0
        started_s = time.monotonic()


def decode(packet: "Packet[VideoStream]") -> tuple[list[VideoFrame], bool]:
    """The pictures of a packet, and whether it was broken."""
    try:
        return packet.decode(), False
    except av.error.FFmpegError:
        return [], True


@dataclass(frozen=True, slots=True)
class Backlog:
    """When data last had to be waited for. Who never waits decodes more slowly than pictures come: they pile up on the
    way, and what is shown grows older and older."""

    waited_s: float
    behind: bool = False
    caught_up: bool = False  # while behind: data are waited for again, and the next keyframe is where to go on


def after_wait(backlog: Backlog, wait_s: float, *, key: bool, now_s: float) -> Backlog:
    """The backlog after a packet that was waited for `wait_s`."""
    waited = wait_s >= _WAIT_S
    if not backlog.behind:
        return Backlog(now_s) if waited else replace(backlog, behind=now_s - backlog.waited_s > _BEHIND_AFTER_S)
    caught_up = backlog.caught_up or waited
    return Backlog(now_s) if key and caught_up else replace(backlog, caught_up=caught_up)


class Playback:
    """Lets pictures that come in bursts pass at the speed at which they were taken."""

    def __init__(self) -> None:
        self._begin_s: float | None = None  # on the clock, of the stream's time 0

    def wait_s(self, time_s: float, now_s: float) -> float:
        """How long the picture of `time_s` in the stream has to wait at `now_s`. One that is late moves all that
        follow; a jump in the time stamps begins anew."""
        early_s = 0.0 if self._begin_s is None else self._begin_s + time_s - now_s
        if self._begin_s is None or not 0.0 <= early_s <= _MOST_AHEAD_S:
            self._begin_s, early_s = now_s - time_s, 0.0
        return early_s


def comes_in_bursts(container: InputContainer) -> bool:
    """Whether data come faster than they are played: segments (HLS), or a whole file behind a URL."""
    return container.format.name in ("hls", "dash") or bool(container.duration)


def to_image(frame: VideoFrame, stretch: RollingStretch) -> Image:
    """BGR pixels; raw ones of a thermal camera are stretched to 8 bit."""
    try:
        if is_raw(frame.format.name):
            grey = stretch.to_8_bit(frame.to_ndarray(format="gray16le", threads=1))
            return np.stack([grey] * 3, -1)
        return np.asarray(frame.to_ndarray(format="bgr24", threads=1), np.uint8)
    except (av.error.FFmpegError, ValueError, MemoryError) as error:
        raise CaptureError(reason_of(error)) from None


def reason_of(error: Any) -> str:
    """FFmpeg's words without the address that it adds to them."""
    text = getattr(error, "strerror", None)
    return str(text) if text else type(error).__name__
