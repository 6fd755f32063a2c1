"""`kestrel`, also as `python -m edge`."""

import sys

from edge.startup import hide_credentials_in_tracebacks, run, run_app


def main() -> None:
    """Entry point of the command `kestrel`; never returns."""
    hide_credentials_in_tracebacks()
    sys.exit(run("kestrel", _command))


def _command() -> int:
    from edge.cli import app

    return run_app("kestrel", app)


if __name__ == "__main__":
    main()
