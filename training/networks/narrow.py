"""A narrower copy of a trained network: its strongest channels stay, and what is left says what all of it said.

Which channels hang together (sums, concatenations, depthwise layers) is found by Torch-Pruning (DepGraph, arXiv
2301.12900); those of the largest norm stay (arXiv 1608.08710). Then `reactivate.refit` fits every convolution to what
the wide network says at the channels that stayed (He et al., arXiv 1707.06168).
"""

import copy
from collections.abc import Mapping

import torch
import torch_pruning as pruning  # type: ignore[import-untyped]
from torch import Tensor, nn

PROBE_PX = 64  # side of the picture by which channels are traced
OUT_CHANNELS = (pruning.prune_conv_out_channels, pruning.prune_depthwise_conv_out_channels)


def is_narrower(narrow: nn.Module, wide: nn.Module) -> bool:
    """The same layers, all of them convolutions with biases, and none of them wider."""
    ours, theirs = narrow.state_dict(), wide.state_dict()
    if ours.keys() != theirs.keys() or _widths(ours) == _widths(theirs):
        return False
    layers = _convolutions(narrow)
    plain = len(ours) == 2 * len(layers) and all(layer.bias is not None for layer in layers.values())
    sides = [side for name, t in ours.items() for side in zip(t.shape, theirs[name].shape, strict=True)]
    return plain and all(here <= there for here, there in sides)


def take_strongest(narrow: nn.Module, wide: nn.Module) -> dict[str, list[int]]:
    """Give `narrow` the weights of the strongest channels of `wide`: for each of its convolutions, which those are.

    Args:
        narrow: takes (B, 3, H, W) as `wide` does, and `is_narrower`.
        wide: stays as it is.
    """
    shrinking = copy.deepcopy(wide).cpu().requires_grad_(True)  # tracing follows gradients
    images = torch.zeros(1, 3, PROBE_PX, PROBE_PX)
    graph = pruning.DependencyGraph().build_dependency(
        shrinking, images, output_transform=lambda found: [(p.logits, p.log_distances) for p in found.values()]
    )
    importance = pruning.importance.GroupMagnitudeImportance(p=2)
    layers = _convolutions(shrinking)
    names = {layer: name for name, layer in layers.items()}
    widths = {name: layer.out_channels for name, layer in _convolutions(narrow).items()}
    kept = {name: list(range(layer.out_channels)) for name, layer in layers.items()}
    for name, layer in layers.items():
        surplus = layer.out_channels - widths[name]  # none left where an earlier layer took it along
        if surplus <= 0:
            continue
        everything = list(range(layer.out_channels))
        strength: Tensor = importance(graph.get_pruning_group(layer, OUT_CHANNELS[0], everything))
        weakest = graph.get_pruning_group(layer, OUT_CHANNELS[0], strength.argsort()[:surplus].tolist())
        for dependency, channels in weakest:
            if dependency.handler in OUT_CHANNELS:
                tied = names[dependency.target.module]
                gone = {*channels}
                kept[tied] = [channel for place, channel in enumerate(kept[tied]) if place not in gone]
        weakest.prune()
    narrow.load_state_dict(shrinking.state_dict())
    return kept


def _convolutions(network: nn.Module) -> dict[str, nn.Conv2d]:
    return {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}


def _widths(state: Mapping[str, Tensor]) -> list[torch.Size]:
    return [tensor.shape for tensor in state.values()]
