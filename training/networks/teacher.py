"""The teacher: any timm backbone with feature maps, a wide pyramid, dense heads at stride 4 and 8."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from edge.errors import UnusableInputError
from training.networks.dense import DenseHead, Predictions, Pyramid
from training.networks.trunk import PIP_MEAN, PIP_STD, TrunkSpec
from training.networks.trunks import make_trunk

PYRAMID_STRIDES = (4, 8, 16, 32)
HEAD_STRIDES = (4, 8)


@dataclass(frozen=True, slots=True)
class TeacherSpec:
    """The architecture of a teacher; stored in every checkpoint."""

    backbone: str = "efficientnet_lite0"
    width: int = 64
    class_depth: int = 2
    box_depth: int = 2
    frozen_stages: int = 2
    mean: tuple[float, float, float] = PIP_MEAN
    std: tuple[float, float, float] = PIP_STD

    def trunk(self) -> TrunkSpec:
        """The trunk that this teacher stands on."""
        return TrunkSpec(self.backbone, PYRAMID_STRIDES, self.mean, self.std, self.frozen_stages)

    def to_json(self) -> dict[str, Any]:
        """As a checkpoint stores it."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "TeacherSpec":
        """Back from a checkpoint.

        Raises:
            UnusableInputError: it describes another architecture.
        """
        try:
            return cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})
        except (TypeError, KeyError) as error:
            raise UnusableInputError(
                f"checkpoint must describe a Kestrel teacher, got {error}; train it again"
            ) from None


class Teacher(nn.Module):
    """Predictions at stride 4 and 8; a student learns from the map at its own stride."""

    def __init__(self, spec: TeacherSpec) -> None:
        super().__init__()
        self.spec = spec
        self.trunk = make_trunk(spec.trunk())
        self.pyramid = Pyramid(self.trunk.channels, spec.width)
        self.heads = nn.ModuleList(DenseHead(spec.width, s, spec.class_depth, spec.box_depth) for s in HEAD_STRIDES)

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides that this network predicts at."""
        return HEAD_STRIDES

    def forward(self, images: Tensor) -> dict[int, Predictions]:
        """(B, 3, H, W) BGR 0..255, sides multiples of 32 -> predictions by stride."""
        levels = self.pyramid(self.trunk(images))
        return {s: head(levels[PYRAMID_STRIDES.index(s)]) for s, head in zip(HEAD_STRIDES, self.heads, strict=True)}
