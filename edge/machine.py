"""What a figure of speed is worth nothing without: the machine, its memory, its temperature, the versions, the date."""

import os
import platform
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edge.cpu import cpu_name, usable_cores

_OWN_STATUS = Path("/proc/self/status")
_THERMAL_ZONES = Path("/sys/class/thermal")
_CONTAINER_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_PACKAGES = ("onnxruntime", "opencv-python", "opencv-python-headless", "av", "numpy")


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and when something was measured."""

    cpu: str
    cores: int  # that this process may use
    system: str
    python: str
    packages: tuple[str, ...]  # "onnxruntime 1.32.0", the installed ones
    date: str  # UTC, ISO 8601

    def __str__(self) -> str:
        cores = "1 core" if self.cores == 1 else f"{self.cores} cores"
        return f"{self.cpu}, {cores}, {self.system}, {self.date[:10]}"

    def to_json(self) -> dict[str, Any]:
        """The report's `machine`, without the date."""
        return {
            "cpu": self.cpu,
            "cores": self.cores,
            "system": self.system,
            "python": self.python,
            "packages": list(self.packages),
        }


def this_machine() -> Machine:
    """The machine as it is now."""
    return Machine(
        cpu=cpu_name(),
        cores=usable_cores(),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        packages=tuple(f"{name} {number}" for name in _PACKAGES if (number := _version(name)) is not None),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def memory_bytes() -> int | None:
    """All memory of the machine, or of the container that we are in; None where the system cannot tell."""
    limits = [_whole_number(file) for file in _CONTAINER_LIMITS]
    with suppress(AttributeError, ValueError, OSError):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min((limit for limit in limits if limit), default=None)


def _whole_number(file: Path) -> int | None:
    """What a file of the kernel's says; None where it is not there, or says `max`."""
    with suppress(OSError, ValueError):
        return int(file.read_text())
    return None


def peak_rss_mb(status: Path = _OWN_STATUS) -> float | None:
    """The most memory that this process has held so far, in units of 10^6 bytes; None where the system cannot tell.

    Linux says so in `status`. Its getrusage, which serves elsewhere, takes over the peak of whoever started us.
    """
    with suppress(OSError, ValueError, StopIteration):
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


def temperature_c(zones: Path = _THERMAL_ZONES) -> float | None:
    """The hottest of the machine's own sensors in degrees Celsius; None where it has none that can be read."""
    readings = [reading for zone in zones.glob("thermal_zone*/temp") if (reading := _degrees(zone)) is not None]
    return max(readings, default=None)


def _degrees(file: Path) -> float | None:
    """Linux gives thousandths of a degree. A sensor that is switched off gives an error, or nonsense."""
    try:
        degrees = int(file.read_text()) / 1000
    except (OSError, ValueError):
        return None
    return degrees if 0 < degrees < 150 else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
