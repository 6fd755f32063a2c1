"""What the trunks of released detectors have in common: maps by stride, their own normalisation, frozen stages."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from edge.errors import InvalidValueError
from training.networks.depthwise import use_fast_depthwise
from training.networks.trunk import Normalize, TrunkSpec


class DetectorTrunk(nn.Module):
    """A backbone that gives {stride: map}, of which those of the spec's strides are handed on.

    Args:
        spec: what to build.
        backbone: RGB as `spec` normalises it (B, 3, H, W) -> {stride: (B, C, H/stride, W/stride)}.
        channels: C of each stride that there is.
        stages: names of its modules, as `TrunkSpec.frozen_stages` counts them.
    """

    def __init__(
        self, spec: TrunkSpec, backbone: nn.Module, channels: Mapping[int, int], stages: Sequence[str]
    ) -> None:
        super().__init__()
        if any(s not in channels for s in spec.strides):
            raise InvalidValueError("strides", f"among {sorted(channels)}", spec.strides)
        self.spec = spec
        self.backbone = backbone
        self.channels = tuple(channels[s] for s in spec.strides)
        self.normalize = Normalize(spec.mean, spec.std)
        use_fast_depthwise(self.backbone)
        for stage in stages[: spec.frozen_stages]:
            self.backbone.get_submodule(stage).requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) BGR 0..255, sides multiples of 32 -> one map a stride, finest first."""
        found = self.backbone(self.normalize(images))
        return [found[s] for s in self.spec.strides]
