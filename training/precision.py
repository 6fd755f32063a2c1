"""In which number format a network computes while it learns.

bfloat16 halves what goes through memory and multiplies twice as fast, where the hardware has it. A processor without
(x86 with AVX2 alone, most ARM boards) falls back to a loop that takes fifteen times as long as float32.
"""

from typing import Literal, get_args

import torch

from edge.errors import InvalidValueError

Precision = Literal["auto", "bf16", "fp32"]  # of activations and gradients; weights and losses are float32 either way


def require_precision(value: str) -> None:
    """Raise InvalidValueError for anything that is no precision."""
    if value not in get_args(Precision):
        raise InvalidValueError("precision", "auto, bf16 or fp32", value)


def computes_bf16(device: torch.device) -> bool:
    """Whether this device multiplies bfloat16 in hardware, or at least in fast kernels."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):  # a build without oneDNN
        return False


def autocast(device: torch.device, precision: Precision = "auto") -> torch.autocast:
    """Where the network computes; `auto` is bfloat16 where the device is fast at it, and else float32."""
    lowered = precision == "bf16" or (precision == "auto" and computes_bf16(device))
    return torch.autocast(device.type, torch.bfloat16, enabled=lowered)
