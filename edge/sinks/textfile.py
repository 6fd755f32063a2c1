"""One text file or standard output, written without a buffer of ours, with its failures said in our words."""

import contextlib
import io
import os
import select
import stat
import sys
import threading
import time
from pathlib import Path
from typing import BinaryIO, NoReturn

from edge.errors import KestrelError, OutputClosedError
from edge.sinks.sink import broken_off, unwritable
from edge.stdio import let_go

_TORN_MOST_BYTES = 1 << 20  # longer than any line of ours
_STDOUT_TURN = threading.Lock()  # a pipe takes long lines in pieces, between which those of another source may come
_RECORD = b'{"record"'  # how lines of ours begin in a file without a first line of its own


class TextOutput:
    """A file that is created at once, or standard output for None.

    What was put survives the end of this process at once, and with `fsync_s` the loss of power that many seconds later.
    """

    def __init__(
        self, path: Path | None, *, append: bool = False, fsync_s: float | None = None, first_line: str = ""
    ) -> None:
        """Create the file, and the folders above it. Appending, a line that was cut off at the end is removed first.

        Such a line is one of ours where it begins like a record, or, with a `first_line`, where the file begins so.

        Raises:
            InvalidValueError: the file cannot be created.
            ProcessingError: it cannot, since the disk is full or failing.
        """
        self._path = path or Path("standard output")
        self._fsync_s = fsync_s
        self._synced_at = time.monotonic()
        self._unsynced = False
        self._failure: KestrelError | None = None
        self._file: io.FileIO | None = None
        self._to_stdout = path is None
        try:
            if append and path is not None and path.is_file():
                _mend_end(path, first_line.encode("utf-8"))
            self._file = _stdout() if path is None else _create(path, append=append, durable=fsync_s is not None)
        except OSError as error:
            raise unwritable(self._path, error) from None
        if self._file is not None and not stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
            self._fsync_s = None  # pipes and devices have no disk

    @property
    def size_bytes(self) -> int:
        """How long the file is; 0 for what is no file."""
        return (
            0 if self._to_stdout or self._file is None or self._file.closed else os.fstat(self._file.fileno()).st_size
        )

    def put(self, text: str) -> None:
        """Write, and sync the disk where that is due.

        Raises:
            OutputClosedError: the reader of standard output went away.
            ProcessingError: the disk is full, or the file cannot be written for another reason.
        """
        if self._failure is not None:
            raise self._failure
        try:
            with _STDOUT_TURN if self._to_stdout else contextlib.nullcontext():
                self._write(text)
            self._unsynced = True
            self._sync_if_due()
        except BrokenPipeError:
            self._fail(OutputClosedError("the reader of the output went away"))
        except OSError as error:
            self._fail(broken_off(self._path, error))

    def idle(self) -> None:
        """Sync the disk where that is due.

        Raises:
            ProcessingError: the disk failed.
        """
        if self._failure is None:
            try:
                self._sync_if_due()
            except OSError as error:
                self._fail(broken_off(self._path, error))

    def close(self) -> None:
        """Close the file, on the disk if that was asked for; standard output stays open."""
        if self._file is None or self._to_stdout or self._file.closed:
            return
        try:
            if self._fsync_s is not None and self._unsynced:
                os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            raise broken_off(self._path, error) from None

    def _write(self, text: str) -> None:
        if self._file is None:  # a standard output that is no file of the system, as in a notebook
            sys.stdout.write(text)
            sys.stdout.flush()
            return
        rest = memoryview(text.encode("utf-8"))
        while rest:
            written = self._file.write(rest)
            if written is None:  # somebody made the pipe non-blocking
                select.select([], [self._file], [], 1.0)
            rest = rest[written or 0 :]

    def _sync_if_due(self) -> None:
        now = time.monotonic()
        if self._fsync_s is None or self._file is None or not self._unsynced or now - self._synced_at < self._fsync_s:
            return
        os.fsync(self._file.fileno())
        self._synced_at, self._unsynced = now, False

    def _fail(self, failure: KestrelError) -> NoReturn:
        """Let go of the output and say why."""
        self._failure = failure
        if self._to_stdout:
            let_go(sys.stdout)
        elif self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
        raise failure from None


def sync_file(path: Path) -> None:
    """Bring what is in the file, or the names in the folder, onto the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _stdout() -> io.FileIO | None:
    """Standard output past Python's own buffer, whose lock a stuck thread would hold at exit."""
    try:
        sys.stdout.flush()
        return io.FileIO(sys.stdout.fileno(), "w", closefd=False)
    except (io.UnsupportedOperation, ValueError):
        return None


def _create(path: Path, *, append: bool, durable: bool) -> io.FileIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = io.FileIO(path, "a" if append else "w")
    if durable:
        with contextlib.suppress(OSError):  # not every file system syncs folders
            sync_file(path.parent)
    return file


def _mend_end(path: Path, first_line: bytes) -> None:
    """A killed run or a full disk may have cut off the last line of ours: cut it away; end any other last line."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        start = file.seek(max(0, size - _TORN_MOST_BYTES))
        tail = file.read()
        torn = tail[tail.rfind(b"\n") + 1 :]
        if torn and _is_ours(file, torn, first_line):
            file.truncate(start + len(tail) - len(torn))
        elif torn:
            file.seek(0, os.SEEK_END)
            file.write(b"\n")


def _is_ours(file: BinaryIO, torn: bytes, first_line: bytes) -> bool:
    """Whether we began the line at the end, of which there may be no more than a letter, or of the file."""
    if not first_line:
        return torn.startswith(_RECORD) or _RECORD.startswith(torn)
    file.seek(0)
    return first_line.startswith(file.read(len(first_line)))
