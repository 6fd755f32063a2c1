"""The recognizer: preprocess -> infer -> postprocess. The only file that knows ONNX Runtime.

    recognizer = Recognizer(Path("kestrel-rgb-small-fp32.onnx"))
    recognition = recognizer.recognise(image)  # (H, W, 3) uint8 BGR

Normalisation, peaks and boxes lie inside the graph; here the frame is scaled and padded, and the boxes that come back
are brought to frame pixels and freed of duplicates.
"""

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime as ort  # type: ignore[import-untyped]  # ships no types

from edge import geometry
from edge.contract import INPUT_NAME, MAX_DETECTIONS, OUTPUT_NAMES, ModelMetadata
from edge.errors import InvalidValueError, ModelError, ProcessingError
from edge.geometry import Placement
from edge.onnx_wire import ModelOutline, read_outline
from edge.records import Boxes, Image, ModelInfo, Recognition, Scores, SizeWH

MAX_DEFAULT_THREADS = 4
AREA_FROM_SHRINK = 2.0
_ERRORS_ONLY = 3  # ONNX Runtime's log level; its warnings are addressed to whoever exports


@dataclass(frozen=True, slots=True)
class RecognizerSettings:
    """How to run a model. What is None follows the model's metadata, or the machine for `threads`."""

    threads: int | None = None
    threshold: float | None = None  # drop detections with a lower score
    input_wh: SizeWH | None = None  # the exact network input

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise InvalidValueError("threads", "at least 1", self.threads)
        if self.threshold is not None and not 0.0 < self.threshold <= 1.0:
            raise InvalidValueError("threshold", "above 0 and at most 1", self.threshold)


@dataclass(frozen=True, slots=True)
class NetworkInput:
    """What `preprocess` hands to `infer`: `tensor` (1, H, W, 3) uint8 BGR, overwritten by the next frame."""

    tensor: npt.NDArray[np.uint8]
    placement: Placement


@dataclass(frozen=True, slots=True)
class Predictions:
    """Raw output of the network for one frame: boxes in input pixels by descending score, zero past the last peak."""

    boxes_xyxy: Boxes  # (500, 4)
    scores: Scores  # (500,)
    presence: float


@dataclass(frozen=True, slots=True)
class Detections:
    """Final boxes in frame pixels by descending score."""

    boxes_xyxy: Boxes  # (N, 4)
    scores: Scores  # (N,)


def usable_threads() -> int:
    """The cores that this process may use, at most 4: beyond that small networks gain nothing."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MAX_DEFAULT_THREADS)


def interpolation_for(shrink: float) -> int:
    """OpenCV's interpolation for a resize that turns `shrink` pixels into one.

    Linear reads a 2x2 neighbourhood, so up to a shrink of 2 every pixel of the frame counts and it costs the least.
    Beyond, it would skip pixels, and a person of a few pixels could vanish or flicker: area averages all of them.
    """
    return cv2.INTER_AREA if shrink > AREA_FROM_SHRINK else cv2.INTER_LINEAR


class Recognizer:
    """One loaded model. Not for use by several threads at once: the input buffer is reused from frame to frame.

    Raises:
        ModelError: the file is missing, no ONNX, without our metadata, or its graph breaks the contract.
    """

    def __init__(self, model_file: Path, settings: RecognizerSettings | None = None) -> None:
        settings = settings or RecognizerSettings()
        content = _read(model_file)
        outline = read_outline(content, str(model_file))
        self.threads = settings.threads or usable_threads()
        self.metadata = ModelMetadata.from_props(outline.metadata, file=str(model_file))
        self._session = _load(content, model_file, self.threads)
        _check_graph(self._session, model_file)
        _check_against_metadata(self._session, self.metadata, outline, model_file)
        self.info = ModelInfo(
            name=self.metadata.name,
            version=self.metadata.version,
            modality=self.metadata.modality,
            precision=self.metadata.precision,
            sha256=hashlib.sha256(content).hexdigest(),
        )
        self.threshold = self.metadata.score_threshold if settings.threshold is None else settings.threshold
        self.exact_input_wh = settings.input_wh and geometry.round_up(settings.input_wh, self.metadata.input_multiple)
        self._buffer: NetworkInput | None = None

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of what runs the network, such as CPUExecutionProvider."""
        return str(self._session.get_providers()[0])

    def place(self, frame_wh: SizeWH) -> Placement:
        """Where a frame of this size lies in the network input; the same on every machine."""
        if self.exact_input_wh is not None:
            return geometry.place_into(frame_wh, self.exact_input_wh)
        model = self.metadata
        return geometry.place_by_rule(frame_wh, model.default_long_side, model.max_enlarge, model.input_multiple)

    def recognise(self, image: Image) -> Recognition:
        """Find the pedestrians of one picture (H, W, 3) uint8 BGR of any size."""
        started = time.perf_counter()
        network_input = self.preprocess(image)
        preprocessed = time.perf_counter()
        predictions = self.infer(network_input)
        inferred = time.perf_counter()
        detections = self.postprocess(predictions, network_input.placement)
        finished = time.perf_counter()
        return Recognition(
            presence=predictions.presence,
            boxes_xyxy=detections.boxes_xyxy,
            scores=detections.scores,
            preprocess_ms=1000 * (preprocessed - started),
            infer_ms=1000 * (inferred - preprocessed),
            postprocess_ms=1000 * (finished - inferred),
        )

    def preprocess(self, image: Image) -> NetworkInput:
        """Scale the picture straight into the padded input."""
        height, width = image.shape[:2]
        placement = self.place(SizeWH(width, height))
        if self._buffer is None or self._buffer.placement != placement:
            self._buffer = _padded_buffer(placement, self.metadata.pad_value)
        content_wh = placement.content_wh
        content = self._buffer.tensor[0, : content_wh.height, : content_wh.width]
        cv2.resize(
            image,
            (content_wh.width, content_wh.height),
            dst=content,
            interpolation=interpolation_for(placement.shrink),
        )
        return self._buffer

    def infer(self, network_input: NetworkInput) -> Predictions:
        """Run the network.

        Raises:
            ProcessingError: ONNX Runtime failed, for want of memory as a rule.
        """
        try:
            boxes_xyxy, scores, presence = self._session.run(OUTPUT_NAMES, {INPUT_NAME: network_input.tensor})
        except Exception as error:  # ONNX Runtime's errors share no base class of their own
            raise ProcessingError(
                f"the network failed on an input of {network_input.placement.input_wh}: {_first_line(error)}; "
                "try a smaller --size"
            ) from error
        return Predictions(boxes_xyxy[0], scores[0], float(presence[0]))

    def postprocess(self, predictions: Predictions, placement: Placement) -> Detections:
        """Keep what scores at least the threshold and lies on the frame; bring it to frame pixels; drop duplicates."""
        keep = predictions.scores >= self.threshold
        keep &= geometry.centred_in_content(predictions.boxes_xyxy, placement)
        boxes_xyxy = geometry.to_frame(predictions.boxes_xyxy[keep], placement)
        scores = predictions.scores[keep]
        best = geometry.nms(boxes_xyxy, scores, self.metadata.nms_iou)
        boxes_xyxy, scores = geometry.clip(boxes_xyxy[best], placement.frame_wh), scores[best]
        visible = geometry.not_empty(boxes_xyxy)
        return Detections(boxes_xyxy[visible], scores[visible])


