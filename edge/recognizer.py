"""The recognizer: preprocess -> infer -> postprocess.

    recognizer = Recognizer(Path("kestrel-rgb-small-fp32.onnx"))
    recognition = recognizer.recognise(image)  # (H, W, 3) uint8 BGR

Normalisation, peaks and boxes lie inside the graph; here the frame is scaled and padded, and the boxes that come back
are brought to frame pixels and freed of duplicates.
"""

import copy
import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge import closer_look, geometry
from edge.contract import OTHER_FORM, ModelMetadata
from edge.cpu import usable_cores
from edge.errors import InvalidValueError, ModelError
from edge.geometry import Detections, Placement
from edge.ladder import shape_on_ladder
from edge.network import Network, Predictions
from edge.onnx_wire import MAX_FILE_BYTES, read_outline
from edge.records import Image, ModelInfo, Recognition, SizeWH, size_of
from edge.scaling import resize_into
from edge.second_look import Ask, SecondLook
from edge.thermal import PaletteReader

MAX_DEFAULT_THREADS, MOST_THREADS = 4, 256


@dataclass(frozen=True, slots=True)
class RecognizerSettings:
    """How to run a model. What is None follows the model's metadata, or the machine for `threads`."""

    threads: int | None = None
    threshold: float | None = None  # drop detections with a lower score
    input_wh: SizeWH | None = None  # the exact network input
    provider: str | None = None  # what computes; None: the processor
    frame_per_core: bool = False  # each looks at a frame of its own, as suits recordings; else all share one

    def __post_init__(self) -> None:
        if self.threads is not None and not 1 <= self.threads <= MOST_THREADS:
            raise InvalidValueError("threads", f"at least 1 and at most {MOST_THREADS}", self.threads)
        if self.threshold is not None and not 0.0 < self.threshold <= 1.0:
            raise InvalidValueError("threshold", "above 0 and at most 1", self.threshold)


@dataclass(frozen=True, slots=True)
class NetworkInput:
    """What `preprocess` hands to `infer`: `tensor` (1, H, W, 3) uint8 BGR, overwritten by the next frame."""

    tensor: npt.NDArray[np.uint8]
    placement: Placement


@dataclass(slots=True)
class _Reused:
    """What a recognizer reuses from frame to frame, and so belongs to one thread."""

    ask: Ask  # the network, once or twice
    palette_reader: PaletteReader | None
    usual: NetworkInput | None = None
    closer: NetworkInput | None = None


def usable_threads() -> int:
    """The cores that this process may use, at most 4: beyond that small networks gain nothing."""
    return min(usable_cores(), MAX_DEFAULT_THREADS)


