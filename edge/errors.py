"""The tree of errors that a user meets, and the exit code that each stands for.

KestrelError
├── UnusableInputError       what was asked for cannot be used (exit 2)
│   ├── InvalidValueError    an option or a field breaks its rule
│   ├── SourceError          a source that cannot be opened
│   └── ModelError           a model file that is no Kestrel model, or contradicts itself
├── ProcessingError          failed on the way (exit 1); what was written before stays readable
│   └── BrokenStreamError    a source that failed after it had been opened; not its end
└── OutputClosedError        the reader of our output went away, as `| head` does (exit 0, nothing is printed)
"""

import errno
from typing import ClassVar

OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)  # it is full, or failing: that may pass


class KestrelError(Exception):
    """Base of every error that ends as one line on the terminal instead of a traceback."""

    exit_code: ClassVar[int] = 1


class UnusableInputError(KestrelError):
    """What was asked for cannot be used; nothing was written."""

    exit_code: ClassVar[int] = 2


class InvalidValueError(UnusableInputError):
    """`<name> must be <rule>, got <value!r>; <what to do>`."""

    def __init__(self, name: str, rule: str, value: object, advice: str = "") -> None:
        super().__init__(f"{name} must be {rule}, got {value!r}" + (f"; {advice}" if advice else ""))


class SourceError(UnusableInputError):
    """The source cannot be opened: missing, empty, unreadable, or not what it claims to be."""


class ModelError(UnusableInputError):
    """The file is not a model of ours, or its metadata contradict its graph."""


class ProcessingError(KestrelError):
    """Something failed on the way."""


class BrokenStreamError(ProcessingError):
    """The source failed after it had been opened. The end of a source is not an error."""


class OutputClosedError(KestrelError):
    """Whoever read standard output wants no more of it: the program ends quietly, and that is no failure."""

    exit_code: ClassVar[int] = 0
