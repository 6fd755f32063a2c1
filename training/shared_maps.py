"""The maps that a network hands to its heads: the last tensors that all of its losses share.

Feature distillation compares them, and the gradients of the losses are measured there.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

PROBE_SIDE = 64  # of the picture that asks a network for its channels


@dataclass(slots=True)
class SharedMaps:
    """What the heads were given in the forward pass that was watched."""

    all: list[Tensor] = field(default_factory=list)
    fused: list[Tensor] = field(default_factory=list)  # those in which coarse and fine have met already

    def by_stride(self, images: Tensor) -> Mapping[int, Tensor]:
        """Fused maps of `images` (B, 3, H, W) by their stride; of an ensemble, the channels of all its networks."""
        together: dict[int, list[Tensor]] = {}
        for one in self.fused:
            together.setdefault(images.shape[-1] // one.shape[-1], []).append(one)
        return {stride: torch.cat(maps, 1) for stride, maps in together.items()}


@contextlib.contextmanager
def watched(network: nn.Module) -> Iterator[SharedMaps]:
    """Note what the heads of a network of ours are given while the context is open."""
    maps = SharedMaps()

    def note(_: nn.Module, inputs: tuple[Tensor | Sequence[Tensor], ...]) -> None:
        given = inputs[0]
        if isinstance(given, Tensor):
            maps.all.append(given)
            maps.fused.append(given)
        else:  # a head with a pyramid of its own: the finest map comes straight from the first layers
            maps.all.extend(given)
            maps.fused.extend(given[1:])

    handles = [head.register_forward_pre_hook(note, prepend=True) for head in heads_of(network)]
    try:
        yield maps
    finally:
        for handle in handles:
            handle.remove()


def heads_of(network: nn.Module) -> list[Any]:
    """The heads of a network of ours; of an ensemble those of all its networks."""
    if hasattr(network, "members"):
        return [head for member in network.members for head in heads_of(member)]  # type: ignore[union-attr]
    return [network.head] if hasattr(network, "head") else list(getattr(network, "heads", ()))


@torch.no_grad()
def channels_by_stride(network: nn.Module) -> Mapping[int, int]:
    """Channels of the fused maps of a network by their stride."""
    device = next(network.parameters()).device
    probe = torch.zeros(1, 3, PROBE_SIDE, PROBE_SIDE, device=device)
    training = network.training
    network.eval()  # a probe must not move batch-norm statistics
    with watched(network) as maps:
        network(probe)
    network.train(training)
    return {stride: m.shape[1] for stride, m in maps.by_stride(probe).items()}


def gradient_shares(named: Mapping[str, Tensor], shared: Sequence[Tensor]) -> dict[str, float]:
    """Share of each named loss in the gradient on the shared maps: its norm by the sum of all norms.

    Costs a backward pass through the heads for each loss; nothing is accumulated. Empty where no map is shared.
    """
    maps = [m for m in shared if m.requires_grad]  # those of frozen layers do not
    norms = {}
    for name, loss in named.items():
        if maps and loss.requires_grad:
            gradients = torch.autograd.grad(loss, maps, retain_graph=True, allow_unused=True)
            norms[name] = sum(float(g.float().square().sum()) for g in gradients if g is not None) ** 0.5
    whole = sum(norms.values())
    return {name: norm / whole if whole > 0 else 0.0 for name, norm in norms.items()}
