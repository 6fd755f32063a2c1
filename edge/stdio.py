"""Standard output and error, which somebody reads, or nobody any more."""

import contextlib
import os
import sys
from typing import TextIO


def stand_in() -> None:
    """Put nowhere in the place of standard streams that are closed, as some start a program that shall run for days.

    Else the next file that is opened takes the number of one, and what a library prints lands in it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest number that is free: this one
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def let_go(stream: TextIO) -> None:
    """Of a stream that nobody reads: what Python still holds for it goes nowhere, or it would complain at exit."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
