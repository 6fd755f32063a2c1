"""The one contract: what a model file says of itself, in the `metadata_props` of its ONNX graph.

Standard library only. `export` writes these fields, `edge` reads them, and nothing keeps a second copy in a side file.
Every value is JSON text, so that a reader in any language can parse it.

Graph: input `image` (B, H, W, 3) uint8 BGR, sides multiples of the coarsest stride; outputs `boxes_xyxy` (B, 500, 4)
float32 in input pixels, `scores` (B, 500) float32 descending, `presence` (B,) float32 calibrated. Rows past the last
peak are zero.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from edge.errors import InvalidValueError, ModelError
from edge.metadata_json import parse, require_number, require_text, require_whole
from edge.records import Modality, Precision

MODEL_SCHEMA = 3
_ADDED = {"second_look": 2, "closer_look": 3}  # field -> the schema that brought it; older files go without
MAX_DETECTIONS = 500
PAD_VALUE = 114  # grey level of what the picture does not fill, as YOLOX was trained
NMS_IOU = 0.5
LONGEST_LOG = 6.0  # of a distance: a side is at most exp(6) = 403 strides away from its cell
NOWHERE = -1e9  # logit of a cell that cannot be a peak
LEAST_SECOND, MOST_CLOSER = 0.1, 4.0  # of a second and of a closer look, times the usual size
MOST_MULTIPLE = 64  # of the input's sides; every trunk of ours has 16 or 32
LONG_SIDES = (32, 8192)  # px, least and most
MOST_ENLARGE = 100.0
MOST_PICTURES = 10**9  # of a data set, as the figures count them
INPUT_NAME = "image"
OUTPUT_NAMES = ("boxes_xyxy", "scores", "presence")
GRAPH_STRIDE, GRAPH_SLOPE, GRAPH_INTERCEPT = "stride", "presence_slope", "presence_intercept"
GRAPH_CONSTANTS = (GRAPH_STRIDE, GRAPH_SLOPE, GRAPH_INTERCEPT)  # single numbers that the graph computes with
PEDESTRIAN = "pedestrian"
OTHER_FORM = "other_form"  # in the settings of a file that is for other compilers: what kind it is
FITTED_TO = "fitted_to"  # in the settings: name of the data set that threshold and presence were fitted to
_LONGEST_QUOTE = 200  # letters of what a file says, in an error
_LEAST_SCORE = 1e-6  # for its logarithm: a picture without any peak has a top score of 0
_MOST_LOG_ODDS = 700.0  # beyond, exp overflows


@dataclass(frozen=True, slots=True)
class Calibration:
    """Platt scaling of the highest score: presence = sigmoid(slope * logit(top score) + intercept).

    Platt, "Probabilistic outputs for support vector machines", 1999. `error` is the expected calibration error on
    scenes that the fit did not see.
    """

    slope: float
    intercept: float
    error: float | None = None

    def __post_init__(self) -> None:
        require_number("calibration.slope", self.slope)
        require_number("calibration.intercept", self.intercept)
        if self.error is not None:
            require_number("calibration.error", self.error)
        if not self.slope > 0:
            raise InvalidValueError("calibration.slope", "positive", self.slope)

    @property
    def constants(self) -> dict[str, float]:
        """What the graph computes presence with, by name."""
        return {GRAPH_SLOPE: self.slope, GRAPH_INTERCEPT: self.intercept}

    @property
    def is_identity(self) -> bool:
        """Whether presence is the highest score itself: nothing has been fitted."""
        return (self.slope, self.intercept) == (1.0, 0.0)

    def presence(self, top_score: float) -> float:
        """Probability (0..1) that a picture with this highest score (0..1) shows a pedestrian."""
        score = min(max(top_score, _LEAST_SCORE), 1 - _LEAST_SCORE)
        log_odds = self.slope * math.log(score / (1 - score)) + self.intercept
        return 1 / (1 + math.exp(-log_odds)) if log_odds > -_MOST_LOG_ODDS else 0.0


@dataclass(frozen=True, slots=True)
class VerdictRule:
    """Hysteresis of the verdict: presence of at least `enter` for `enter_s` seconds says pedestrian, below `leave` for
    `leave_s` seconds says clear. A single picture is judged by `enter` alone."""

    enter: float
    leave: float
    enter_s: float = 0.0
    leave_s: float = 1.0

    def __post_init__(self) -> None:
        for name in ("enter", "leave", "enter_s", "leave_s"):
            require_number(f"verdict.{name}", getattr(self, name))
        if not 0.0 <= self.leave <= self.enter <= 1.0:
            raise InvalidValueError("verdict", "0 <= leave <= enter <= 1", (self.leave, self.enter))
        if not (self.enter_s >= 0 and self.leave_s >= 0):
            raise InvalidValueError("verdict times", "at least 0 s", (self.enter_s, self.leave_s))


@dataclass(frozen=True, slots=True)
class TrainingData:
    """One data set that shaped the weights, and what its licence asks of whoever uses the model."""

    name: str
    licence: str
    attribution: str = ""

    def __post_init__(self) -> None:
        for name in ("name", "licence", "attribution"):
            require_text(f"data.{name}", getattr(self, name))


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """All that is needed to run a model and to trust it. Stored field by field in `metadata_props`."""

    name: str
    version: str
    modality: Modality
    size: str  # small | nano | a user's own word
    precision: Precision
    classes: tuple[str, ...]
    input_layout: str  # always "BHWC uint8 BGR"
    strides: tuple[int, ...]  # of the detection maps
    input_multiple: int  # sides of the input are multiples of it: the network's coarsest stride
    pad_value: int  # grey level 0..255 of the padding right and bottom
    score_threshold: float  # above 0, at most 1
    nms_iou: float  # likewise
    default_long_side: int
    max_enlarge: float
    calibration: Calibration
    verdict: VerdictRule
    intended_use: str
    data: tuple[TrainingData, ...]
    metrics: Mapping[str, Any]  # data set name -> figures printed by `kestrel-train evaluate`
    commit: str
    settings: Mapping[str, Any]  # how it was trained and exported
    second_look: float | None = None  # size of a second look relative to the first, see second_look.py; None: one look
    closer_look: float | None = None  # size of a look at small people relative to the first, see closer_look.py
    schema: int = MODEL_SCHEMA

    def __post_init__(self) -> None:
        self._require_types()
        for name, allowed in (("modality", get_args(Modality)), ("precision", get_args(Precision))):
            if getattr(self, name) not in allowed:
                raise InvalidValueError(name, f"one of {', '.join(allowed)}", getattr(self, name))
        if PEDESTRIAN not in self.classes:
            raise InvalidValueError("classes", f"a list with {PEDESTRIAN!r}", self.classes)
        if self.input_layout != "BHWC uint8 BGR":
            raise InvalidValueError("input_layout", "'BHWC uint8 BGR'", self.input_layout)
        if len(self.strides) != 1 or self.input_multiple % self.strides[0]:
            raise InvalidValueError("strides", f"one divisor of input_multiple {self.input_multiple}", self.strides)
        for name in ("score_threshold", "nms_iou"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise InvalidValueError(name, "above 0 and at most 1", getattr(self, name))
        if self.default_long_side < self.input_multiple:
            raise InvalidValueError("default_long_side", f"at least {self.input_multiple}", self.default_long_side)
        if not 1.0 <= self.max_enlarge <= MOST_ENLARGE:
            raise InvalidValueError("max_enlarge", f"at least 1 and at most {MOST_ENLARGE:g}", self.max_enlarge)
        if self.second_look is not None and not LEAST_SECOND <= self.second_look < 1.0:
            raise InvalidValueError("second_look", f"in {LEAST_SECOND:g}..1, below 1", self.second_look)
        if self.closer_look is not None and not 1.0 < self.closer_look <= MOST_CLOSER:
            raise InvalidValueError("closer_look", f"above 1 and at most {MOST_CLOSER:g}", self.closer_look)
        if self.closer_look is not None and self.closer_look * self.default_long_side > LONG_SIDES[1]:
            rule = f"at most {LONG_SIDES[1]} px of long side, {LONG_SIDES[1] / self.default_long_side:g} here"
            raise InvalidValueError("closer_look", rule, self.closer_look)

    def _require_types(self) -> None:
        """Before values are compared: a file may hold anything."""
        for name in ("name", "version", "size", "input_layout", "intended_use", "commit"):
            require_text(name, getattr(self, name))
        for name, low, high in (
            ("input_multiple", 1, MOST_MULTIPLE),
            ("pad_value", 0, 255),
            ("default_long_side", *LONG_SIDES),
        ):
            require_whole(name, getattr(self, name), low, high)
        for word in self.classes:
            require_text("classes", word)
        for stride in self.strides:
            require_whole("strides", stride, 1, MOST_MULTIPLE)
        for name in ("score_threshold", "nms_iou", "max_enlarge", "second_look", "closer_look"):
            if getattr(self, name) is not None or name not in _ADDED:
                require_number(name, getattr(self, name))
        for name in ("metrics", "settings"):
            if not isinstance(getattr(self, name), Mapping):
                raise InvalidValueError(name, "an object", getattr(self, name))

    @property
    def constants(self) -> dict[str, float]:
        """What the graph must compute with, by name: see GRAPH_CONSTANTS."""
        return {GRAPH_STRIDE: float(self.strides[0]), **self.calibration.constants}

    @property
    def share_with_people(self) -> float:
        """Of the pictures that presence was calibrated on, above 0 and below 1; a half where the figures do not say."""
        try:
            presence = self.metrics[self.settings[FITTED_TO]]["presence"]
            positives, negatives = presence["positives"], presence["negatives"]
            require_whole("positives", positives, 1, MOST_PICTURES)
            require_whole("negatives", negatives, 1, MOST_PICTURES)
        except (KeyError, TypeError, InvalidValueError):
            return 0.5
        share: float = positives / (positives + negatives)
        return share

    def to_props(self) -> dict[str, str]:
        """The `metadata_props` of the graph: field name -> JSON text."""
        values = dataclasses.asdict(self)
        return {name: json.dumps(value, sort_keys=True, allow_nan=False) for name, value in values.items()}

    @classmethod
    def from_props(cls, props: Mapping[str, str], file: str) -> "ModelMetadata":
        """Read the `metadata_props` of `file`.

        Raises:
            ModelError: a field is missing, not JSON, out of its range, or of a newer schema; the text names it.
        """
        if "schema" not in props:
            raise ModelError(f"{file} must carry Kestrel's metadata, got none; export it with kestrel-export")
        schemas = {json.dumps(schema): schema for schema in range(1, MODEL_SCHEMA + 1)}
        schema = schemas.get(props["schema"])
        if schema is None:  # first of all: a newer one may have other fields
            raise ModelError(
                f"{file} must have metadata schema 1 to {MODEL_SCHEMA}, got {props['schema'][:_LONGEST_QUOTE]!r}; "
                "update kestrel-drone, or export the model again"
            )
        try:
            due = [f.name for f in dataclasses.fields(cls) if _ADDED.get(f.name, 1) <= schema]
            values = {name: _parsed(name, props[name]) for name in due}
        except KeyError as missing:
            raise ModelError(f"{file} must carry the metadata field {missing}; export it again") from None
        except ValueError as error:
            raise ModelError(f"{file} must carry metadata as JSON ({error}); export it again") from None
        try:
            for name in ("classes", "strides", "data"):
                if not isinstance(values[name], list):
                    raise InvalidValueError(name, "a list", values[name])
            values["classes"] = tuple(values["classes"])
            values["strides"] = tuple(values["strides"])
            values["calibration"] = Calibration(**values["calibration"])
            values["verdict"] = VerdictRule(**values["verdict"])
            values["data"] = tuple(TrainingData(**entry) for entry in values["data"])
            return cls(**values)
        except (TypeError, InvalidValueError) as error:
            raise ModelError(f"{file} has unusable metadata: {str(error)[:_LONGEST_QUOTE]}; export it again") from None


def _parsed(name: str, text: str) -> Any:
    try:
        return parse(text)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
