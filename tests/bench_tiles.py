"""What tiles gain on large footage with small people: AP50 by height, and whether presence stays a probability.

    python -m tests.bench_tiles make PEOPLE GROUND OUT [--each 12] [--seed 0]
    python -m tests.bench_tiles score OUT [--model rgb] [--threads 2]

`make` lays labelled pictures side by side on 3840x2160, as synthetic as that sounds, and writes three COCO folders:
`crowded` (every other picture from PEOPLE, the rest from GROUND's that show nobody), `sparse` (one from PEOPLE) and
`empty` (none). `score` judges the whole-frame mode and the tiles on them. No part of the test run.
"""

import argparse
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edge.machine import this_machine
from edge.model_files import SHIPPED_NAMES, resolve
from edge.recognizer import Recognizer, RecognizerSettings
from edge.records import Boxes, Image, Recognition, SizeWH
from edge.tiling import Batches, plan_for
from training.coco_scoring import DetectedPicture, HeightScore
from training.datasets import LabelledPicture, load_image, read_dataset
from training.evaluation import SCORE_FLOOR, Evaluation, detect, judge
from training.presence_scoring import score_presence

MOSAIC_WH = SizeWH(3840, 2160)
ROWS = 3
LEAST_VISIBLE = 0.6  # of a person at a cut; who shows less is ignored
KINDS = ("crowded", "sparse", "empty")
PEDESTRIAN, IGNORE = 1, 5


@dataclass(frozen=True, slots=True)
class Mosaic:
    """One picture made of many, with its labels in its own pixels."""

    image: Image
    boxes_xyxy: Boxes  # (N, 4) pedestrians
    ignore_xyxy: Boxes  # (M, 4)


