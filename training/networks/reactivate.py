"""Give a trained network another activation and keep what it knows: SiLU first, then what costs less or suits INT8.

Exchanged as they are, activations leave features worse than their mean. So the convolutions are refitted one after the
other, in the order in which they run: least squares from what the new network has at that place to what the old one
says there before its activation, over real pictures (the layer-wise reconstruction of He et al., arXiv 1707.06168, who
prune with it). Errors of earlier layers are corrected by later ones. What remains is left to training.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge.errors import InvalidValueError

ACTIVATIONS: dict[str, type[nn.Module]] = {"silu": nn.SiLU, "hardswish": nn.Hardswish, "relu": nn.ReLU}
RELEASED = (nn.SiLU, nn.LeakyReLU)  # of the detectors that we start from, where "silu" stands for "as released"
RIDGE = 1e-3  # of the mean squared input: directions that the pictures do not show keep their weights


def activate(network: nn.Module, activation: str) -> None:
    """Put `activation` in the place of every one that was released below `network`; silu leaves them as they are.

    Raises:
        InvalidValueError: no such activation.
    """
    if activation not in ACTIVATIONS:
        raise InvalidValueError("activation", f"one of {', '.join(ACTIVATIONS)}", activation)
    if activation != "silu":
        replace_activations(network, RELEASED, ACTIVATIONS[activation])


def replace_activations(network: nn.Module, kinds: tuple[type[nn.Module], ...], new: Callable[[], nn.Module]) -> None:
    """Put a new module in the place of each of these kinds below `network`."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, kinds):
                setattr(parent, name, new())


class _ReachedError(Exception):
    """The layer in question has run; the rest of the network need not."""


@torch.no_grad()
def refit(
    new: nn.Module,
    old: nn.Module,
    layers: list[str],
    batches: list[Tensor],
    channels: Mapping[str, list[int]] | None = None,
) -> dict[str, float]:
    """Refit the convolutions `layers` of `new` in place; `old` has the same ones with other activations behind them.

    `batches` are inputs (B, 3, H, W) of both. `channels` tells, where `new` is narrower, which of the old outputs of
    each layer it has. Returns for every layer the median over its channels of the share of variance that could not be
    fitted.

    Raises:
        InvalidValueError: a layer is neither depthwise nor a plain convolution.
    """
    old.eval()
    new.eval()
    wanted = [_outputs_of(old, layers, images, channels or {}) for images in batches]
    left: dict[str, float] = {}
    for name in _in_order(new, layers, batches[0][:1]):
        layer = new.get_submodule(name)
        assert isinstance(layer, nn.Conv2d)
        inputs = [_input_of(new, layer, images) for images in batches]
        _fit(layer, inputs, [outputs[name] for outputs in wanted])
        fitted = torch.cat([layer(x) for x in inputs])
        target = torch.cat([outputs[name] for outputs in wanted])
        lost = (fitted - target).square().mean((0, 2, 3)) / target.var((0, 2, 3)).clamp(min=1e-6)  # (C,)
        left[name] = lost.median().item()
    return left


def _fit(layer: nn.Conv2d, inputs: list[Tensor], targets: list[Tensor]) -> None:
    """Weighted towards the old weights by RIDGE, in float64."""
    gram = moment = None
    for x, y in zip(inputs, targets, strict=True):
        design, wanted = _design(layer, x), _columns(layer, y)  # (G, N, K), (G, N, M)
        gram = design.mT @ design if gram is None else gram + design.mT @ design
        moment = design.mT @ wanted if moment is None else moment + design.mT @ wanted
    assert gram is not None
    assert moment is not None
    assert layer.bias is not None
    groups = gram.shape[0]
    weights = layer.weight.reshape(groups, -1, layer.weight[0].numel()).mT  # (G, K - 1, M)
    before = torch.cat((weights, layer.bias.reshape(groups, 1, -1)), 1).double()  # (G, K, M)
    ridge = RIDGE * gram.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    solved = torch.linalg.solve(gram + ridge * torch.eye(gram.shape[1], dtype=gram.dtype), moment + ridge * before)
    layer.weight.copy_(solved[:, :-1].mT.reshape(layer.weight.shape))
    layer.bias.copy_(solved[:, -1].reshape(-1))


def _design(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """(B, C, H, W) -> (G, N, K): what each output of each group is computed from, and a one for the bias."""
    kernel, groups = layer.kernel_size, layer.groups
    if groups not in (1, x.shape[1]):
        raise InvalidValueError("groups", f"1 or {x.shape[1]}", groups)
    assert not isinstance(layer.padding, str)
    if kernel == (1, 1) and layer.stride == (1, 1):
        patches = x.flatten(2)  # (B, C, N)
    else:
        patches = functional.unfold(x, kernel, padding=layer.padding, stride=layer.stride)  # (B, C * k * k, N)
    patches = patches.reshape(x.shape[0], groups, -1, patches.shape[-1])  # (B, G, K, N)
    columns = patches.permute(1, 0, 3, 2).reshape(groups, -1, patches.shape[2])  # (G, B * N, K)
    return torch.cat((columns, columns.new_ones(*columns.shape[:2], 1)), 2).double()


def _columns(layer: nn.Conv2d, y: Tensor) -> Tensor:
    """(B, C, H, W) -> (G, B * H * W, C / G)."""
    grouped = y.flatten(2).reshape(y.shape[0], layer.groups, -1, y.shape[2] * y.shape[3])
    return grouped.permute(1, 0, 3, 2).reshape(layer.groups, -1, grouped.shape[2]).double()


@contextmanager
def _watching(network: nn.Module, names: list[str], see: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Call see(name, output) whenever one of the layers runs."""

    def hook(name: str) -> Callable[..., None]:
        return lambda _module, _inputs, output: see(name, output)

    handles = [network.get_submodule(name).register_forward_hook(hook(name)) for name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _in_order(network: nn.Module, layers: list[str], images: Tensor) -> list[str]:
    order: list[str] = []
    with _watching(network, layers, lambda name, _: order.append(name)):
        network(images)
    return order


def _outputs_of(
    network: nn.Module, layers: list[str], images: Tensor, channels: Mapping[str, list[int]]
) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    with _watching(network, layers, lambda name, y: found.update({name: y[:, channels[name]] if channels else y})):
        network(images)
    return found


def _input_of(network: nn.Module, layer: nn.Conv2d, images: Tensor) -> Tensor:
    found: list[Tensor] = []

    def stop(_module: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        found.append(inputs[0])
        raise _ReachedError

    handle = layer.register_forward_hook(stop)
    try:
        network(images)
    except _ReachedError:
        pass
    finally:
        handle.remove()
    return found[0]
