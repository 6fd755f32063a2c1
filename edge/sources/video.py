"""A video file, read by PyAV: OpenCV 5 makes nothing of interlaced pictures, and shows what lies in its memory instead.

Time stamps are the file's own presentation times (checked on files of variable rate, with and without B-frames). AVI
has times of decoding alone, which stand in; so does the frame rate where there are none, as in raw H.264.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import chain
from pathlib import Path

from edge.records import Frame, Signal, SourceInfo, size_of
from edge.sources.black import is_black
from edge.sources.quiet import silence
from edge.sources.shrink import Fit
from edge.sources.source import Source, unusable
from edge.sources.video_av import ASSUMED_FPS, DecodedFrame, VideoFacts, holds_no_video, read_facts, read_with_pyav

_RAW_NOTE = "frames of more than 8 bit are stretched to 8 bit by percentiles of their values that move slowly"
_STILL_ADVICE = "it is a picture of another kind or name; save it as PNG or JPEG"
_LEAST_SQUEEZE = 0.02  # less comes from rounding a size, and nobody sees it
_LEAST_HOLE_S, _HOLE_STEPS = 1.0, 10.0  # less is a slow frame, or a video of variable rate
_FEW_MISSING, _FEW_MISSING_SHARE = 2, 0.01  # cameras leave out a frame now and then
_ODD_STEPS = 0.02  # share of steps; more, and the rate is not constant
_SLACK_FRAMES = 3.0  # containers round the length of a video by a frame or two


class Gaps:
    """Where frames are missing, by the times of those that came: Matroska and MPEG-TS tell no number."""

    def __init__(self) -> None:
        self._last_s = 0.0
        self._longest_s = (0.0, 0.0)  # from the frame before it to the one after it
        self._steps_ms: Counter[int] = Counter()

    def see(self, time_s: float) -> None:
        """The next frame came."""
        before_s, self._last_s = self._last_s, time_s
        self._steps_ms[round((time_s - before_s) * 1e3)] += 1
        self._longest_s = max(self._longest_s, (before_s, time_s), key=lambda gap: gap[1] - gap[0])

    def longest(self, usual_step_s: float) -> str | None:
        """What to say of the longest one; None where it is short."""
        from_s, to_s = self._longest_s
        if to_s - from_s <= max(_LEAST_HOLE_S, _HOLE_STEPS * usual_step_s):
            return None
        return f"no frame from {from_s:.1f} s to {to_s:.1f} s: damaged there, or recorded so"

    def several(self) -> str | None:
        """What to say of all of them; None where there are none, or hardly any."""
        missing = missing_between(self._steps_ms)
        if missing <= max(_FEW_MISSING, _FEW_MISSING_SHARE * self._steps_ms.total()):
            return None
        return f"about {missing} frames are missing between others: damaged there, or recorded so"


def missing_between(steps_ms: Mapping[int, int]) -> int:
    """How many frames of a constant rate did not come, by how often each step from one to the next came.

    0 where the steps are no multiples of the commonest one: the rate varies, and nobody knows.
    """
    usual = max(steps_ms, key=lambda step: steps_ms[step], default=0)
    if usual <= 0:
        return 0
    multiples = {step: round(step / usual) for step in steps_ms}
    odd = sum(count for step, count in steps_ms.items() if abs(step - multiples[step] * usual) > multiples[step])
    if odd > _ODD_STEPS * sum(steps_ms.values()):
        return 0
    return sum(count * max(0, multiples[step] - 1) for step, count in steps_ms.items())


class VideoSource(Source):
    """One video file, every frame once, in order of presentation, upright."""

    def __init__(self, path: Path, shown: str, fit: Fit | None = None) -> None:
        """Open the file and decode its first frame, so that an unusable file is refused before anything is written.

        With `fit` frames may come at that size where it is smaller; they know the size of the whole picture.

        Raises:
            SourceError: the file is empty, is no video, or has no frame that can be decoded.
        """
        silence()
        if not path.is_file():
            raise unusable(shown, "a file", "a pipe cannot be read twice; save it to a file, or serve it as a stream")
        if path.stat().st_size == 0:
            raise unusable(shown, "a video with at least one frame", "the file is empty")
        started = time.perf_counter()
        facts = read_facts(path)
        if facts is None and holds_no_video(path):
            raise unusable(shown, "a video that can be decoded", "it holds no video, only sound or the like")
        if facts is not None and facts.still:
            raise unusable(shown, "a video, or a picture that ends in .jpg, .png or the like", _STILL_ADVICE)
        self._reader = read_with_pyav(path, fit)
        head = _up_to_a_whole_one(self._reader)
        first = head[-1] if head else None
        if first is None or first.image is None:
            raise unusable(shown, "a video that can be decoded", _why_unreadable(path, facts, damaged=len(head)))
        self._first_ms = (time.perf_counter() - started) * 1e3  # with the opening
        self._frames = chain(_handed_over(head), self._reader)
        self._facts = facts or VideoFacts(None, None, None)
        self.warnings: list[str] = [_RAW_NOTE] if self._facts.raw else []
        if abs(self._facts.pixel_aspect - 1) > _LEAST_SQUEEZE:
            self.warnings.append(_squeezed(self._facts.pixel_aspect))
        self.info = SourceInfo(
            uri=shown,
            size_wh=first.full_wh or size_of(first.image),
            fps=self._facts.fps,
            frame_count=estimated_frames(self._facts),
            live=False,
        )

    def __iter__(self) -> Iterator[Frame]:
        seq, time_s, started, gaps, damaged, black = -1, 0.0, 0.0, Gaps(), 0, 0
        for seq, decoded in enumerate(self._frames):
            time_s = decoded.time_s
            gaps.see(time_s)
            decode_ms = self._first_ms if seq == 0 else (time.perf_counter() - started) * 1e3
            damaged += decoded.image is None
            black += decoded.image is not None and is_black(decoded.image)
            signal: Signal = "bad_frame" if decoded.image is None else "ok"
            yield Frame(seq, decoded.image, time_s=time_s, signal=signal, decode_ms=decode_ms, full_wh=decoded.full_wh)
            started = time.perf_counter()
        early = early_end(self._facts, seq + 1, time_s)
        self.ended_early = early is not None
        longest = gaps.longest(usual_step_s(self._facts, seq + 1, time_s))
        counted = self._facts.frame_count is not None
        notes = (
            _counted(damaged, "damaged", "bad_frame, verdict unknown"),
            _counted(black, "black", "clear does not mean that nobody is there"),
            longest,
            early if early or longest or counted else gaps.several(),
        )
        self.warnings += [note for note in notes if note]

    def close(self) -> None:
        """Close the file."""
        self._reader.close()


def _up_to_a_whole_one(frames: Iterator[DecodedFrame]) -> list[DecodedFrame]:
    """Those up to the first with a picture: a recording that begins within a stream has damaged ones before it."""
    head: list[DecodedFrame] = []
    for frame in frames:
        head.append(frame)
        if frame.image is not None:
            break
    return head


def _handed_over(frames: list[DecodedFrame]) -> Iterator[DecodedFrame]:
    """One by one, and none of them is held any longer."""
    while frames:
        yield frames.pop(0)


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

    Without a count of frames the length decides, with some slack, since containers round it. Where frames carry no
    times, a hole looks like an early end, and what lies behind it comes too early.
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
    if ended_at and facts.frame_count is None and not facts.timed:
        what = "the file ends early, or is damaged, and times behind that are too early"
    return f"{what}: {decoded}{promised} frames could be decoded"


def _counted(count: int, kind: str, meaning: str) -> str | None:
    return f"{count} {kind} frame{'s' if count > 1 else ''}: {meaning}" if count else None


def _squeezed(aspect: Fraction) -> str:
    return (
        f"pixels are {aspect.numerator}:{aspect.denominator}, not square: people look squeezed to the network and in "
        "the annotated video; convert the file with `ffmpeg -i IN -vf scale=iw*sar:ih,setsar=1 OUT`"
    )


def _why_unreadable(path: Path, facts: VideoFacts | None, damaged: int) -> str:
    """The likeliest reason, for a person."""
    if damaged:
        return "it is damaged from its first frame on, and no keyframe comes that could be trusted"
    if facts is not None:
        return "not one frame of it could be decoded"
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] == b"ftyp":
        return "its index (moov) is missing or damaged, as when the recorder lost power; repair it first"
    return "the file is damaged, or no video"
