"""The sustained run: `edge.watch` itself, with a sink that measures instead of writing files that anybody keeps."""

import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cv2

from edge.bench.feed import EndlessSource
from edge.bench.figures import RECOGNITION_STAGES, BenchReport, Sample, Subject, Temperatures
from edge.bench.machine import peak_rss_mb, temperature_c, this_machine
from edge.drawing import draw
from edge.errors import InvalidValueError, ProcessingError
from edge.interruption import Stop
from edge.recognizer import Recognizer
from edge.records import STAGES, Frame, FrameRecord, Image, Record, SizeWH, SourceInfo
from edge.sinks import JsonLinesSink, Sink, VideoSink
from edge.tally import StageTimes
from edge.watch import Selection, watch

_WARM_UP_S = 1.0
_WARM_UP_SHARE = 0.2  # of a short run
_WARM_UP_FRAMES = 3  # buffers, thread pools and the first key frame
_FRAMES_A_FILE = 300  # then the encoder starts a new file, so that a run of hours does not fill the disk
_MOST_SAMPLES = 20_000
_MOST_SECONDS = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class BenchRequest:
    """What to measure, apart from the model. `source` None: frames made by code."""

    source: str | None = None
    seconds: float = 10.0
    video: bool = True  # draw and encode, as `kestrel watch` does

    def __post_init__(self) -> None:
        if not 0.0 < self.seconds <= _MOST_SECONDS:
            raise InvalidValueError("seconds", f"above 0 and at most {_MOST_SECONDS:.0f}", self.seconds)

    @property
    def warm_up_s(self) -> float:
        """What passes before the first frame is counted."""
        return min(_WARM_UP_S, _WARM_UP_SHARE * self.seconds)


def run_bench(request: BenchRequest, recognizer: Recognizer, model_file: Path, stop: Stop) -> BenchReport:
    """Watch for `request.seconds` after a warm-up, or until a stop is asked for.

    Raises:
        KestrelError: the source cannot be opened or breaks off, or not one frame could be measured.
    """
    with tempfile.TemporaryDirectory() as scratch:
        meter = Meter(request, Path(scratch))
        source = EndlessSource(request.source, lambda: meter.enough, grey=recognizer.info.modality == "thermal")
        with source, JsonLinesSink(Path(os.devnull)) as lines, meter:
            meter.prepare(source.info)
            summary = watch(source, recognizer, [lines, meter], Selection(), stop)
    return meter.report(describe(recognizer, model_file, source.info.size_wh), source.info, summary.warnings)


def describe(recognizer: Recognizer, model_file: Path, frame_wh: SizeWH | None) -> Subject:
    """The subject of a measurement on frames of that size."""
    input_wh = recognizer.exact_input_wh if frame_wh is None else recognizer.place(frame_wh).input_wh
    return Subject(recognizer.info, model_file.name, input_wh, recognizer.provider, recognizer.threads)


