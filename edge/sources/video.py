"""A video file: PyAV reads MP4, MOV, Matroska, WebM and MPEG-TS, OpenCV the rest; each steps in for the other.

Time stamps are the file's own presentation times (checked on files of variable rate, with and without B-frames). AVI
and raw H.264 have none: OpenCV's CAP_PROP_POS_MSEC after a read is used there, or the frame rate stands in.
"""

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import cv2
import numpy as np

from edge.records import Frame, SizeWH, SourceInfo
from edge.sources.quiet import silence
from edge.sources.shrink import Fit
from edge.sources.source import Source, unusable
from edge.sources.video_av import ASSUMED_FPS, DecodedFrame, VideoFacts, holds_no_video, read_facts, read_with_pyav

_RAW_NOTE = "frames of more than 8 bit are stretched to 8 bit by percentiles of their values that move slowly"
_STILL_ADVICE = "it is a picture of another kind or name; save it as PNG or JPEG"
_LEAST_SQUEEZE = 0.02  # less comes from rounding a size, and nobody sees it
_LEAST_HOLE_S, _HOLE_STEPS = 1.0, 10.0  # less is a slow frame, or a video of variable rate
_SLACK_FRAMES = 3.0  # containers round the length of a video by a frame or two


@dataclass(frozen=True, slots=True)
class Hole:
    """Seconds of a video without a frame: Matroska and MPEG-TS do not tell how many there were."""

    from_s: float = 0.0
    to_s: float = 0.0

    @property
    def length_s(self) -> float:
        """From the frame before it to the one after it."""
        return self.to_s - self.from_s


class VideoSource(Source):
    """One video file, every frame once, in order of presentation, upright."""

    def __init__(self, path: Path, shown: str, fit: Fit | None = None) -> None:
        """Open the file and decode its first frame, so that an unusable file is refused before anything is written.

        With `fit` frames may come at that size where it is smaller; they know the size of the whole picture.

        Raises:
            SourceError: the file is empty, is no video, or has no frame that can be decoded.
        """
        silence()
        if path.stat().st_size == 0:
            raise unusable(shown, "a video with at least one frame", "the file is empty")
        started = time.perf_counter()
        self._path = path
        self._fit = fit
        facts = read_facts(path)
        if facts is None and holds_no_video(path):
            raise unusable(shown, "a video that can be decoded", "it holds no video, only sound or the like")
        if facts is not None and facts.still:
            raise unusable(shown, "a video, or a picture that ends in .jpg, .png or the like", _STILL_ADVICE)
        self._by_opencv = facts is None or not (facts.timed or facts.raw)
        self._reader = self._read()
        first = next(self._reader, None)
        if first is None:
            self._by_opencv = not self._by_opencv
            self._reader = self._read()
            first = next(self._reader, None)
        if first is None:
            raise unusable(shown, "a video that can be decoded", _why_unreadable(path, facts))
        self._first_ms = (time.perf_counter() - started) * 1e3  # with the opening
        self._frames = chain(iter([first]), self._reader)  # chain would hold on to a list
        self._facts = facts or VideoFacts(None, None, None)
        self.warnings: list[str] = [_RAW_NOTE] if self._facts.raw else []
        if abs(self._facts.pixel_aspect - 1) > _LEAST_SQUEEZE:
            self.warnings.append(_squeezed(self._facts.pixel_aspect))
        self.info = SourceInfo(
            uri=shown,
            size_wh=first.full_wh or SizeWH(first.image.shape[1], first.image.shape[0]),
            fps=self._facts.fps,
            frame_count=estimated_frames(self._facts),
            live=False,
        )

    def __iter__(self) -> Iterator[Frame]:
        seq, time_s, started, hole = -1, 0.0, 0.0, Hole()
        for seq, decoded in enumerate(self._every_frame()):
            if decoded.time_s - time_s > hole.length_s:
                hole = Hole(time_s, decoded.time_s)
            time_s = decoded.time_s
            decode_ms = self._first_ms if seq == 0 else (time.perf_counter() - started) * 1e3
            yield Frame(seq=seq, image=decoded.image, time_s=time_s, decode_ms=decode_ms, full_wh=decoded.full_wh)
            started = time.perf_counter()
        if hole.length_s > max(_LEAST_HOLE_S, _HOLE_STEPS * usual_step_s(self._facts, seq + 1, time_s)):
            self.warnings.append(
                f"no frame from {hole.from_s:.1f} s to {hole.to_s:.1f} s: damaged there, or recorded so"
            )
        note = early_end(self._facts, seq + 1, time_s)
        if note:
            self.warnings.append(note)
            self.ended_early = True

    def _read(self) -> Generator[DecodedFrame, None, None]:
        return read_with_opencv(self._path) if self._by_opencv else read_with_pyav(self._path, fit=self._fit)

    def _every_frame(self) -> Iterator[DecodedFrame]:
        """What the reader reads, and what PyAV still finds where OpenCV gave up before the end of a damaged file."""
        count, last_s = 0, 0.0
        for frame in self._frames:
            count, last_s = count + 1, frame.time_s
            yield frame
        if self._by_opencv and early_end(self._facts, count, last_s):
            yield from read_with_pyav(self._path, after_s=last_s)

    def close(self) -> None:
        """Close the file."""
        self._reader.close()


