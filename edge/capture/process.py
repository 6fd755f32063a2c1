"""The parent's end of a capture process: start it, ask it, and get rid of it, whatever state it is in."""

import contextlib
import mmap
import os
import subprocess
import tempfile
from dataclasses import dataclass
from multiprocessing import Pipe

import numpy as np

from edge import own_process
from edge.capture.messages import Failed, Handed, Opened, Target, Wanted
from edge.records import Image

_BURIAL_S = 1.0  # how long a killed process may take to vanish before it is left behind


@dataclass(frozen=True, slots=True)
class CapturedPicture:
    """A picture as it was handed over; `image` (H, W, 3) uint8 BGR is the caller's own."""

    image: Image
    handed: Handed


class CaptureProcess:
    """One capture process, from its start to its end; a broken one is closed and a new one made.

    Raises:
        OSError: this machine has no process, memory or file descriptor to spare.
    """

    def __init__(self, target: Target) -> None:
        with contextlib.ExitStack() as undo:
            self._memory_fd = _shared_memory()
            undo.callback(os.close, self._memory_fd)
            self._pipe, theirs = Pipe()
            undo.callback(self._pipe.close)
            with theirs:
                self._process = subprocess.Popen(
                    own_process.command("edge.capture.child", str(self._memory_fd), str(os.getpid())),
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=(self._memory_fd,),
                    start_new_session=True,  # the terminal's signals are for us alone
                    env=own_process.environment(),
                )
            undo.pop_all()
        self._memory: mmap.mmap | None = None
        self._asked = False
        with contextlib.suppress(OSError):  # it died at once: the first answer will say so
            self._pipe.send(target)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def ask(self) -> bool:
        """Ask for what is new, unless an answer is still due; True where the question is a new one."""
        if self._asked:
            return False
        with contextlib.suppress(OSError):
            self._pipe.send(Wanted())
        self._asked = True
        return True

    def hear(self, timeout_s: float) -> Opened | CapturedPicture | Failed | None:
        """The answer; None where there is none yet."""
        try:
            if not self._pipe.poll(timeout_s):
                return None
            answer: Opened | Handed | Failed = self._pipe.recv()
            self._asked = False
            return CapturedPicture(self._copy(answer), answer) if isinstance(answer, Handed) else answer
        except (EOFError, OSError):
            return Failed("the capture process ended")

    def close(self) -> None:
        """Kill it. A second call does nothing."""
        if self._pipe.closed:
            return
        self._pipe.close()
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # a driver may hold it back: then it is left behind
            self._process.wait(_BURIAL_S)
        if self._memory is not None:
            self._memory.close()
        os.close(self._memory_fd)

    def _copy(self, handed: Handed) -> Image:
        shape = (handed.size_wh.height, handed.size_wh.width, 3)
        nbytes = int(np.prod(shape))
        if self._memory is None or len(self._memory) < nbytes:
            if self._memory is not None:
                self._memory.close()
            self._memory = mmap.mmap(self._memory_fd, nbytes, access=mmap.ACCESS_READ)
        return np.frombuffer(self._memory, np.uint8, nbytes).reshape(shape).copy()


def _shared_memory() -> int:
    """A nameless file that lives as long as somebody holds it, in memory on Linux."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("kestrel-frames")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
