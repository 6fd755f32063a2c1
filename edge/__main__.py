"""`kestrel`, also as `python -m edge`."""

import sys

from edge.startup import run


def main() -> None:
    """Entry point of the command `kestrel`; never returns."""
    sys.exit(run("kestrel", _command))


def _command() -> None:
    from edge.cli import app

    app(prog_name="kestrel")


if __name__ == "__main__":
    main()