def _padded_buffer(placement: Placement, pad_value: int) -> NetworkInput:
    input_wh = placement.input_wh
    return NetworkInput(np.full((1, input_wh.height, input_wh.width, 3), pad_value, np.uint8), placement)


def _read(model_file: Path) -> bytes:
    try:
        return model_file.read_bytes()
    except OSError as error:
        raise ModelError(f"model {str(model_file)!r} cannot be read: {error.strerror}") from None


def _load(content: bytes, model_file: Path, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # Spinning threads burn whole cores between two frames (AutoSplit64 #51).
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no base class of their own
        raise ModelError(f"{model_file} must be an ONNX model: {_first_line(error)}") from None


def _check_graph(session: ort.InferenceSession, model_file: Path) -> None:
    inputs = session.get_inputs()
    if [(node.name, node.type) for node in inputs] != [(INPUT_NAME, "tensor(uint8)")]:
        got = [(node.name, node.type) for node in inputs]
        raise ModelError(f"{model_file} must have the one input {INPUT_NAME!r} of uint8, got {got}; export it again")
    shape = inputs[0].shape
    if len(shape) != 4 or shape[3] != 3 or any(isinstance(side, int) for side in shape[:3]):
        rule = f"take {INPUT_NAME!r} as (B, H, W, 3) with B, H and W dynamic"
        raise ModelError(f"{model_file} must {rule}, got {shape}; export it again")
    outputs = {node.name: node for node in session.get_outputs()}
    for name, rest in zip(OUTPUT_NAMES, ([MAX_DETECTIONS, 4], [MAX_DETECTIONS], []), strict=True):
        node = outputs.get(name)
        if node is None or node.type != "tensor(float)" or not _matches(node.shape, rest):
            rule = f"have an output {name!r} of float32 and shape {['B', *rest]}"
            found = None if node is None else f"{node.type} {node.shape}"
            raise ModelError(f"{model_file} must {rule}, got {found}; export it again")


def _check_against_metadata(
    session: ort.InferenceSession, metadata: ModelMetadata, outline: ModelOutline, model_file: Path
) -> None:
    """What the metadata promise is tried on the smallest picture that they allow."""
    quantised = "QuantizeLinear" in outline.operators
    if quantised != (metadata.precision == "int8"):
        found = "quantised" if quantised else "not quantised"
        raise ModelError(f"{model_file} says that it is {metadata.precision}, but is {found}; export it again")
    side = metadata.input_multiple
    try:
        found = session.run(OUTPUT_NAMES, {INPUT_NAME: np.full((1, side, side, 3), metadata.pad_value, np.uint8)})
    except Exception as error:  # ONNX Runtime's errors share no base class of their own
        raise ModelError(
            f"{model_file} must take sides of {side} as its metadata say, got {_first_line(error)}; export it again"
        ) from None
    due = [(1, MAX_DETECTIONS, 4), (1, MAX_DETECTIONS), (1,)]
    if [values.shape for values in found] != due or not all(np.isfinite(values).all() for values in found):
        shapes = [values.shape for values in found]
        raise ModelError(f"{model_file} must give finite outputs of shapes {due}, got {shapes}; export it again")


def _matches(shape: list[int | str | None], rest: list[int]) -> bool:
    """Whether an output has a batch axis and then `rest`; an axis that the graph leaves open may be anything."""
    return len(shape) == 1 + len(rest) and all(
        not isinstance(got, int) or got == due for got, due in zip(shape[1:], rest, strict=True)
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
