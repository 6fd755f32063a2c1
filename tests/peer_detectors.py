"""Public person detectors as ONNX files, run as their own projects run them: letterbox, network, decoding, NMS.

YOLO11 (Ultralytics), YOLOv5 (Ultralytics), YOLOX-nano (Megvii, arXiv 2107.08430), NanoDet-m (RangiLyu). Nothing of
theirs is included: only what their files expect and give is written down here.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from edge.geometry import Detections
from edge.records import Image

Array = npt.NDArray[np.float32]

SCORE_FLOOR = 0.01
NMS_IOU = 0.5
MOST = 300
_STRIDES = (8, 16, 32)
_IMAGENET_MEAN_BGR = np.array([103.53, 116.28, 123.675], np.float32)
_IMAGENET_STD_BGR = np.array([57.375, 57.12, 58.395], np.float32)
_NANODET_BINS = 8  # each side's distance is the mean of a distribution over 0..7 strides


@dataclass(frozen=True, slots=True)
class Letterbox:
    """A square that holds the picture: `scale` and then shifted by `left`, `top` pixels."""

    square: Image
    scale: float
    left: int
    top: int

    def to_picture(self, boxes_xyxy: Array) -> Array:
        """Boxes in the square's pixels as boxes in picture pixels."""
        shift = np.array([self.left, self.top, self.left, self.top], np.float32)
        return ((boxes_xyxy - shift) / np.float32(self.scale)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Decoded predictions in the square's pixels, before NMS."""

    boxes_xyxy: Array  # (N, 4)
    scores: Array  # (N,)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a file expects, and how its outputs become boxes."""

    file: str
    side: int
    pad: int
    centred: bool
    to_input: Callable[[Image], npt.NDArray[np.generic]]  # (S, S, 3) uint8 BGR -> the network's tensor
    decode: Callable[[list[Array], int], Candidates]


@dataclass(frozen=True, slots=True)
class Peer:
    """A loaded detector."""

    recipe: Recipe
    session: ort.InferenceSession
    name: str
    input_name: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_name", self.session.get_inputs()[0].name)

    def detect(self, image: Image) -> Detections:
        """From a picture (H, W, 3) BGR to boxes in its pixels, by descending score."""
        box = letterbox(image, self.recipe)
        outputs = self.session.run(None, {self.input_name: self.recipe.to_input(box.square)})
        found = self.recipe.decode(outputs, self.recipe.side)
        keep = found.scores > SCORE_FLOOR
        return suppress_duplicates(box.to_picture(found.boxes_xyxy[keep]), found.scores[keep])


def load_peer(name: str, folder: Path, threads: int) -> Peer:
    """One of `RECIPES` from `folder`."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    ort.set_default_logger_severity(3)  # one of the files warns of an attribute that is out of date
    # As ONNX Runtime is by default, its threads spin while a network runs; they must not go on in the next one's turn.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    file = str(folder / RECIPES[name].file)
    return Peer(RECIPES[name], ort.InferenceSession(file, options, providers=["CPUExecutionProvider"]), name)


def peers_in(folder: Path) -> list[str]:
    """The names of those whose file is there."""
    return [name for name, recipe in RECIPES.items() if (folder / recipe.file).is_file()]


def letterbox(image: Image, recipe: Recipe) -> Letterbox:
    """The picture as large as it fits into the square, in its middle or its upper left corner."""
    height, width = image.shape[:2]
    scale = min(recipe.side / height, recipe.side / width)
    scaled_height, scaled_width = round(height * scale), round(width * scale)
    top = (recipe.side - scaled_height) // 2 if recipe.centred else 0
    left = (recipe.side - scaled_width) // 2 if recipe.centred else 0
    square = np.full((recipe.side, recipe.side, 3), recipe.pad, np.uint8)
    inside = square[top : top + scaled_height, left : left + scaled_width]
    cv2.resize(image, (scaled_width, scaled_height), dst=inside, interpolation=cv2.INTER_LINEAR)
    return Letterbox(square, scale, left, top)


def suppress_duplicates(boxes_xyxy: Array, scores: Array) -> Detections:
    """OpenCV's NMS, the best 300."""
    if not len(scores):
        return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    boxes_xywh = np.concatenate([boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]], axis=1)
    best = cv2.dnn.NMSBoxes(boxes_xywh.tolist(), scores.tolist(), SCORE_FLOOR, NMS_IOU)
    order = np.asarray(best, np.int64).ravel()[:MOST]
    return Detections(boxes_xyxy[order], scores[order])


def rgb_0_to_1(square: Image) -> Array:
    """(1, S, S, 3) RGB in 0..1."""
    return np.ascontiguousarray(square[None, :, :, ::-1]).astype(np.float32) / np.float32(255)


