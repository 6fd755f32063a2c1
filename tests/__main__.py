"""All checks in one go: `python -m tests`. Stops at the first that fails; words after it go to pytest."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
CHECKS = (
    ("-m", "ruff", "format", "--check", "."),
    ("-m", "ruff", "check", "."),
    ("-m", "mypy"),
    (str(Path(sys.executable).with_name("lint-imports")),),
    ("-m", "pytest"),
)


def main() -> int:
    """The exit code of the first check that fails, 0 where none does."""
    for check in CHECKS:
        python = [sys.executable] if check[0] == "-m" else []
        extra = sys.argv[1:] if "pytest" in check else []
        print(f"\n== {' '.join(check)}", flush=True)
        code = subprocess.run([*python, *check, *extra], cwd=ROOT, check=False).returncode
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
