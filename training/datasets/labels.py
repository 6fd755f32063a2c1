"""From the labels of one picture to a `LabelledPicture`: class names, box rules, clipping. Shared by all readers."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from edge.records import Boxes, Modality, SizeWH
from training.datasets.records import Dataset, DatasetError, LabelledPicture

Kind = Literal["pedestrian", "ignore", "other"]

CLIP_TOLERANCE_PX = 0.1  # rounding of normalised coordinates; clipped without a word

_PEDESTRIAN_NAMES = frozenset({"pedestrian", "pedestrians", "person", "persons", "people", "human", "humans"})
_IGNORE_NAMES = frozenset(
    {"ignore", "ignored", "ignoredregion", "ignoredregions", "dontcare", "crowd", "rider", "riders", "cyclist"}
)
_MODALITY_WORDS: dict[str, Modality] = {
    "rgb": "rgb",
    "colour": "rgb",
    "color": "rgb",
    "visible": "rgb",
    "thermal": "thermal",
    "infrared": "thermal",
    "tir": "thermal",
    "lwir": "thermal",
}
_ROTATED_BY_EXIF = frozenset({5, 6, 7, 8})  # orientations that swap width and height


@dataclass(frozen=True, slots=True)
class Label:
    """One box as the file gives it. `place` says where it stands, for error messages."""

    kind: Kind
    box_xyxy: tuple[float, float, float, float]  # picture pixels, not yet clipped
    place: str


@dataclass(frozen=True, slots=True)
class PictureEntry:
    """What a reader knows of a picture before its labels are checked."""

    path: Path
    size_wh: SizeWH
    scene: str
    source: str


@dataclass(frozen=True, slots=True)
class CheckedPicture:
    """The picture, and how many of its boxes were mended."""

    picture: LabelledPicture
    clipped: int  # reached over the border
    empty: int  # had no width or no height and were left out; collections of note hold a few of them


def kind_of_class(name: str) -> Kind:
    """Which target a class name stands for: people are pedestrians, riders and ignore regions are ignored."""
    word = re.sub(r"[^a-z]", "", name.lower())
    if word in _PEDESTRIAN_NAMES:
        return "pedestrian"
    return "ignore" if word in _IGNORE_NAMES else "other"


def modality_of_words(text: str) -> Modality | None:
    """Modality named by a word of `text`, such as a folder's name; None where no word, or both, say so."""
    found = {_MODALITY_WORDS[word] for word in re.split(r"[^a-z]+", text.lower()) if word in _MODALITY_WORDS}
    return found.pop() if len(found) == 1 else None


def scene_of_name(name: str) -> str:
    """A guess for collections that name no scenes: the folder and the name without its trailing number.

    Frames of one video are usually numbered, so `flight7_00012.jpg` belongs to `flight7`; where nothing but a number
    (or `frame`, `img` before it) tells them apart, all of a folder are one scene. DJI names photos by the second:
    `DJI_20230615143010_0001_T.JPG` and all others of a folder are one scene, too.
    """
    path = Path(name)
    stem = re.sub(r"[_-](jpg|jpeg|png)$", "", path.stem.split(".rf.")[0])  # names that Roboflow makes
    stem = re.sub(r"(?<=\d)_[A-Z]$", "", stem)  # which of several lenses
    scene = re.sub(r"[ _.-]*(frame|img)?[ _.-]*\d+$", "", stem)
    scene = re.sub(r"[ _.-]*\d{14}$", "", scene)
    return (path.parent / scene).as_posix()


def as_dataset(name: str, modality: Modality | None, checked: Sequence[CheckedPicture]) -> Dataset:
    """The pictures as a data set, which warns of mended boxes."""
    clipped, empty = sum(one.clipped for one in checked), sum(one.empty for one in checked)
    warnings = []
    if clipped:
        warnings.append(f"{clipped} boxes reached outside their picture and were clipped")
    if empty:
        warnings.append(f"{empty} boxes without width or height were left out")
    return Dataset(name, modality, tuple(one.picture for one in checked), tuple(warnings))


def size_from_header(path: Path) -> SizeWH:
    """Size as OpenCV will decode the file (EXIF rotation applied), read without decoding it.

    Raises:
        DatasetError: not a picture.
    """
    try:
        with PillowImage.open(path) as picture:
            width, height = picture.size
            # Of a TIFF Pillow gives the size as it is shown.
            rotated = picture.format != "TIFF" and picture.getexif().get(0x0112) in _ROTATED_BY_EXIF
    except (UnidentifiedImageError, PillowImage.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise DatasetError(f"{path} must be a picture; {error}") from None
    return SizeWH(height, width) if rotated else SizeWH(width, height)


def check_picture(entry: PictureEntry, labels: Iterable[Label]) -> CheckedPicture:
    """Check every label against the picture, clip, and sort by kind.

    Raises:
        DatasetError: a box that is not finite, has a negative side, or lies wholly outside the picture.
    """
    by_kind: dict[Kind, list[tuple[float, float, float, float]]] = {"pedestrian": [], "ignore": [], "other": []}
    clipped = empty = 0
    for label in labels:
        x0, y0, x1, y1 = label.box_xyxy
        if x0 == x1 or y0 == y1:
            empty += 1
            continue
        box, outside_px = _clip(label, entry.size_wh)
        if _vanishes(box):
            empty += 1
            continue
        clipped += outside_px > CLIP_TOLERANCE_PX
        by_kind[label.kind].append(box)
    picture = LabelledPicture(
        path=entry.path,
        size_wh=entry.size_wh,
        boxes_xyxy=_as_boxes(by_kind["pedestrian"]),
        ignore_xyxy=_as_boxes(by_kind["ignore"]),
        scene=entry.scene,
        source=entry.source,
        others_xyxy=_as_boxes(by_kind["other"]),
    )
    return CheckedPicture(picture, clipped, empty)


def _clip(label: Label, size_wh: SizeWH) -> tuple[tuple[float, float, float, float], float]:
    """The box inside the picture, and by how many pixels it reached outside."""
    x0, y0, x1, y1 = label.box_xyxy
    if not all(map(math.isfinite, label.box_xyxy)):
        raise DatasetError(f"{label.place} must be finite, got {label.box_xyxy}; correct or delete it")
    if x1 <= x0 or y1 <= y0:
        got = f"{x1 - x0:g}x{y1 - y0:g}"
        raise DatasetError(f"{label.place} must have a positive width and height, got {got}; correct or delete it")
    inside = (max(x0, 0.0), max(y0, 0.0), min(x1, float(size_wh.width)), min(y1, float(size_wh.height)))
    if inside[2] <= inside[0] or inside[3] <= inside[1]:
        corners = ", ".join(f"{v:g}" for v in label.box_xyxy)
        raise DatasetError(
            f"{label.place} must lie in its {size_wh} picture, got x0, y0, x1, y1 = {corners}; correct or delete it"
        )
    return inside, max(abs(a - b) for a, b in zip(inside, label.box_xyxy, strict=True))


def _vanishes(box_xyxy: tuple[float, float, float, float]) -> bool:
    """Whether nothing is left of it in float32, as we keep it: nobody could find that."""
    x0, y0, x1, y1 = np.array(box_xyxy, np.float32)
    return bool(x0 == x1 or y0 == y1)


def _as_boxes(rows: list[tuple[float, float, float, float]]) -> Boxes:
    return np.array(rows, dtype=np.float32).reshape(-1, 4)  # (N, 4), also for N = 0
