"""All checks in one go: `python -m tests`. Stops at the first that fails; words after it go to pytest.

Tests run in several processes, one a core; each file stays in one of them, so that it makes what its tests share once.

The last check installs the edge alone into an environment of its own, with OpenCV 4 (the environment around us has
OpenCV 5 as a rule) and without torch, and runs the tests of the edge there.
"""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
IN_PARALLEL = ("--numprocesses", "auto", "--maxprocesses", "4", "--dist", "loadfile")
CHECKS = (
    (sys.executable, "-m", "ruff", "format", "--check", "."),
    (sys.executable, "-m", "ruff", "check", "."),
    (sys.executable, "-m", "mypy"),
    (str(Path(sys.executable).with_name("lint-imports")),),
    (sys.executable, "-m", "pytest", *IN_PARALLEL, *sys.argv[1:]),
)


def main() -> int:
    """The exit code of the first check that fails, 0 where none does."""
    for check in CHECKS:
        if code := run(*check):
            return code
    return check_edge_alone()


def check_edge_alone() -> int:
    """`pip install .` gives the edge without torch; it works with OpenCV 4."""
    with tempfile.TemporaryDirectory() as scratch:
        venv.create(scratch, with_pip=True)
        python = str(Path(scratch) / "bin" / "python")
        extra = ("pytest", "pytest-xdist", "onnx", "opencv-python<5")  # the tests write small models with onnx
        return run(python, "-m", "pip", "install", "--quiet", ".", *extra) or run(
            python, "-m", "pytest", "tests/edge", "--quiet", *IN_PARALLEL
        )


def run(*command: str) -> int:
    """Say what is run, run it in the root of the repository, return its exit code."""
    print(f"\n== {' '.join(command)}", flush=True)
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
