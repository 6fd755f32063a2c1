import copy

import pytest
import torch
from torch import Tensor, nn

from training.networks.depthwise import DepthwiseConv2d, use_fast_depthwise


def depthwise(kernel: int, stride: int, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(8, 8, kernel, stride, kernel // 2, groups=8, bias=bias)


def gradients(layer: nn.Conv2d, x: Tensor) -> list[Tensor]:
    """Of the input and of the parameters, for a loss in which every output cell matters differently."""
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    (y.float() * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
    found = [t.grad for t in (x, *layer.parameters())]
    assert all(g is not None for g in found)
    return found  # type: ignore[return-value]


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("shape_hw", "bias"), [((16, 24), False), ((9, 13), False), ((9, 13), True)])
def test_the_fast_backward_pass_gives_the_gradients_of_an_ordinary_convolution(kernel, stride, shape_hw, bias):
    torch.manual_seed(0)
    plain = depthwise(kernel, stride, bias)
    fast = nn.Sequential(copy.deepcopy(plain))
    use_fast_depthwise(fast)
    x = torch.randn(2, 8, *shape_hw)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(fast(x), plain(x), atol=0.01, rtol=0.02)
    for ours, theirs in zip(gradients(fast[0], x), gradients(plain, x), strict=True):
        assert torch.linalg.norm(ours - theirs) < 0.01 * torch.linalg.norm(theirs)  # bfloat16 has 8 bits


def test_only_the_class_of_a_depthwise_layer_changes_never_its_parameters():
    network = nn.Sequential(depthwise(3, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3, dilation=2, groups=8))
    before = network.state_dict()
    use_fast_depthwise(network)
    assert [type(layer) for layer in network] == [DepthwiseConv2d, nn.Conv2d, nn.Conv2d]
    assert list(network.state_dict()) == list(before)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_outside_training_it_is_an_ordinary_convolution():
    layer = depthwise(5, 2)
    fast = nn.Sequential(copy.deepcopy(layer))
    use_fast_depthwise(fast)
    x = torch.randn(1, 8, 10, 10)
    assert torch.equal(fast.eval()(x), layer(x))
