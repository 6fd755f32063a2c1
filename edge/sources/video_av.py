"""PyAV: what a video file says of itself, and its frames where OpenCV cannot decode it (AV1, for one)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from edge.records import Image

_INDEX_DISCARD = 0x2  # FFmpeg's AVINDEX_DISCARD_FRAME: cut away by an edit list, never shown

_SAME_TIME_S = 5e-4  # OpenCV's and PyAV's time of one frame differ by less


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded frame and its presentation time in seconds from the start of the file."""

    image: Image
    time_s: float


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What the container promises; None where it is silent."""

    frame_count: int | None  # frames that a player would show
    duration_s: float | None  # of the video alone, without sound that runs on
    fps: float | None  # average


def read_facts(path: Path) -> VideoFacts | None:
    """The container's promises about its first video stream; None where it cannot be opened or has no video."""
    try:
        with av.open(path) as container:
            if not container.streams.video:
                return None
            stream = container.streams.video[0]
            rate = stream.average_rate
            fps = float(rate) if rate and 0 < rate < 1000 else None
            return VideoFacts(_shown_frames(container, stream), _duration_s(container, stream), fps)
    except (av.error.FFmpegError, OSError, ValueError):
        return None


def read_with_pyav(path: Path, after_s: float | None = None) -> Iterator[Picture]:
    """Every frame that decodes, in order of presentation, rotated as the file asks; with `after_s` only later ones.

    Frames that FFmpeg itself calls corrupt are left out. Ends quietly where nothing more can be read: whether that
    was the end of the file is judged by the caller, from `VideoFacts`.
    """
    try:
        with av.open(path) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            start = (stream.start_time or 0) if stream.time_base else 0
            if after_s is not None and stream.time_base:
                container.seek(start + int(after_s / stream.time_base), stream=stream)  # to the keyframe before it
            for frame in _decode(container, stream):
                if frame.is_corrupt or frame.pts is None or frame.time_base is None:
                    continue
                time_s = max(0.0, float((frame.pts - start) * frame.time_base))
                if after_s is None or time_s > after_s + _SAME_TIME_S:
                    yield Picture(_upright(frame), time_s)
    except (av.error.FFmpegError, OSError, IndexError):
        return


def _decode(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Frames of all packets that decode; one broken packet does not end the file."""
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            continue


def _upright(frame: VideoFrame) -> Image:
    """The picture as BGR, turned by the file's display matrix."""
    image = np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
    quarter_turns = round(frame.rotation / 90) % 4  # counter-clockwise, as np.rot90 turns
    return np.ascontiguousarray(np.rot90(image, quarter_turns)) if quarter_turns else image


def _shown_frames(container: InputContainer, stream: VideoStream) -> int | None:
    """Exact for MP4 and MOV, whose index lists every frame, also those of a fragmented file; None elsewhere."""
    if "mov" not in container.format.name.split(",") or not len(stream.index_entries):
        return None
    return sum(1 for entry in stream.index_entries if not entry.flags & _INDEX_DISCARD)


def _duration_s(container: InputContainer, stream: VideoStream) -> float | None:
    """The video's own length: from the stream, from Matroska's tag, or from a file that holds nothing but video."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    hours, _, rest = stream.metadata.get("DURATION", "").partition(":")
    minutes, _, seconds = rest.partition(":")
    try:
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        alone = len(container.streams) == 1 and container.duration
        return container.duration / av.time_base if alone and container.duration else None
