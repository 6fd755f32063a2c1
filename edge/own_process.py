"""How a module of ours is run by a Python of its own, whatever lies in the working directory."""

import os
import sys
from pathlib import Path

_ROOT = str(Path(__file__).resolve().parents[1])  # where the package `edge` lies


def command(module: str, *arguments: str) -> list[str]:
    """For subprocess and its like. -P: an `edge` in the working directory is none of ours."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment() -> dict[str, str]:
    """Ours, with the place of our package first in the path."""
    path = os.environ.get("PYTHONPATH")
    return dict(os.environ) | {"PYTHONPATH": os.pathsep.join([_ROOT, *([path] if path else [])])}
