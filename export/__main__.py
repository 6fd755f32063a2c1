"""`kestrel-export`, also as `python -m export`."""

import signal
import sys
from types import FrameType

from edge.startup import run, run_app


def main() -> None:
    """Entry point of the command `kestrel-export`; never returns."""
    for number in (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else ())):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, _interrupt)
    sys.exit(run("kestrel-export", _command, extra="export"))


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  # the signature is Python's
    """As Ctrl-C does: drafts are removed on the way out, which a second signal does not cut short."""
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _command() -> int:
    from export.cli import app

    return run_app("kestrel-export", app)


if __name__ == "__main__":
    main()
