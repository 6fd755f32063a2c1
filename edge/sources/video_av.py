"""PyAV: what a video file says of itself, and its frames."""

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from edge.cpu import usable_cores
from edge.damage import Damage, with_following
from edge.records import Image, SizeWH
from edge.sources.shrink import Fit, ToBgr, orientation_of, upright_image, upright_wh
from edge.thermal import RollingStretch, is_raw

_INDEX_DISCARD = 0x2  # FFmpeg's AVINDEX_DISCARD_FRAME: cut away by an edit list, never shown

# Containers that give every frame its presentation time. AVI and raw streams do not.
_TIMED = frozenset({"mov", "matroska", "mpegts"})
_SEEK_BACK_S = 1.0  # a seek goes by the order of decoding, where a keyframe may stand before frames shown earlier
_STILL_BRANDS = frozenset({"avif", "heic", "heix", "mif1"})  # of pictures in the container of MP4
MOTION_JPEG_SUFFIXES = frozenset({".mjpeg", ".mjpg"})  # pictures one behind another, as rpicam-vid writes them
_MOST_THREADS = 4  # each holds frames of its own
ASSUMED_FPS = 25.0  # only for files that have neither time stamps nor a frame rate


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """A decoded frame and its presentation time in seconds from the start of the file."""

    image: Image | None  # None: it is damaged, or predicted from a damaged one
    time_s: float
    full_wh: SizeWH | None = None  # where `image` is smaller than the frame


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What the container promises; None where it is silent."""

    frame_count: int | None  # frames that a player would show
    duration_s: float | None  # of the video alone, without sound that runs on
    fps: float | None  # average
    timed: bool = False  # whether every frame carries its presentation time
    raw: bool = False  # grey of more than 8 bit: the counts of a thermal sensor
    pixel_aspect: Fraction = Fraction(1)  # width of a pixel by its height, as it is to be shown
    still: bool = False  # a picture, which is judged otherwise than a video


def read_facts(path: Path) -> VideoFacts | None:
    """The container's promises about its first video stream; None where it cannot be opened or has no video."""
    try:
        with _open(path) as container:
            stream = _video_of(container)
            if stream is None:
                return None
            fps = _rate_fps(stream)
            timed = not _TIMED.isdisjoint(container.format.name.split(","))
            raw = _has_decoder(stream) and is_raw(stream.codec_context.pix_fmt)
            aspect = Fraction(stream.sample_aspect_ratio or 1)
            frames, duration_s = _shown_frames(container, stream), _duration_s(container, stream)
            return VideoFacts(frames, duration_s, fps, timed, raw, aspect, _is_still(container, stream))
    except (av.error.FFmpegError, OSError, ValueError):
        return None


def _rate_fps(stream: VideoStream) -> float | None:
    """Average; None where the container is silent, or tells what cannot be."""
    rate = stream.average_rate
    return float(rate) if rate and 0 < rate < 1000 else None


def _open(path: Path) -> InputContainer:
    """By its whole path, since FFmpeg takes what stands before a colon for a protocol; labels in any encoding."""
    return av.open(path.absolute(), metadata_errors="replace")


def _video_of(container: InputContainer) -> VideoStream | None:
    """The first video stream that is no cover; None: there is none."""
    return next((one for one in container.streams.video if not one.disposition & Disposition.attached_pic), None)


def _is_still(container: InputContainer, stream: VideoStream) -> bool:
    """Whether a file is one picture by its container, whatever its name ends in."""
    name = container.format.name
    if name == "gif":
        return stream.frames == 1
    if Path(container.name).suffix.lower() in MOTION_JPEG_SUFFIXES:
        return False
    return name == "image2" or name.endswith("_pipe") or container.metadata.get("major_brand") in _STILL_BRANDS


def _has_decoder(stream: VideoStream) -> bool:
    """Whether this FFmpeg knows the codec; PyAV's stubs do not know that there may be no context."""
    context: VideoCodecContext | None = stream.codec_context
    return context is not None


def holds_no_video(path: Path) -> bool:
    """Whether a file can be opened, and nothing in it is a video, as in a recording of sound; a cover is none."""
    try:
        with _open(path) as container:
            return _video_of(container) is None
    except (av.error.FFmpegError, OSError, ValueError):
        return False


def read_with_pyav(path: Path, fit: Fit | None = None) -> Generator[DecodedFrame, None, None]:
    """Every frame that decodes, in order of presentation, rotated as the file asks.

    With `fit` the pictures come at that size where it is smaller. The frame that the end of the file cuts short is left
    out. Ends quietly where nothing more can be read: whether that was the end of the file is judged by the caller, from
    `VideoFacts`.
    """
    try:
        with _open(path) as container:
            stream = _video_of(container)
            if stream is None or not _has_decoder(stream):
                return
            stream.thread_type = "AUTO"
            stream.codec_context.thread_count = min(usable_cores(), _MOST_THREADS)
            clock = _Clock(stream, by_decoding=container.format.name == "avi")
            stretch, to_bgr = RollingStretch(), ToBgr()
            for frame, spoilt in _decode(container, stream):
                time_s = clock.time_s(frame)
                if spoilt:
                    yield DecodedFrame(None, time_s, upright_wh(frame, orientation_of(frame)))
                else:
                    yield _decoded(frame, time_s, fit, stretch, to_bgr)
    except (av.error.FFmpegError, OSError):
        return