class Meter(Sink):
    """Draws and encodes where that is asked for, and counts what each frame cost once the warm-up is over."""

    def __init__(self, request: BenchRequest, scratch: Path) -> None:
        self.warnings: list[str] = []
        self._request = request
        self._scratch = scratch
        self._encoder: Encoder | None = None
        self._first_at: float | None = None
        self._seen = 0
        self._frames = 0
        self._began_at = self._now = 0.0
        self._cpu_began = self._cpu_now = 0.0
        self._stages = {stage: StageTimes() for stage in STAGES}
        self._recognition = StageTimes()
        self._samples: list[Sample] = []
        self._keep_every = 1
        self._heat_began: float | None = None

    def prepare(self, info: SourceInfo) -> None:
        """Make ready to encode what comes from a source."""
        self._encoder = Encoder(self._scratch, info)

    @property
    def enough(self) -> bool:
        """Whether the run has been as long as it was asked to be."""
        return self._frames > 0 and self._now - self._began_at >= self._request.seconds

    def write(self, record: Record, frame: Frame | None) -> None:
        """Take one frame."""
        if not isinstance(record, FrameRecord) or frame is None:
            return
        stage_ms = {**(record.stage_ms or {}), **self._show(record, frame)}
        self._seen += 1
        self._now, self._cpu_now = time.perf_counter(), time.process_time()
        if self._first_at is None:
            self._first_at = self._now
        if self._began_at:
            self._count(stage_ms)
        elif self._seen >= _WARM_UP_FRAMES and self._now - self._first_at >= self._request.warm_up_s:
            self._began_at, self._cpu_began = self._now, self._cpu_now
            self._heat_began = temperature_c()

    def skip(self, frame: Frame) -> None:
        """Nothing is skipped."""

    def close(self) -> None:
        """Finish the scratch file."""
        if self._encoder is not None:
            self._encoder.close()

    def report(self, subject: Subject, info: SourceInfo, warnings: tuple[str, ...]) -> BenchReport:
        """All figures of the run.

        Raises:
            ProcessingError: it ended within the warm-up.
        """
        if not self._frames:
            raise ProcessingError("the run ended before a single frame was measured; the warm-up takes at least 3")
        heat_now = temperature_c()
        known = self._heat_began is not None and heat_now is not None
        return BenchReport(
            subject=subject,
            machine=this_machine(),
            source=info.uri,
            frame_wh=info.size_wh,
            frames=self._frames,
            seconds=self._now - self._began_at,
            cpu_s=self._cpu_now - self._cpu_began,
            stage_ms={stage: times.percentiles() for stage, times in self._stages.items()},
            recognition_ms=self._recognition.percentiles(),
            peak_rss_mb=peak_rss_mb(),
            temperatures=Temperatures(self._heat_began or 0.0, heat_now or 0.0) if known else None,
            samples=tuple(self._samples),
            warnings=warnings,
        )

    def _show(self, record: FrameRecord, frame: Frame) -> Mapping[str, float | None]:
        """Draw and encode; the milliseconds of both."""
        if not self._request.video or frame.image is None or self._encoder is None:
            return {}
        started = time.perf_counter()
        image = draw(frame.image, record)
        drawn = time.perf_counter()
        self._encoder.put(frame, image)
        encoded = time.perf_counter()
        self._encoder.tidy()
        return {"draw": 1000 * (drawn - started), "encode": 1000 * (encoded - drawn)}

    def _count(self, stage_ms: Mapping[str, float | None]) -> None:
        self._frames += 1
        ran = {stage: ms for stage, ms in stage_ms.items() if ms is not None}
        for stage, ms in ran.items():
            self._stages[stage].add(ms)
        if all(stage in ran for stage in RECOGNITION_STAGES):
            self._recognition.add(sum(ran[stage] for stage in RECOGNITION_STAGES))
        if self._frames % self._keep_every == 0:
            self._samples.append(Sample(self._now - self._began_at, sum(ran.values())))
        if len(self._samples) > _MOST_SAMPLES:
            self._samples, self._keep_every = self._samples[::2], 2 * self._keep_every


class Encoder:
    """Encodes as `kestrel watch` does: a video to H.264, pictures to JPEG."""

    def __init__(self, scratch: Path, info: SourceInfo) -> None:
        self._scratch = scratch
        self._info = info
        self._sink: VideoSink | None = None
        self._encoded = 0

    def put(self, frame: Frame, image: Image) -> None:
        """Encode one picture that is drawn already."""
        if self._info.size_wh is None:
            encode_jpeg(image)
            return
        if self._sink is None:
            self._sink = VideoSink(self._scratch / "scratch.mp4", self._info.size_wh, self._info.fps)
        # A frame that was not recognised is encoded as it is: nothing is drawn twice.
        self._sink.skip(replace(frame, image=image))
        self._encoded += 1

    def tidy(self) -> None:
        """Begin a new file now and then, outside of what is timed."""
        if self._encoded >= _FRAMES_A_FILE:
            self.close()

    def close(self) -> None:
        """Finish the file."""
        if self._sink is not None:
            self._sink.close()
        self._sink, self._encoded = None, 0


def encode_jpeg(image: Image) -> None:
    """Encode and forget.

    Raises:
        ProcessingError: the picture is too large for JPEG.
    """
    try:
        cv2.imencode(".jpg", image)
    except cv2.error as error:
        raise ProcessingError(f"a picture of {image.shape[1]}x{image.shape[0]} cannot be a JPEG: {error.err}") from None
