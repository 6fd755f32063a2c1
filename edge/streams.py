"""Standard output and error, which somebody reads, or nobody any more."""

import contextlib
import os
from typing import TextIO


def let_go(stream: TextIO) -> None:
    """Of a stream that nobody reads: what Python still holds for it goes nowhere, or it would complain at exit."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
