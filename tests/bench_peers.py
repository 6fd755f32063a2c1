"""This project's models and public peers on the same pictures in one run, as the table of the README.

    python -m tests.bench_peers PEERS_DIR DATASET_DIR [MODEL...]

Every picture goes through every detector before the next one comes, and the turn rotates, so that what slows the
machine slows all of them. Times are from the decoded picture to its boxes. Peak memory is that of a process of its own
that detects on a few of the pictures. No part of the test run.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edge.bench.feed import paint_ground
from edge.machine import peak_rss_mb, this_machine
from edge.model_files import SHIPPED_NAMES, resolve, shipped_files
from edge.recognizer import Recognizer, RecognizerSettings
from edge.records import Boxes, Image, Scores, SizeWH
from edge.sources.pictures import PICTURE_SUFFIXES, read_picture
from tests.peer_detectors import RECIPES, REFERENCE, load_peer, peers_in

SCORE_FLOOR = 0.02  # of our models; AP needs low scores
_WARM_UP = 3
_MEMORY_PICTURES = 20
_FRAME_WH = SizeWH(1280, 720)


@dataclass(frozen=True, slots=True)
class Found:
    """What a detector says of one picture."""

    presence: float
    boxes_xyxy: Boxes
    scores: Scores


@dataclass(frozen=True, slots=True)
class Detector:
    """A name, a file, and the way from a picture (H, W, 3) BGR to what is in it; `grey`: it is a thermal model."""

    name: str
    file: Path
    input_words: str
    detect: Callable[[Image], Found]
    grey: bool = False
    ms: list[float] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    detector: Detector
    ap50: float | None
    centre_ap: float | None
    auroc: float | None
    peak_mb: float | None


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench_peers", description=__doc__.splitlines()[0])
    parser.add_argument("peers_dir", type=Path, help="folder with the peers' ONNX files")
    parser.add_argument("dataset_dir", type=Path, help="labelled folder")
    parser.add_argument("models", nargs="*", help="model files or names of ours; default: all that are shipped")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=int, help="only the first N pictures")
    parser.add_argument("--frames", type=int, default=60, help="rounds of the 1280x720 frame")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)  # what the processes of their own are started with
    options = parser.parse_intermixed_args(words)
    if options.peak_of:
        print(peak_of(options))
        return
    names = [*(options.models or map(str, shipped_files())), *peers_in(options.peers_dir)]
    detectors = [load(name, options.peers_dir, options.threads) for name in names]
    rows = judge_all(detectors, options)
    print(f"{options.dataset_dir.name}, {len(detectors[0].found)} pictures\n\n{table(rows)}\n")
    print(f"One {_FRAME_WH} frame, {options.frames} rounds\n\n{frame_table(detectors, options.frames)}\n")
    threads = "1 thread" if options.threads == 1 else f"{options.threads} threads"
    print(f"{this_machine()}, {threads}, {', '.join(this_machine().packages)}")


def load(name: str, peers_dir: Path, threads: int) -> Detector:
    """A peer by its name, or a model of ours by its file or name."""
    if name in RECIPES:
        peer = load_peer(name, peers_dir, threads)

        def ask_peer(image: Image) -> Found:
            found = peer.detect(image)
            return Found(float(found.scores.max(initial=0.0)), found.boxes_xyxy, found.scores)

        side = peer.recipe.side
        return Detector(name, peers_dir / peer.recipe.file, f"{side}x{side}", ask_peer)
    file = resolve(name) if name in SHIPPED_NAMES else Path(name)
    recognizer = Recognizer(file, RecognizerSettings(threads, threshold=SCORE_FLOOR))

    def ask_ours(image: Image) -> Found:
        recognition = recognizer.recognise(image)
        return Found(recognition.presence, recognition.boxes_xyxy, recognition.scores)

    long_side = recognizer.metadata.default_long_side
    words = f"long side {long_side}, {recognizer.info.precision}"
    return Detector(file.stem, file, words, ask_ours, recognizer.info.modality == "thermal")


def judge_all(detectors: Sequence[Detector], options: argparse.Namespace) -> list[Row]:
    """All pictures through all detectors, then the scores of each."""
    from training.coco_scoring import DetectedPicture
    from training.datasets import load_image, read_dataset
    from training.evaluation import judge

    pictures = read_dataset(options.dataset_dir).pictures[: options.limit]
    warm_up = pictures[:_WARM_UP]
    for number, picture in enumerate([*warm_up, *pictures]):
        image = load_image(picture)
        for turn in range(len(detectors)):
            detector = detectors[(number + turn) % len(detectors)]
            started = time.perf_counter()
            found = detector.detect(image)
            ms = 1000 * (time.perf_counter() - started)
            if number >= len(warm_up):
                detector.ms.append(ms)
                detector.found.append(found)
    rows = []
    for detector in detectors:
        detected = [
            DetectedPicture(picture, found.presence, found.boxes_xyxy, found.scores)
            for picture, found in zip(pictures, detector.found, strict=True)
        ]
        evaluation = judge(detected, 0.5, model=detector.name, dataset=options.dataset_dir.name)
        boxes, presence = evaluation.boxes, evaluation.presence
        rows.append(Row(detector, boxes.ap50, boxes.centre_ap, presence.auroc, measure_peak(detector, options)))
    return rows


def measure_peak(detector: Detector, options: argparse.Namespace) -> float | None:
    """The peak memory of a process that loads and runs this detector alone."""
    name = detector.name if detector.name in RECIPES else str(detector.file)
    command = [sys.executable, "-m", "tests.bench_peers", str(options.peers_dir), str(options.dataset_dir)]
    done = subprocess.run(
        [*command, "--threads", str(options.threads), "--peak-of", name], check=True, capture_output=True, text=True
    )
    return None if done.stdout.strip() == "None" else float(done.stdout)


def peak_of(options: argparse.Namespace) -> float | None:
    """In the process of its own: a few of the pictures, then the peak. Nothing is loaded for judging."""
    detector = load(options.peak_of, options.peers_dir, options.threads)
    files = sorted(path for path in options.dataset_dir.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
    for file in files[:: max(1, len(files) // _MEMORY_PICTURES)]:  # of all sizes that there are
        image = read_picture(file).image
        if image is None:
            raise SystemExit(f"{file} cannot be decoded")
        detector.detect(image)
    if not files:
        raise SystemExit(f"{options.dataset_dir} holds no pictures")
    return peak_rss_mb()


def table(rows: Sequence[Row]) -> str:
    """The comparison as Markdown, the best AP50 first."""
    head = ("model", "input", "AP50", "centre AP", "presence AUROC", "ms p50", "ms p95", f"time / {REFERENCE}")
    reference = next((row.detector.ms for row in rows if row.detector.name == REFERENCE), None)
    cells = []
    for row in sorted(rows, key=lambda row: -(row.ap50 or 0.0)):
        ms = row.detector.ms
        cells.append(
            (
                row.detector.name,
                row.detector.input_words,
                *(_figure(value) for value in (row.ap50, row.centre_ap, row.auroc)),
                f"{np.median(ms):.1f}",
                f"{np.percentile(ms, 95):.1f}",
                _ratio(ms, reference),
                f"{row.detector.file.stat().st_size / 1e6:.1f}",
                "-" if row.peak_mb is None else f"{row.peak_mb:.0f}",
            )
        )
    return markdown((*head, "size MB", "peak memory MB"), cells)


def frame_table(detectors: Sequence[Detector], rounds: int) -> str:
    """Resize to boxes of one frame, ours against the reference, turn by turn; each nano against its small, too."""
    chosen = [one for one in detectors if one.name == REFERENCE or one.name not in RECIPES]
    images = {grey: paint_ground(_FRAME_WH, grey=grey) for grey in (False, True)}
    ms: dict[str, list[float]] = {one.name: [] for one in chosen}
    for number in range(_WARM_UP + rounds):
        for turn in range(len(chosen)):
            detector = chosen[(number + turn) % len(chosen)]
            started = time.perf_counter()
            detector.detect(images[detector.grey])
            if number >= _WARM_UP:
                ms[detector.name].append(1000 * (time.perf_counter() - started))
    cells = [
        (
            name,
            f"{np.median(values):.1f}",
            f"{np.percentile(values, 95):.1f}",
            _ratio(values, ms.get(REFERENCE)),
            _ratio(values, ms.get(name.replace("-nano-", "-small-")) if "-nano-" in name else None),
        )
        for name, values in ms.items()
    ]
    return markdown(("model", "ms p50", "ms p95", f"time / {REFERENCE}", "nano / small"), cells)


def _ratio(ms: Sequence[float], others_ms: Sequence[float] | None) -> str:
    return "-" if others_ms is None else f"{np.median(ms) / np.median(others_ms):.3f}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose columns line up in plain text, too."""
    widths = [max(len(row[k]) for row in (head, *rows)) for k in range(len(head))]
    cells = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in (head, *rows)]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()
