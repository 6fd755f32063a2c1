"""End to end on files: frames a second of `kestrel bench` on 1080p30 at 8 Mbit/s and on 4K30, with and without video.

    python -m tests.bench_pipeline [MODEL] [--threads N] [--seconds S] [--keep DIR]

The files are the shipped colour clip, enlarged, with the noise of a sensor, so that they need their bit rate; every row
is a process of its own. No part of the test run.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import av
import cv2
import numpy as np

from edge.demo import CLIPS_FOLDER
from edge.machine import this_machine
from edge.records import Image, SizeWH
from edge.sources import open_source
from tests.bench_peers import markdown

_NOISE = 5.0  # grey levels, of a small sensor by day
_NOISE_FRAMES = 3


@dataclass(frozen=True, slots=True)
class Footage:
    """A file to make."""

    name: str
    size_wh: SizeWH
    bits_per_s: int
    frames: int


@dataclass(frozen=True, slots=True)
class Case:
    """One row: a file, with the annotated video or without, and the least that it has to reach."""

    footage: Footage
    video: bool
    goal_fps: int


FULL_HD = Footage("1080p30, 8 Mbit/s", SizeWH(1920, 1080), 8_000_000, 300)
ULTRA_HD = Footage("4K30, 20 Mbit/s", SizeWH(3840, 2160), 20_000_000, 90)
CASES = (Case(FULL_HD, False, 75), Case(FULL_HD, True, 40), Case(ULTRA_HD, False, 25), Case(ULTRA_HD, True, 25))


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench_pipeline", description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="rgb", help="a model file, or the name of a shipped model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each row")
    parser.add_argument("--keep", type=Path, help="folder for the files, which are made once there")
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        head = ("file", "written", "frames/s", "goal", "CPU ms a frame", "infer ms p50", "peak memory MB")
        print(markdown(head, [row(case, folder, options) for case in CASES]))
    print(f"\n{options.model}, {options.threads} threads, {this_machine()}, {', '.join(this_machine().packages)}")


def row(case: Case, folder: Path, options: argparse.Namespace) -> tuple[str, ...]:
    """Run the bench on one file."""
    command = [sys.executable, "-m", "edge", "bench", str(made(case.footage, folder)), "--model", options.model]
    command += ["--threads", str(options.threads), "--seconds", str(options.seconds), "--json", "-"]
    command += ["--chart", str(folder / "chart.png"), *([] if case.video else ["--no-video"])]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    found = json.loads(done.stdout)
    return (
        case.footage.name,
        "records and video" if case.video else "records",
        f"{found['fps']:.1f}",
        str(case.goal_fps),
        f"{1000 * found['cpu_s_per_frame']:.1f}",
        f"{found['stage_ms']['infer']['p50']:.1f}",
        f"{found['peak_rss_mb']:.0f}",
    )


def made(footage: Footage, folder: Path) -> Path:
    """The file, encoded where it is not there yet."""
    path = folder / f"{footage.size_wh}.mp4"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    shape = (footage.size_wh.height, footage.size_wh.width, 1)
    noises = [np.int8(random.normal(0, _NOISE, shape).round()) for _ in range(_NOISE_FRAMES)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "veryfast", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = footage.size_wh.width, footage.size_wh.height, "yuv420p"
        stream.bit_rate = footage.bits_per_s
        for image, noise in zip(islice(clip(footage.size_wh), footage.frames), cycle(noises), strict=False):
            noisy = np.clip(image.astype(np.int16) + noise, 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noisy, format="bgr24")))
        container.mux(stream.encode(None))
    return path


def clip(size_wh: SizeWH) -> Iterator[Image]:
    """The shipped colour clip over and over, enlarged."""
    while True:
        with open_source(str(CLIPS_FOLDER / "colour-parking-lot.mp4")) as source:
            for frame in source:
                yield np.asarray(cv2.resize(frame.image, (size_wh.width, size_wh.height)), np.uint8)


if __name__ == "__main__":
    main()
