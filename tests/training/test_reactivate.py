import pytest
import torch
from torch import Tensor, nn

from edge.errors import InvalidValueError
from training.networks.reactivate import refit


class Small(nn.Module):
    """A plain, a depthwise and a pointwise convolution."""

    def __init__(self, activation: type[nn.Module]) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), activation())
        self.deep = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1, groups=8), activation())
        self.last = nn.Conv2d(8, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = self.last(self.deep(self.first(images)))
        return result


LAYERS = ["last", "first.0", "deep.0"]  # any order


def pair(activation: type[nn.Module]) -> tuple[Small, Small, list[Tensor]]:
    torch.manual_seed(0)
    old, new = Small(nn.SiLU), Small(activation)
    new.load_state_dict(old.state_dict())
    return old, new, [torch.randn(4, 3, 16, 16) for _ in range(3)]


def test_a_refitted_network_says_more_of_what_the_old_one_says():
    old, new, batches = pair(nn.ReLU)
    fresh = torch.randn(8, 3, 16, 16)
    with torch.no_grad():
        before = (new(fresh) - old(fresh)).square().mean()
        left = refit(new, old, LAYERS, batches)
        after = (new(fresh) - old(fresh)).square().mean()
    assert after < 0.5 * before
    assert list(left) == ["first.0", "deep.0", "last"]
    assert left["first.0"] < 1e-6  # nothing lies before it


def test_the_same_activation_changes_nothing():
    old, new, batches = pair(nn.SiLU)
    refit(new, old, LAYERS, batches)
    for name, tensor in new.state_dict().items():
        torch.testing.assert_close(tensor, old.state_dict()[name], atol=1e-4, rtol=1e-4)


def test_grouped_convolutions_of_another_kind_are_refused():
    layer = nn.Sequential(nn.Conv2d(4, 4, 1, groups=2))
    with pytest.raises(InvalidValueError, match="groups must be 1 or 4, got 2"):
        refit(layer, layer, ["0"], [torch.randn(1, 4, 4, 4)])
