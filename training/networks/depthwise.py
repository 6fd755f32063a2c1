"""Depthwise convolution whose backward pass is fast on CPUs.

oneDNN's bfloat16 kernels are fast forward but not backward for two shapes that mobile trunks are made of (measured with
torch 2.14, one Zen 4 core, 8 crops of 320x320): the input gradient of a strided layer takes 108 ms where the same
gradient, written as a stride-1 convolution over the zero-stuffed output gradient, takes 10; the weight gradient of a
5x5 layer takes 88 ms in bfloat16 and 27 in float32. Results are the same up to rounding; a trunk trains twice as fast.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class _DepthwiseFunction(torch.autograd.Function):
    """`functional.conv2d(x, weight, None, stride, padding, groups=channels)` with the backward pass described above."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return functional.conv2d(x, weight, None, stride, padding, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        grad, stride, padding = grads[0], ctx.stride, ctx.padding
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_x = _input_gradient(grad, x, weight, stride, padding)
        if ctx.needs_input_grad[1]:
            wide = weight.shape[-1] > 3
            exact = (grad.float(), x.float(), weight.float()) if wide else (grad, x, weight)
            grad_weight = torch.ops.aten.convolution_backward(
                *exact, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], x.shape[1], [False, True, False]
            )[1].to(weight.dtype)
        return grad_x, grad_weight, None, None


def _input_gradient(grad: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    kernel = weight.shape[-1]
    if stride > 1:  # zero-stuff the output gradient, so that a stride-1 convolution finishes the job
        height, width = x.shape[2] + 2 * padding - kernel + 1, x.shape[3] + 2 * padding - kernel + 1
        stuffed = grad.new_zeros((grad.shape[0], grad.shape[1], height, width)).contiguous(
            memory_format=torch.channels_last
        )
        stuffed[:, :, ::stride, ::stride] = grad
        grad = stuffed
    return functional.conv2d(grad, weight.flip(2, 3), None, 1, kernel - 1 - padding, groups=x.shape[1])


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise `nn.Conv2d` (same parameters, same names) with the fast backward pass where it applies."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H/stride, W/stride)."""
        if not (self.training and input.device.type == "cpu" and torch.is_autocast_enabled("cpu")):
            return super().forward(input)
        lowered = torch.get_autocast_dtype("cpu")
        with torch.autocast("cpu", enabled=False):
            result: Tensor = _DepthwiseFunction.apply(
                input.to(lowered), self.weight.to(lowered), self.stride[0], int(self.padding[0])
            )
        return result if self.bias is None else result + self.bias.to(lowered).view(1, -1, 1, 1)


def use_fast_depthwise(network: nn.Module) -> None:
    """Turn every square depthwise `nn.Conv2d` below `network` into a `DepthwiseConv2d`, parameters kept."""
    for module in network.modules():
        if (
            type(module) is nn.Conv2d
            and module.groups == module.in_channels == module.out_channels
            and module.groups > 1
            and module.dilation == (1, 1)
            and isinstance(module.padding, tuple)
            and len({*module.kernel_size}) == len({*module.stride}) == len({*module.padding}) == 1
        ):
            module.__class__ = DepthwiseConv2d
