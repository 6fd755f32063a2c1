"""A server process that can be killed, frozen, and never outlives its test."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from types import TracebackType
from typing import IO, Self

LONGEST_S = 300


class ServerProcess:
    """One process in a group of its own; use it as a context manager."""

    def __init__(
        self, command: Sequence[str], *, stdout: int | IO[bytes] | None = subprocess.PIPE, say: str = ""
    ) -> None:
        """Start it, and write `say` to its standard input, which is then closed."""
        self.process = subprocess.Popen(
            ["timeout", "--kill-after=1", str(LONGEST_S), *command],
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(say.encode())
            self.process.stdin.close()

    def freeze(self) -> None:
        """Stop it as it is: its connections stay open and nothing comes."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, frozen or not; a second call does nothing."""
        self._signal(signal.SIGKILL)
        self.process.wait(10)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self.process.returncode is None:
                os.killpg(self.process.pid, number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
