"""What it costs in accuracy that the decoder scales straight to the network's size, against OpenCV's whole pictures.

    python -m tests.bench_shrink DATASET_DIR [MODEL] [--size WxH] [--limit N]

Every labelled picture becomes a video of one frame (H.264, 4:2:0). It is read three ways: by OpenCV and by PyAV as a
whole, then scaled as every picture is; and by PyAV at the network's size, as `kestrel watch --no-video` does. The
time is that from the open file to the network's input, without the network. No part of the test run.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import cv2
import numpy as np

from edge.machine import this_machine
from edge.model_files import SHIPPED_NAMES, resolve
from edge.options import parse_size
from edge.recognizer import Recognizer, RecognizerSettings
from edge.records import Image, Recognition, SizeWH
from edge.sources.quiet import silence
from edge.sources.video_av import DecodedFrame, read_with_pyav
from tests.bench_peers import SCORE_FLOOR, markdown
from tests.edge.videos import images_of_opencv

_CRF = "18"  # visually without loss


@dataclass(slots=True)
class Way:
    """One way to read a file, and what came of it."""

    name: str
    read: Callable[[Path], DecodedFrame]
    found: list[Recognition] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)
    shrunk: int = 0  # pictures that came smaller than they are


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench_shrink", description=__doc__.splitlines()[0])
    parser.add_argument("dataset_dir", type=Path, help="labelled folder")
    parser.add_argument("model", nargs="?", default="rgb", help="a model file, or the name of a shipped model")
    parser.add_argument("--size", help="exact input of the network, WxH: a small one, for pictures that are small")
    parser.add_argument("--limit", type=int, help="only the first N pictures")
    options = parser.parse_args(words)
    silence()
    file = resolve(options.model) if options.model in SHIPPED_NAMES else Path(options.model)
    settings = RecognizerSettings(threshold=SCORE_FLOOR, input_wh=parse_size(options.size))
    recognizer = Recognizer(file, settings)
    ways = run(options.dataset_dir, recognizer, options.limit)
    print(f"{options.dataset_dir.name}, {file.stem}, {len(ways[0].found)} pictures, {ways[-1].shrunk} of them shrunk\n")
    print(table(ways, options.dataset_dir, options.limit))
    print(f"\n{this_machine()}, {', '.join(this_machine().packages)}")


def run(dataset_dir: Path, recognizer: Recognizer, limit: int | None) -> list[Way]:
    """Every picture all three ways, in turn."""
    from training.datasets import load_image, read_dataset

    def fit(frame_wh: SizeWH) -> SizeWH:
        return recognizer.place(frame_wh).content_wh

    ways = [
        Way("OpenCV, whole pictures", lambda path: DecodedFrame(next(images_of_opencv(path)), 0.0)),
        Way("PyAV, whole pictures", lambda path: next(read_with_pyav(path))),
        Way("PyAV, at the network's size", lambda path: next(read_with_pyav(path, fit=fit))),
    ]
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "picture.mp4"
        for picture in read_dataset(dataset_dir).pictures[:limit]:
            image = load_image(picture)
            write_video(path, image)
            for way in ways:
                look(way, path, SizeWH(image.shape[1], image.shape[0]), recognizer)
    return ways


def write_video(path: Path, image: Image) -> None:
    """One frame; H.264 needs even sides, so the last row or column may be repeated."""
    height, width = image.shape[:2]
    even = np.asarray(cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": _CRF, "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = even.shape[1], even.shape[0], "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="bgr24")))
        container.mux(stream.encode(None))


def look(way: Way, path: Path, frame_wh: SizeWH, recognizer: Recognizer) -> None:
    """Read, recognise, remember."""
    started = time.perf_counter()
    picture = way.read(path)
    read = time.perf_counter()
    even_wh = picture.full_wh or SizeWH(picture.image.shape[1], picture.image.shape[0])
    recognition = recognizer.recognise(picture.image, frame_wh=even_wh)
    assert even_wh.width - frame_wh.width in (0, 1)
    way.found.append(recognition)
    way.ms.append(1000 * (read - started) + recognition.preprocess_ms)
    way.shrunk += picture.full_wh is not None


def table(ways: Sequence[Way], dataset_dir: Path, limit: int | None) -> str:
    """Accuracy of each way, its difference from the first, and the time to the network's input."""
    from training.coco_scoring import DetectedPicture
    from training.datasets import read_dataset
    from training.evaluation import judge

    pictures = read_dataset(dataset_dir).pictures[:limit]
    figures = []
    for way in ways:
        detected = [
            DetectedPicture(picture, found.presence, found.boxes_xyxy, found.scores)
            for picture, found in zip(pictures, way.found, strict=True)
        ]
        one = judge(detected, 0.5, model=way.name, dataset=dataset_dir.name)
        figures.append((one.boxes.ap50, one.boxes.ap50_95, one.boxes.centre_ap, one.presence.auroc))
    head = ("way", "AP50", "AP50:95", "centre AP", "presence AUROC", "presence differs by", "ms p50")
    rows = []
    for way, mine in zip(ways, figures, strict=True):
        cells = [_with_difference(value, first) for value, first in zip(mine, figures[0], strict=True)]
        presence = np.abs([a.presence - b.presence for a, b in zip(way.found, ways[0].found, strict=True)])
        rows.append((way.name, *cells, f"{presence.mean():.4f}", f"{np.median(way.ms):.2f}"))
    return markdown(head, rows)


def _with_difference(value: float | None, first: float | None) -> str:
    if value is None or first is None:
        return "-"
    return f"{value:.4f} ({value - first:+.4f})"


if __name__ == "__main__":
    main()