def rgb_0_to_1_planes(square: Image) -> Array:
    """(1, 3, S, S) RGB in 0..1."""
    return np.ascontiguousarray(rgb_0_to_1(square).transpose(0, 3, 1, 2))


def bgr_planes(square: Image) -> Array:
    """(1, 3, S, S) BGR in 0..255."""
    return np.ascontiguousarray(square.transpose(2, 0, 1)[None]).astype(np.float32)


def imagenet_planes(square: Image) -> Array:
    """(1, 3, S, S) BGR, normalised by ImageNet's mean and deviation."""
    normal = (square.astype(np.float32) - _IMAGENET_MEAN_BGR) / _IMAGENET_STD_BGR
    return np.ascontiguousarray(normal.transpose(2, 0, 1)[None])


def decode_yolo11(outputs: list[Array], side: int, classes: tuple[int, ...]) -> Candidates:
    """(1, 4 + classes, N): centre, size, one score a class; the best of `classes` counts."""
    rows = outputs[0][0]
    scores = rows[[4 + one for one in classes]].max(axis=0)
    return Candidates(corners(rows[:4].T), scores)


def decode_yolov5(outputs: list[Array], side: int) -> Candidates:
    """(1, N, 5 + classes): centre, size, objectness, one score a class; class 0 is the person."""
    rows = outputs[0][0]
    return Candidates(corners(rows[:, :4]), rows[:, 4] * rows[:, 5])


def decode_yolox(outputs: list[Array], side: int) -> Candidates:
    """As YOLOv5, but centres are offsets from the cell in strides, and sizes logarithms of strides."""
    rows = outputs[0][0]
    cells = [grid(side // stride) for stride in _STRIDES]
    strides = np.repeat(np.array(_STRIDES, np.float32), [len(one) for one in cells])[:, None]
    centres = (rows[:, :2] + np.concatenate(cells)) * strides
    sizes = np.exp(rows[:, 2:4]) * strides
    return Candidates(corners(np.concatenate([centres, sizes], axis=1)), rows[:, 4] * rows[:, 5])


def decode_nanodet(outputs: list[Array], side: int) -> Candidates:
    """For each stride scores (N, 80) and distances from the cell's centre to the four sides (N, 4 * 8)."""
    maps = [output.reshape(-1, output.shape[-1]) for output in outputs]
    boxes, scores = [], []
    for stride in _STRIDES:
        cells = side // stride
        (score_map,) = (one for one in maps if one.shape == (cells * cells, 80))
        (distance_map,) = (one for one in maps if one.shape == (cells * cells, 4 * _NANODET_BINS))
        logits = distance_map.reshape(-1, 4, _NANODET_BINS)
        weights = np.exp(logits - logits.max(axis=2, keepdims=True))
        distances = weights @ np.arange(_NANODET_BINS, dtype=np.float32) / weights.sum(axis=2) * stride  # (N, 4)
        centres = grid(cells) * stride + np.float32((stride - 1) / 2)
        boxes.append(np.concatenate([centres - distances[:, :2], centres + distances[:, 2:]], axis=1))
        scores.append(score_map[:, 0])
    return Candidates(np.concatenate(boxes), np.concatenate(scores))


def grid(cells: int) -> Array:
    """Column and row of every cell, row by row, (cells * cells, 2)."""
    rows, columns = np.divmod(np.arange(cells * cells), cells)
    return np.stack([columns, rows], axis=1).astype(np.float32)


def corners(boxes_cxcywh: Array) -> Array:
    """Centre and size -> corners."""
    half = boxes_cxcywh[:, 2:4] / 2
    return np.concatenate([boxes_cxcywh[:, :2] - half, boxes_cxcywh[:, :2] + half], axis=1)


def _yolo11(file: str, classes: tuple[int, ...]) -> Recipe:
    return Recipe(file, 640, 114, True, rgb_0_to_1, partial(decode_yolo11, classes=classes))


REFERENCE = "yolo11n-coco-640"
RECIPES = {
    "yolo11n-visdrone-640": _yolo11("yolo11n_visdrone_640_dequant.onnx", (0, 1)),  # pedestrian, people
    REFERENCE: _yolo11("yolo11n_coco_640_dequant.onnx", (0,)),
    "yolov5n-coco-640": Recipe("yolov5n_coco_640.onnx", 640, 114, True, rgb_0_to_1_planes, decode_yolov5),
    "yolox-nano-coco-416": Recipe("yolox_nano_416_coco.onnx", 416, 114, False, bgr_planes, decode_yolox),
    "nanodet-m-coco-416": Recipe("nanodet_m_416_coco.onnx", 416, 0, True, imagenet_planes, decode_nanodet),
}
