"""Micro-benchmarks of what happens to one 1080p frame: medians in milliseconds. No part of the test run.

    python -m tests.bench_recognizer [MODEL] [--size 1280x736] [--threads N] [--repeats N]

Without a model the bright-spot network of the tests serves: all but `infer` costs the same.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.bench.crowd import crowd
from edge.bench.feed import MADE_WH, MadeFrames
from edge.drawing import draw
from edge.geometry import nms
from edge.machine import this_machine
from edge.modality import appearance_of
from edge.model_files import SHIPPED_NAMES, resolve
from edge.options import parse_size
from edge.recognizer import Recognizer, RecognizerSettings
from edge.records import Frame, Image, Recognition
from edge.reports import make_frame_record
from edge.sinks import JsonLinesSink
from tests.models import write_spot_model

PEOPLE = (0, 10, 50, 100, 200, 300, 500)
_WARM_UP = 3


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to measure, by name."""

    name: str
    work: Callable[[], object]


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench_recognizer", description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", help="a model file, or the name of a shipped model")
    parser.add_argument("--size", help="exact input of the network, WxH")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=50)
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as scratch:
        settings = RecognizerSettings(options.threads, input_wh=parse_size(options.size))
        recognizer = Recognizer(model_file(options.model, Path(scratch)), settings)
        size = recognizer.place(MADE_WH).input_wh
        print(f"{recognizer.info.name} {recognizer.info.precision} at {size}, {options.threads} threads\n")
        print(f"{'':28}{'p50 ms':>9}{'p95 ms':>9}")
        for case in cases(recognizer, Path(scratch)):
            ms = measured(case.work, options.repeats)
            print(f"{case.name:28}{np.median(ms):9.3f}{np.percentile(ms, 95):9.3f}", flush=True)
    print(f"\n{this_machine()}, {', '.join(this_machine().packages)}")


def model_file(model: str | None, scratch: Path) -> Path:
    """What was named, or the tests' own model."""
    if model is None:
        return write_spot_model(scratch / "spots.onnx")
    return resolve(model) if model in SHIPPED_NAMES else Path(model)


def cases(recognizer: Recognizer, scratch: Path) -> Iterator[Case]:
    """From the frame to the line of JSON."""
    frame = next(iter(MadeFrames(grey=recognizer.info.modality == "thermal")))
    image = np.ascontiguousarray(frame.image)
    network_input = recognizer.preprocess(image)
    yield Case("appearance (first frames only)", lambda: appearance_of(image))
    yield Case("preprocess", lambda: recognizer.preprocess(image))
    yield Case("infer", lambda: recognizer.infer(network_input))
    for people in PEOPLE:
        yield from cases_with(people, image, recognizer, scratch)


def cases_with(people: int, image: Image, recognizer: Recognizer, scratch: Path) -> Iterator[Case]:
    """What follows the network, for so many people."""
    placement = recognizer.place(MADE_WH)
    predictions = crowd(people, placement)
    found = recognizer.postprocess(predictions, placement)
    recognition = Recognition(predictions.presence, found.boxes_xyxy, found.scores, 0.0, 0.0, 0.0)
    frame = Frame(seq=0, image=image, time_s=0.0)
    record = make_frame_record(frame, recognition, "pedestrian" if people else "clear")
    boxes_xyxy, scores = predictions.boxes_xyxy[:people], predictions.scores[:people]
    yield Case(f"postprocess, {people} people", lambda: recognizer.postprocess(predictions, placement))
    yield Case(f"  of it NMS, {people} people", lambda: nms(boxes_xyxy, scores, recognizer.metadata.nms_iou))
    yield Case(f"record, {people} people", lambda: make_frame_record(frame, recognition, record.verdict))
    yield Case(f"draw, {people} people", lambda: draw(image, record))
    yield Case(f"JSON line, {people} people", lambda: json.dumps(record.to_json(), allow_nan=False))
    with JsonLinesSink(scratch / "records.jsonl") as sink:
        yield Case(f"JSON line to disk, {people}", lambda: sink.write(record, frame))


def measured(work: Callable[[], object], repeats: int) -> list[float]:
    """Milliseconds of each of `repeats` calls after a warm-up."""
    ms = []
    for number in range(_WARM_UP + repeats):
        started = time.perf_counter()
        work()
        if number >= _WARM_UP:
            ms.append(1000 * (time.perf_counter() - started))
    return ms


if __name__ == "__main__":
    main()
