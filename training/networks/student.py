"""The student: a mobile trunk, a light pyramid and a dense head; or all of a detector, as YOLOX-nano, which we ship."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from edge.errors import InvalidValueError, UnusableInputError
from training.networks import yolox
from training.networks.dense import DenseHead, PredictedMaps, Pyramid
from training.networks.heads import OWN_HEADS, OwnHead, own_head, require_head
from training.networks.spec_rules import require_normalization, require_sizes, require_texts
from training.networks.trunk import PIP_MEAN, PIP_STD, TrunkSpec
from training.networks.trunks import make_trunk

MOST_WIDTH = 4.0  # times YOLOX-nano's channels; no student is as wide, and a file's word is not trusted with memory


@dataclass(frozen=True, slots=True)
class StudentSpec:
    """The architecture of a student; stored in every checkpoint."""

    size: str = "small"
    backbone: str = "efficientnet_lite0"
    stride: int = 4  # of the detection map
    coarsest: int = 16  # the trunk is cut after it; sides of the input are multiples of it
    width: int = 48
    class_depth: int = 2
    box_depth: int = 2
    frozen_stages: int = 2
    mean: tuple[float, float, float] = PIP_MEAN
    std: tuple[float, float, float] = PIP_STD
    head: str = "dense"  # dense: a pyramid and towers that start untrained; or the backbone's own (heads.py)
    activation: str = "silu"  # of a detector's trunk and head: silu, as released (NanoDet: leaky) | hardswish | relu
    width_multiplier: float = 1.0  # of the YOLOX trunk's and head's channels

    def __post_init__(self) -> None:
        require_texts(size=self.size, backbone=self.backbone, head=self.head, activation=self.activation)
        require_sizes(self.width, self.class_depth, self.box_depth, self.frozen_stages)
        require_normalization(self.mean, self.std)
        require_head(self.head, self.backbone, self.stride)
        if self.stride not in (4, 8):
            raise InvalidValueError("stride", "4 or 8", self.stride)
        if self.coarsest not in (16, 32):
            raise InvalidValueError("coarsest", "16 or 32", self.coarsest)
        if not 0 < self.width_multiplier <= MOST_WIDTH:
            raise InvalidValueError("width_multiplier", f"above 0 and at most {MOST_WIDTH:g}", self.width_multiplier)
        if self.width_multiplier % yolox.WIDTH_STEP:
            raise InvalidValueError("width_multiplier", f"a multiple of {yolox.WIDTH_STEP}", self.width_multiplier)
        if self.width_multiplier != 1 and self.backbone != yolox.BACKBONE:
            raise InvalidValueError("width_multiplier", f"1 unless {yolox.BACKBONE} is used", self.width_multiplier)

    def trunk(self) -> TrunkSpec:
        """The trunk that this student stands on."""
        # A detector has fused what is coarser into its map at stride 8 already.
        deepest = 8 if self.backbone in OWN_HEADS and self.head == "dense" else self.coarsest
        strides = tuple(s for s in (4, 8, 16, 32) if self.stride <= s <= deepest)
        return TrunkSpec(
            self.backbone, strides, self.mean, self.std, self.frozen_stages, self.activation, self.width_multiplier
        )

    def to_json(self) -> dict[str, Any]:
        """As a checkpoint stores it."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "StudentSpec":
        """Back from a checkpoint.

        Raises:
            UnusableInputError: it describes another architecture.
        """
        try:
            return cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})
        except (TypeError, KeyError) as error:
            raise UnusableInputError(
                f"checkpoint must describe a Kestrel student, got {error}; train it again"
            ) from None


class Student(nn.Module):
    """One pass: is each cell a pedestrian's centre, and where are that pedestrian's sides."""

    def __init__(self, spec: StudentSpec) -> None:
        super().__init__()
        self.spec = spec
        self.trunk = make_trunk(spec.trunk())
        self.head: DenseHead | OwnHead
        if spec.head != "dense":
            self.pyramid = None
            self.head = own_head(spec.head, self.trunk.channels[0], spec.activation, spec.width_multiplier)
        else:
            self.pyramid = Pyramid(self.trunk.channels, spec.width)
            self.head = DenseHead(spec.width, spec.stride, spec.class_depth, spec.box_depth)

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides that this network predicts at."""
        return (self.spec.stride,)

    def forward(self, images: Tensor) -> dict[int, PredictedMaps]:
        """(B, 3, H, W) BGR 0..255, sides multiples of `coarsest` -> predictions by stride."""
        features = self.trunk(images)
        return {self.spec.stride: self.head(features if self.pyramid is None else self.pyramid(features)[0])}
