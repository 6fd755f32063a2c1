"""The teacher: any timm backbone with feature maps, a wide pyramid, heads at stride 4 and 8; or a detector's own."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge.errors import UnusableInputError
from training.networks.dense import DenseHead, PredictedMaps, Pyramid
from training.networks.heads import own_head, require_head
from training.networks.spec_rules import require_normalization, require_sizes, require_texts
from training.networks.trunk import PIP_MEAN, PIP_STD, TrunkSpec
from training.networks.trunks import make_trunk

PYRAMID_STRIDES = (4, 8, 16, 32)
HEAD_STRIDES = (4, 8)
LEAST_REACH = 0.05  # of a stride; a coarse cell's centre may lie outside the box of its surest fine cell


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
    head: str = "dense"  # as in StudentSpec
    activation: str = "silu"  # of a detector's trunk, as in StudentSpec

    def __post_init__(self) -> None:
        require_texts(backbone=self.backbone, head=self.head, activation=self.activation)
        require_sizes(self.width, self.class_depth, self.box_depth, self.frozen_stages)
        require_normalization(self.mean, self.std)
        require_head(self.head, self.backbone, HEAD_STRIDES[0])

    def trunk(self) -> TrunkSpec:
        """The trunk that this teacher stands on."""
        return TrunkSpec(self.backbone, PYRAMID_STRIDES, self.mean, self.std, self.frozen_stages, self.activation)

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
    """PredictedMaps at stride 4 and 8; a student learns from the map at its own stride."""

    def __init__(self, spec: TeacherSpec) -> None:
        super().__init__()
        self.spec = spec
        self.trunk = make_trunk(spec.trunk())
        if spec.head != "dense":
            self.head = own_head(spec.head, self.trunk.channels[0], spec.activation)
        else:
            self.pyramid = Pyramid(self.trunk.channels, spec.width)
            self.heads = nn.ModuleList(DenseHead(spec.width, s, spec.class_depth, spec.box_depth) for s in HEAD_STRIDES)

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides that this network predicts at."""
        return HEAD_STRIDES

    def forward(self, images: Tensor) -> dict[int, PredictedMaps]:
        """(B, 3, H, W) BGR 0..255, sides multiples of 32 -> predictions by stride."""
        features = self.trunk(images)
        if self.spec.head != "dense":
            fine: PredictedMaps = self.head(features)
            return {4: fine, 8: coarser(fine)}
        levels = self.pyramid(features)
        return {s: head(levels[PYRAMID_STRIDES.index(s)]) for s, head in zip(HEAD_STRIDES, self.heads, strict=True)}


def coarser(fine: PredictedMaps) -> PredictedMaps:
    """PredictedMaps at twice the stride: each cell says what the surest of its four says."""
    stride = 2 * fine.stride
    logits, where = functional.max_pool2d(fine.logits[:, None], 2, return_indices=True)  # (B, 1, h, w) both
    boxes = fine.boxes_xyxy().flatten(2).gather(2, where.flatten(2).expand(-1, 4, -1))  # (B, 4, h * w)
    x0, y0, x1, y1 = boxes.reshape(boxes.shape[0], 4, *logits.shape[2:]).unbind(1)  # (B, h, w) each
    x = stride * (torch.arange(logits.shape[3], device=x0.device, dtype=x0.dtype) + 0.5)
    y = stride * (torch.arange(logits.shape[2], device=x0.device, dtype=x0.dtype) + 0.5)[:, None]
    reach = torch.stack((x - x0, y - y0, x1 - x, y1 - y), 1) / stride
    return PredictedMaps(stride, logits[:, 0], reach.clamp(min=LEAST_REACH).log())
