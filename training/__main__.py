"""`kestrel-train`, also as `python -m training`."""

import sys

from edge.startup import run


def main() -> None:
    """Entry point of the command `kestrel-train`; never returns."""
    sys.exit(run("kestrel-train", _command, extra="train"))


def _command() -> None:
    from training.cli import app

    app(prog_name="kestrel-train")


if __name__ == "__main__":
    main()