def make_mosaic(pictures: Sequence[LabelledPicture]) -> Mosaic:
    """Fill three rows from left to right, each picture scaled to the row's height; the last of a row is cut.

    Raises:
        ValueError: they do not fill the rows.
    """
    canvas = np.zeros((MOSAIC_WH.height, MOSAIC_WH.width, 3), np.uint8)
    row_height = MOSAIC_WH.height // ROWS
    people, ignored = [np.zeros((0, 4), np.float32)], [np.zeros((0, 4), np.float32)]
    queue = iter(pictures)
    for row in range(ROWS):
        x, y = 0, row * row_height
        while x < MOSAIC_WH.width:
            picture = next(queue, None)
            if picture is None:
                raise ValueError(f"{len(pictures)} pictures are too few for a mosaic")
            scale = row_height / picture.size_wh.height
            image = cv2.resize(load_image(picture), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            width = min(image.shape[1], MOSAIC_WH.width - x)
            canvas[y : y + row_height, x : x + width] = image[:row_height, :width]
            cut = placed(picture.boxes_xyxy * scale, x, y, SizeWH(width, row_height))
            people.append(cut.boxes_xyxy)
            ignored += [cut.ignore_xyxy, placed(picture.ignore_xyxy * scale, x, y, SizeWH(width, row_height)).all_xyxy]
            x += width
    return Mosaic(canvas, np.concatenate(people), np.concatenate(ignored))


@dataclass(frozen=True, slots=True)
class Placed:
    """Boxes of a picture within its part of a mosaic."""

    boxes_xyxy: Boxes  # those of which enough is left
    ignore_xyxy: Boxes  # the others

    @property
    def all_xyxy(self) -> Boxes:
        """Both."""
        return np.concatenate([self.boxes_xyxy, self.ignore_xyxy])


def placed(boxes_xyxy: Boxes, x: int, y: int, room_wh: SizeWH) -> Placed:
    """Boxes clipped to `room_wh` and moved by x and y; those outside are gone."""
    far = np.array([room_wh.width, room_wh.height] * 2, np.float32)
    clipped = np.clip(boxes_xyxy, 0, far).astype(np.float32)
    sides, before = clipped[:, 2:] - clipped[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    left = sides.prod(axis=1) / np.maximum(before.prod(axis=1), 1e-6)
    moved = clipped + np.array([x, y, x, y], np.float32)
    return Placed(moved[left >= LEAST_VISIBLE], moved[(left > 0) & (left < LEAST_VISIBLE)])


def make(people: Path, ground: Path, out: Path, each: int, seed: int) -> None:
    """Write `each` mosaics of every kind."""
    random = np.random.default_rng(seed)
    with_people = [p for p in read_dataset(people).pictures if len(p.boxes_xyxy)]
    without = [p for p in read_dataset(ground).pictures if not len(p.boxes_xyxy) and not len(p.ignore_xyxy)]
    for kind in KINDS:
        mosaics: list[Mosaic] = []
        while len(mosaics) < each:
            mosaic = make_mosaic(drawn(kind, with_people, without, random))
            if kind == "empty" or len(mosaic.boxes_xyxy):  # a cut may have taken the only people
                mosaics.append(mosaic)
        write_coco(out / kind, mosaics, kind)
        people_in_all = sum(len(mosaic.boxes_xyxy) for mosaic in mosaics)
        print(f"{out / kind}: {each} mosaics of {MOSAIC_WH}, {people_in_all} people", flush=True)


def drawn(
    kind: str,
    with_people: Sequence[LabelledPicture],
    without: Sequence[LabelledPicture],
    random: np.random.Generator,
) -> list[LabelledPicture]:
    """Pictures by chance for one mosaic, more than it takes."""
    shown = [with_people[k] for k in random.permutation(len(with_people))]
    bare = [without[k] for k in random.permutation(len(without))]
    if kind == "crowded":
        return [picture for pair in zip(shown, itertools.cycle(bare), strict=False) for picture in pair]
    if kind == "sparse":
        bare.insert(int(random.integers(0, 6)), shown[0])
    return bare


def write_coco(folder: Path, mosaics: Sequence[Mosaic], kind: str) -> None:
    """`images/` and `annotations.json`."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for number, mosaic in enumerate(mosaics):
        name = f"{kind}-{number:02d}.jpg"
        cv2.imwrite(str(folder / "images" / name), mosaic.image, [cv2.IMWRITE_JPEG_QUALITY, 95])
        images.append(
            {
                "id": number,
                "file_name": name,
                "width": MOSAIC_WH.width,
                "height": MOSAIC_WH.height,
                "source": "synthetic mosaic",
                "scene": f"{kind}-{number}",
            }
        )
        for boxes_xyxy, category in ((mosaic.boxes_xyxy, PEDESTRIAN), (mosaic.ignore_xyxy, IGNORE)):
            for x0, y0, x1, y1 in boxes_xyxy.tolist():
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": category,
                        "iscrowd": 0,
                        "bbox": [x0, y0, x1 - x0, y1 - y0],
                        "area": (x1 - x0) * (y1 - y0),
                    }
                )
    categories = [{"id": PEDESTRIAN, "name": "pedestrian"}, {"id": IGNORE, "name": "ignore"}]
    sheet = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(sheet))


@dataclass(frozen=True, slots=True)
class Judged:
    """What one mode said of the mosaics of one kind; `highest` is the highest presence of any of its pictures."""

    detected: tuple[DetectedPicture, ...]
    highest: tuple[float, ...]
    frame_ms: float  # median


def look_whole(recognizer: Recognizer, pictures: Sequence[LabelledPicture]) -> Judged:
    """Each mosaic as one frame."""
    detected = detect(recognizer.recognise, pictures)
    return Judged(detected, tuple(one.presence for one in detected), whole_ms(recognizer, pictures))


def whole_ms(recognizer: Recognizer, pictures: Sequence[LabelledPicture]) -> float:
    """The median of a few recognitions of one mosaic, warm."""
    image = load_image(pictures[0])
    return float(np.median([recognizer.recognise(image).total_ms for _ in range(5)][2:]))


def look_tiled(recognizer: Recognizer, pictures: Sequence[LabelledPicture]) -> Judged:
    """Each mosaic tile by tile."""
    batches = Batches(recognizer, plan_for(recognizer, MOSAIC_WH))
    highest, took_ms = [], []

    def recognise(image: Image) -> Recognition:
        tiled = batches.recognise(image, lambda _: range(len(batches.plan.tiles)))
        highest.append(max(tiled.overview, *tiled.presences))
        took_ms.append(tiled.recognition.total_ms)
        return tiled.recognition

    detected = detect(recognise, pictures)
    return Judged(detected, tuple(highest), float(np.median(took_ms)))


def score(folder: Path, model_file: Path, threads: int) -> None:
    """Print both tables."""
    recognizer = Recognizer(model_file, RecognizerSettings(threads, threshold=SCORE_FLOOR))
    model, plan = recognizer.metadata, plan_for(recognizer, MOSAIC_WH)
    whole_wh = recognizer.place(MOSAIC_WH).input_wh
    print(
        f"{model.name} {model.version}, {threads} threads: the whole frame at {whole_wh}, "
        f"or {len(plan.tiles)} tiles of {plan.tile_wh} and the frame shrunk to one of them\n"
    )
    whole, tiled = {}, {}
    for kind in KINDS:
        pictures = read_dataset(folder / kind).pictures
        whole[kind], tiled[kind] = look_whole(recognizer, pictures), look_tiled(recognizer, pictures)
        if kind == "crowded":
            modes = {"whole frame": whole[kind], "tiles": tiled[kind]}
            print_boxes({mode: judged(mode, found, model.score_threshold) for mode, found in modes.items()})
    print("\n| presence, sparse against empty | AUROC | ECE | misses | false alarms |\n|---|---|---|---|---|")
    enter = model.verdict.enter
    print_presence("whole frame", [one.presence for one in whole["sparse"].detected], whole["empty"].highest, enter)
    print_presence("tiles, the highest of all", tiled["sparse"].highest, tiled["empty"].highest, enter)
    ups, downs = ([one.presence for one in tiled[kind].detected] for kind in ("sparse", "empty"))
    print_presence("**tiles, the mean of their odds**", ups, downs, enter)
    times = tiled["crowded"].frame_ms / whole["crowded"].frame_ms
    print(f"\na frame takes {times:.1f} times as long; {this_machine()}, {', '.join(this_machine().packages)}")


def judged(mode: str, found: Judged, threshold: float) -> Evaluation:
    """The figures of one mode."""
    return judge(found.detected, threshold, model=mode, dataset="crowded")


def print_boxes(evaluations: dict[str, Evaluation]) -> None:
    """AP50 by height of the person in the frame."""
    heights = next(iter(evaluations.values())).boxes.by_height
    everybody = sum(h.pedestrians for h in heights)
    print(f"| crowded, {everybody} people | " + " | ".join(evaluations) + " |\n|---|" + "---|" * len(evaluations))
    rows = [Row("AP50", [e.boxes.ap50 for e in evaluations.values()])]
    for k, height in enumerate(heights):
        name = f"AP50, {span(height)} ({height.pedestrians})"
        rows.append(Row(name, [e.boxes.by_height[k].ap50 for e in evaluations.values()]))
    rows.append(Row("centre AP", [e.boxes.centre_ap for e in evaluations.values()]))
    rows.append(Row("recall at the threshold", [e.at_threshold.recall for e in evaluations.values()]))
    rows.append(Row("precision at the threshold", [e.at_threshold.precision for e in evaluations.values()]))
    for row in rows:
        print(f"| {row.name} | " + " | ".join("-" if v is None else f"{v:.3f}" for v in row.values) + " |", flush=True)


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of every mode."""

    name: str
    values: Sequence[float | None]


def span(height: HeightScore) -> str:
    """Its limits in words."""
    low = f"{height.low_px:.0f}"
    return f"{low} px and more" if height.high_px is None else f"{low} to {height.high_px:.0f} px"


def print_presence(name: str, sparse: Sequence[float], empty: Sequence[float], enter: float) -> None:
    """How presence parts mosaics with people from those without."""
    presences = np.array([*sparse, *empty])
    with_people = np.arange(len(presences)) < len(sparse)
    found = score_presence(presences, with_people)
    misses, alarms = (presences[with_people] < enter).mean(), (presences[~with_people] >= enter).mean()
    print(f"| {name} | {found.auroc:.3f} | {found.calibration_error:.3f} | {misses:.2f} | {alarms:.2f} |", flush=True)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench_tiles", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make", help="write mosaics")
    for name in ("people", "ground", "out"):
        making.add_argument(name, type=Path)
    making.add_argument("--each", type=int, default=12)
    making.add_argument("--seed", type=int, default=0)
    scoring = commands.add_parser("score", help="judge a model on them")
    scoring.add_argument("folder", type=Path)
    scoring.add_argument("--model", default="rgb")
    scoring.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(words)
    if options.command == "make":
        make(options.people, options.ground, options.out, options.each, options.seed)
        return
    model_file = resolve(options.model) if options.model in SHIPPED_NAMES else Path(options.model)
    score(options.folder, model_file, options.threads)


if __name__ == "__main__":
    main()
