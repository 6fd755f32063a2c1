"""`kestrel-export`, also as `python -m export`."""

import sys

from edge.startup import run, run_app


def main() -> None:
    """Entry point of the command `kestrel-export`; never returns."""
    sys.exit(run("kestrel-export", _command, extra="export"))


def _command() -> int:
    from export.cli import app

    return run_app("kestrel-export", app)


if __name__ == "__main__":
    main()
