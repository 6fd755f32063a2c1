"""What the processor has to offer: its name, cores that we may use, and INT8 that pays.

INT8 pays only where the processor multiplies bytes and adds them up in one instruction.
"""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")
_FAST = {  # names in Linux's list -> what people call it; ONNX Runtime has kernels for each
    "avx512_vnni": "AVX512-VNNI",
    "avx_vnni": "AVX-VNNI",
    "asimddp": "the ARM dot product",
    "i8mm": "ARM's INT8 matrix product",
}


def usable_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_name(cpu_info: Path = _CPU_INFO) -> str:
    """The processor's name from Linux's list of processors, else what Python knows of it.

    ARM boards have no `model name`; theirs is the board's, `Model`.
    """
    try:
        lines = cpu_info.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    return facts.get("model name") or facts.get("Model") or platform.processor() or platform.machine()


@dataclass(frozen=True, slots=True)
class Int8Support:
    """Whether INT8 runs faster than FP32 here, and why."""

    fast: bool
    reason: str


def int8_support(cpu_info: Path = _CPU_INFO) -> Int8Support:
    """What the processor says of itself. Where it says nothing, FP32 is the safe choice."""
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return Int8Support(True, "Apple's processors have the ARM dot product")
    try:
        lines = cpu_info.read_text(errors="replace").splitlines()
    except OSError:
        return Int8Support(False, "this system does not tell what its processor can do")
    words = {word for line in lines if line.lower().startswith(("flags", "features")) for word in line.split()}
    known = [name for word, name in _FAST.items() if word in words]
    if known:
        return Int8Support(True, f"this processor has {known[0]}")
    return Int8Support(False, "this processor has neither VNNI nor the ARM dot product")