def read_with_opencv(path: Path) -> Generator[DecodedFrame, None, None]:
    """Every frame that OpenCV decodes; nothing where it cannot open the file."""
    capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)  # FFmpeg takes `10:30.avi` for a protocol
    try:
        fps = capture.get(cv2.CAP_PROP_FPS)
        step_s = 1.0 / fps if 0 < fps < 1000 else 1.0 / ASSUMED_FPS
        last_s = -step_s
        while True:
            read, image = capture.read()
            if not read or image is None:
                return
            time_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3
            last_s = time_s if time_s > max(last_s, -1e-9) else last_s + step_s
            yield DecodedFrame(np.asarray(image, np.uint8), max(0.0, last_s))
    except cv2.error:
        return
    finally:
        capture.release()


def estimated_frames(facts: VideoFacts) -> int | None:
    """How many frames to expect: counted by the container, else its length times its rate."""
    if facts.frame_count:
        return facts.frame_count
    return round(facts.duration_s * facts.fps) if facts.duration_s and facts.fps else None


def usual_step_s(facts: VideoFacts, decoded: int, last_time_s: float) -> float:
    """Seconds from frame to frame, as the container has it, or as they were on average where that is longer."""
    return max(1.0 / (facts.fps or ASSUMED_FPS), last_time_s / decoded)


def early_end(facts: VideoFacts, decoded: int, last_time_s: float) -> str | None:
    """What to say of a file that gave fewer frames than it promised; None where it gave all.

    Without a count of frames the length decides, with some slack, since containers round it.
    """
    expected = estimated_frames(facts)
    if facts.frame_count is not None:
        short = decoded < facts.frame_count
    elif facts.duration_s is not None and decoded:
        short = last_time_s + _SLACK_FRAMES * usual_step_s(facts, decoded, last_time_s) < facts.duration_s
    else:
        short = False
    if not short:
        return None
    about = "" if facts.frame_count is not None else "about "
    promised = "" if expected is None else f" of {about}{expected}"
    ended_at = facts.duration_s is None or last_time_s < 0.98 * facts.duration_s
    what = "the file ends early" if ended_at else "the file is damaged"
    return f"{what}: {decoded}{promised} frames could be decoded"


def _squeezed(aspect: Fraction) -> str:
    return (
        f"pixels are {aspect.numerator}:{aspect.denominator}, not square: people look squeezed to the network and in "
        "the annotated video; convert the file with `ffmpeg -i IN -vf scale=iw*sar:ih,setsar=1 OUT`"
    )


def _why_unreadable(path: Path, facts: VideoFacts | None) -> str:
    """The likeliest reason, for a person."""
    if facts is not None:
        return "not one frame of it could be decoded"
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] == b"ftyp":
        return "its index (moov) is missing or damaged, as when the recorder lost power; repair it first"
    return "the file is damaged, or no video"
