"""Batch norm over the joined batch of several processes, on any device (torch's own SyncBatchNorm needs a GPU).

Statistics as in Peng et al. (MegDet), arXiv 1711.07240: mean and mean square of every process are averaged, with
gradients; all processes have batches of one shape.
"""

from typing import Any

import torch
import torch.distributed as dist
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn


class SharedBatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` that learns from the joined batch."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, h, w) -> the same, normalised."""
        return _normalised(self, input) if self.training else super().forward(input)


class SharedBatchNormAct2d(BatchNormAct2d):
    """timm's batch norm with an activation, learning from the joined batch."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same, normalised and activated."""
        if not self.training:
            return super().forward(x)  # type: ignore[no-untyped-call,no-any-return]  # timm is untyped
        result: Tensor = self.act(self.drop(_normalised(self, x)))
        return result


def share_batch_norms(network: nn.Module) -> None:
    """Let every batch norm below `network` learn from the joined batch; parameters and names stay."""
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm2d
        elif type(module) is BatchNormAct2d:
            module.__class__ = SharedBatchNormAct2d


class _Sum(torch.autograd.Function):
    """Sum over the processes; every one's loss depends on it, so the gradient is the sum of their gradients."""

    @staticmethod
    def forward(_: Any, tensor: Tensor) -> Tensor:
        summed = tensor.clone()
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(_: Any, *grads: Tensor) -> Tensor:
        summed = grads[0].clone()
        dist.all_reduce(summed)
        return summed


def _normalised(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    processes = dist.get_world_size()
    # In double from here on: the difference below cancels, and most where a mean is far from 0.
    variance, mean = (v.double() for v in torch.var_mean(x.float(), dim=(0, 2, 3), unbiased=False))  # (C,) each
    moments = torch.stack((mean, variance + mean.square()))
    mean, square = _Sum.apply(moments) / processes
    variance = square - mean.square()
    _remember(norm, mean.detach(), variance.detach(), processes * x.numel() // x.shape[1])
    scale = (variance + norm.eps).rsqrt().float()
    shift = -mean.float() * scale
    if norm.affine:
        scale, shift = scale * norm.weight, shift * norm.weight + norm.bias
    normalised: Tensor = x.float() * scale[:, None, None] + shift[:, None, None]
    return normalised.to(x.dtype)


@torch.no_grad()
def _remember(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, values: int) -> None:
    """Move the running statistics as nn.BatchNorm2d does, with the unbiased variance."""
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    norm.num_batches_tracked += 1
    share = norm.momentum if norm.momentum is not None else 1 / float(norm.num_batches_tracked)
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), share)
    norm.running_var.lerp_((variance * values / max(values - 1, 1)).to(norm.running_var.dtype), share)