class Recognizer:
    """One loaded model. Not for use by several threads at once: the input buffer is reused from frame to frame.

    Raises:
        ModelError: the file is missing, no ONNX, without our metadata, for other compilers, or its graph breaks the
            contract.
        UnusableInputError: the provider cannot be had.
    """

    def __init__(self, model_file: Path, settings: RecognizerSettings | None = None) -> None:
        settings = settings or RecognizerSettings()
        content = _read(model_file)
        outline = read_outline(content, str(model_file))
        self.metadata = ModelMetadata.from_props(outline.metadata, file=str(model_file))
        _refuse_other_form(self.metadata, model_file)
        self.threads = settings.threads or usable_threads()
        alone = settings.frame_per_core and not self.remembers
        self.frames_at_once = min(self.threads, usable_cores()) if alone else 1
        threads = self.threads // self.frames_at_once  # of one look
        self._network = Network(content, model_file, self.metadata, outline, threads, settings.provider)
        self.info = ModelInfo(
            name=self.metadata.name,
            version=self.metadata.version,
            modality=self.metadata.modality,
            precision=self.metadata.precision,
            sha256=hashlib.sha256(content).hexdigest(),
        )
        self.threshold = self.metadata.score_threshold if settings.threshold is None else settings.threshold
        self.exact_input_wh = settings.input_wh and geometry.round_up(settings.input_wh, self.metadata.input_multiple)
        self._reused = self._fresh()

    def _fresh(self) -> _Reused:
        twice = self.metadata.second_look is not None
        ask = SecondLook(self._network.run, self.metadata).run if twice else self._network.run
        return _Reused(ask, PaletteReader() if self.remembers else None)

    @property
    def remembers(self) -> bool:
        """Whether what it says of a frame may depend on the frames before it: the palette of false colours is kept."""
        return self.metadata.modality == "thermal"

    def for_another_thread(self) -> "Recognizer":
        """The same loaded network, with buffers of its own: ONNX Runtime takes calls from several threads at once."""
        other = copy.copy(self)
        other._reused = self._fresh()
        return other

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of what runs the network, such as CPUExecutionProvider."""
        return self._network.provider

    def place(self, frame_wh: SizeWH, long_side: int | None = None) -> Placement:
        """Where a frame of this size lies in the network input; the same on every machine with the same provider.

        `long_side` instead of the model's own default is for whoever follows the load of the machine.
        """
        if self.exact_input_wh is not None and long_side is None:
            return geometry.place_into(frame_wh, self.exact_input_wh)
        return self._place(frame_wh, long_side or self.metadata.default_long_side, self.metadata.max_enlarge)

    def place_closer(self, frame_wh: SizeWH, long_side: int | None = None) -> Placement | None:
        """The same for the closer look; None where there is none: the model has none, or an exact size is asked for."""
        factor = self.metadata.closer_look
        if factor is None or self.exact_input_wh is not None:
            return None
        usual = long_side or self.metadata.default_long_side
        return self._place(frame_wh, round(usual * factor), self.metadata.max_enlarge * factor)

    def _place(self, frame_wh: SizeWH, long_side: int, max_enlarge: float) -> Placement:
        placement = geometry.place_by_rule(frame_wh, long_side, max_enlarge, self.metadata.input_multiple)
        if self._network.on_processor:
            return placement
        input_wh = shape_on_ladder(placement.content_wh, self.metadata.input_multiple)
        return Placement(frame_wh, placement.content_wh, input_wh)

    def recognise(
        self, image: Image, long_side: int | None = None, frame_wh: SizeWH | None = None, *, closer: bool = True
    ) -> Recognition:
        """Find the pedestrians of one picture (H, W, 3) uint8 BGR of any size.

        `frame_wh` is the size in whose pixels boxes are wanted, where `image` is a smaller copy of such a frame.
        `closer`: also with the closer look, where the model has one and no exact size was asked for.
        """
        started = time.perf_counter()
        network_input = self.preprocess(image, long_side, frame_wh)
        preprocessed = time.perf_counter()
        predictions = self.infer(network_input)
        if closer:
            predictions = self._closer(predictions, network_input.placement, image, long_side)
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

    def preprocess(self, image: Image, long_side: int | None = None, frame_wh: SizeWH | None = None) -> NetworkInput:
        """Scale the picture straight into the padded input."""
        placement = self.place(frame_wh or size_of(image), long_side)
        self._reused.usual = self._filled(self._reused.usual, image, placement)
        return self._reused.usual

    def _filled(self, buffer: NetworkInput | None, image: Image, placement: Placement) -> NetworkInput:
        """The picture in that buffer, or in a new one where its place is another."""
        if buffer is None or buffer.placement != placement:
            buffer = _padded_buffer(placement, self.metadata.pad_value)
        scale_into(self.as_learnt(image), buffer.tensor[0], placement)
        return buffer

    def _closer(self, usual: Predictions, at: Placement, image: Image, long_side: int | None) -> Predictions:
        """What was seen, made better by a closer look where that is wanted; in the same pixels."""
        closer_at = self.place_closer(at.frame_wh, long_side)
        if closer_at is None or not closer_look.is_wanted(usual):
            return usual
        self._reused.closer = self._filled(self._reused.closer, image, closer_at)
        closer = self.run_graph(self._reused.closer.tensor)[0]
        return closer_look.joined((usual, at), (closer, closer_at), self.metadata)

    def as_learnt(self, image: Image) -> Image:
        """The picture as the model has learnt pictures: for a thermal one false colours become grey. For whoever calls
        `infer_batch`; `preprocess` does it."""
        reader = self._reused.palette_reader
        return image if reader is None else reader.to_grey(image)

    def infer(self, network_input: NetworkInput) -> Predictions:
        """Run the network, twice where the model is made for two looks.

        Raises:
            ProcessingError: ONNX Runtime failed, for want of memory as a rule.
        """
        return self._reused.ask(network_input.tensor)[0]

    @property
    def most_in_a_batch(self) -> int:
        """How many pictures `infer_batch` should get at once at most."""
        return self._network.most_in_a_batch

    def infer_batch(self, tensor: npt.NDArray[np.uint8]) -> tuple[Predictions, ...]:
        """As `infer`, for a batch (B, H, W, 3) uint8 BGR, sides multiples of the model's."""
        return self._reused.ask(tensor)

    def run_graph(self, tensor: npt.NDArray[np.uint8]) -> tuple[Predictions, ...]:
        """What one look says, whatever the model is made for: as `infer_batch`, for whoever judges the graph itself."""
        return self._network.run(tensor)

    def candidates(self, predictions: Predictions, placement: Placement) -> Detections:
        """What scores at least the threshold and lies on the frame, in frame pixels; duplicates are still in it."""
        keep = predictions.scores >= self.threshold
        keep &= geometry.centred_in_content(predictions.boxes_xyxy, placement)
        return Detections(geometry.to_frame(predictions.boxes_xyxy[keep], placement), predictions.scores[keep])

    def postprocess(self, predictions: Predictions, placement: Placement) -> Detections:
        """Keep what scores at least the threshold and lies on the frame; bring it to frame pixels; drop duplicates."""
        found = self.candidates(predictions, placement)
        best = geometry.nms(found.boxes_xyxy, found.scores, self.metadata.nms_iou)
        boxes_xyxy, scores = geometry.clip(found.boxes_xyxy[best], placement.frame_wh), found.scores[best]
        visible = geometry.not_empty(boxes_xyxy)
        return Detections(boxes_xyxy[visible], scores[visible])


def scale_into(image: Image, padded: Image, placement: Placement) -> None:
    """Scale a picture straight into the upper left corner of `padded` (H, W, 3), which keeps its padding."""
    content_wh = placement.content_wh
    resize_into(image, padded[: content_wh.height, : content_wh.width])


def _padded_buffer(placement: Placement, pad_value: int) -> NetworkInput:
    input_wh = placement.input_wh
    return NetworkInput(np.full((1, input_wh.height, input_wh.width, 3), pad_value, np.uint8), placement)


def _refuse_other_form(metadata: ModelMetadata, model_file: Path) -> None:
    form = metadata.settings.get(OTHER_FORM)
    if form is not None:
        raise ModelError(
            f"{model_file} must be a model that kestrel runs, got one for other compilers ({form}); "
            f"name the file without -{form}, which has the same weights"
        )


def _read(model_file: Path) -> bytes:
    try:
        if not model_file.is_file():  # a pipe or a device may have no end
            raise ModelError(f"model must be an existing file, got {str(model_file)!r}; kestrel models lists ours")
        with model_file.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)  # read_outline refuses the last of these
    except OSError as error:
        raise ModelError(f"model {str(model_file)!r} cannot be read: {error.strerror}") from None
