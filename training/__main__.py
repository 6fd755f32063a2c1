"""`kestrel-train`, also as `python -m training`."""

import sys

from edge.startup import run, run_app


def main() -> None:
    """Entry point of the command `kestrel-train`; never returns."""
    sys.exit(run("kestrel-train", _command, extra="train"))


def _command() -> int:
    from training.cli import app

    return run_app("kestrel-train", app)


if __name__ == "__main__":
    main()