class _Clock:
    """Presentation times that never go back; a frame without one comes a frame's length after the last.

    `by_decoding`: the container tells when each is decoded alone, which goes as evenly, and begins before the first.
    """

    def __init__(self, stream: VideoStream, *, by_decoding: bool) -> None:
        self._by_decoding = by_decoding
        self._start = None if by_decoding else stream.start_time or 0
        self._step_s = 1 / (_rate_fps(stream) or ASSUMED_FPS)
        self._last_s = -self._step_s

    def time_s(self, frame: VideoFrame) -> float:
        time_s, stamp = self._last_s, frame.dts if self._by_decoding else frame.pts
        if stamp is not None and frame.time_base is not None:
            self._start = stamp if self._start is None else self._start
            time_s = float((stamp - self._start) * frame.time_base)
        self._last_s = time_s if time_s > max(self._last_s, -1e-9) else self._last_s + self._step_s
        return max(0.0, self._last_s)


def _decoded(frame: VideoFrame, time_s: float, fit: Fit | None, stretch: RollingStretch, to_bgr: ToBgr) -> DecodedFrame:
    orientation = orientation_of(frame)
    if is_raw(frame.format.name):
        grey = orientation.applied_to(stretch.to_8_bit(frame.to_ndarray(format="gray16le")))
        return DecodedFrame(np.stack([grey] * 3, -1), time_s)
    image, full_wh = upright_image(frame, orientation, to_bgr, fit), upright_wh(frame, orientation)
    return DecodedFrame(image, time_s, None if image.shape[:2] == (full_wh.height, full_wh.width) else full_wh)


def _decode(container: InputContainer, stream: VideoStream) -> Iterator[tuple[VideoFrame, bool]]:
    """Frames of all packets that decode, and whether each is spoilt; one broken packet does not end the file.

    Decoder threads still hold frames when the file ends, and PyAV stops fetching them at the first broken one. Whole
    ones behind it are then decoded once more, by one thread, where a broken packet costs nothing but itself.
    """
    last_sent = last_given = -math.inf  # latest presentation times, in the stream's units
    damage = Damage(stream, _rate_fps(stream) or ASSUMED_FPS)
    for packet, following in with_following(_packets(container, stream)):
        if _is_cut(packet, container):
            continue
        if packet.pts is not None and not packet.is_discard:
            last_sent = max(last_sent, packet.pts)
        damage.packet_sent(packet, following)
        try:
            for frame in packet.decode():
                last_given = last_given if frame.pts is None else max(last_given, frame.pts)
                yield frame, damage.spoils(frame)
        except av.error.InvalidDataError:
            damage.packet_refused()
    if last_given < last_sent and stream.codec_context.thread_count > 1:
        yield from _decode_again(Path(container.name), last_given)


def _packets(container: InputContainer, stream: VideoStream) -> "Iterator[Packet[VideoStream]]":
    """All up to the end, or to where the container breaks; an empty one last, which fetches what the decoder holds."""
    try:
        yield from container.demux(stream)
    except av.error.FFmpegError:
        last = Packet()
        last.stream = stream
        yield cast("Packet[VideoStream]", last)


def _decode_again(path: Path, after: float) -> Iterator[tuple[VideoFrame, bool]]:
    """Frames later than `after`, in the stream's units, by one thread."""
    with _open(path) as container:
        stream = _video_of(container)
        assert stream is not None  # it was there before
        stream.codec_context.thread_count = 1
        if math.isfinite(after) and stream.time_base:
            container.seek(int(after - _SEEK_BACK_S / stream.time_base), stream=stream)
        for frame, spoilt in _decode(container, stream):
            if frame.pts is not None and frame.pts > after:
                yield frame, spoilt


def _is_cut(packet: "Packet[VideoStream]", container: InputContainer) -> bool:  # quoted: generic in PyAV's stubs only
    """Whether the file ends within the packet: some decoders, Motion JPEG's and VP9's, show what they have as whole.

    Elsewhere, as in MPEG-TS, a packet with that mark is decoded all the same, see damage.py.
    """
    return packet.is_corrupt and packet.pos is not None and packet.pos + packet.size >= container.size


def _shown_frames(container: InputContainer, stream: VideoStream) -> int | None:
    """Exact for MP4 and MOV, whose index lists every frame, also those of a fragmented file; None elsewhere."""
    if "mov" not in container.format.name.split(",") or not len(stream.index_entries):
        return None
    return sum(1 for entry in stream.index_entries if not entry.flags & _INDEX_DISCARD)


def _duration_s(container: InputContainer, stream: VideoStream) -> float | None:
    """The video's own length: from the stream, from Matroska's tag, or from a file that holds nothing but video.

    Matroska tells when the last frame ends; the first one may come late.
    """
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    matroska = "matroska" in container.format.name.split(",")
    late_s = max(0.0, float((stream.start_time or 0) * (stream.time_base or 0))) if matroska else 0.0
    hours, _, rest = stream.metadata.get("DURATION", "").partition(":")
    minutes, _, seconds = rest.partition(":")
    try:
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds) - late_s
    except ValueError:
        alone = len(container.streams) == 1 and container.duration
        return container.duration / av.time_base - late_s if alone and container.duration else None
