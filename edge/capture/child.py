"""The capture process: opens one camera or stream, keeps its newest picture, and hands it over when asked.

    python -m edge.capture.child MEMORY_FD PARENT_PID      standard input: the pipe to the parent

The address comes through the pipe, never in the arguments, which every user of the machine may read. Signals of the
terminal and SIGTERM are left to the parent. The process ends with its parent, however that ends: the pipe closes, and
on Linux the kernel kills it even if it hangs in a call.
"""

import ctypes
import mmap
import os
import signal
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from threading import Thread

import numpy as np

from edge.capture.messages import CaptureError, CaptureOptions, Failed, Handed, Opened, Taken, Target
from edge.capture.newest import Newest, Numbered
from edge.records import Image, SizeWH, size_of

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_LEFT_TO_THE_PARENT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP)
_LOOK_AFTER_THE_PARENT_S = 0.2


def main() -> None:
    """Serve the parent until it has gone."""
    memory_fd, parent_pid = int(sys.argv[1]), int(sys.argv[2])
    for number in _LEFT_TO_THE_PARENT:
        signal.signal(number, signal.SIG_IGN)
    die_with(parent_pid)
    connection = Connection(os.dup(0))
    try:
        target: Target = connection.recv()
        newest = Newest()
        Thread(target=capture, args=(target, newest), daemon=True).start()
        serve(connection, newest, memory_fd, target.options)
    except (EOFError, OSError):  # the parent has gone
        pass
    os._exit(0)  # whatever the camera's driver is busy with


def die_with(parent_pid: int) -> None:
    """Be killed when the thread that started us ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it went before we could ask for that
        os._exit(0)


def capture(target: Target, newest: Newest) -> None:
    """Read the camera for ever, or until it fails."""
    try:
        for news in read_camera(target):
            newest.put(news)
        newest.put(Failed("the stream ended"))
    except CaptureError as error:
        newest.put(error.failed)
    except Exception as error:  # its text is not shown: it may hold the address
        newest.put(Failed(f"the capture failed with {type(error).__name__}"))


def read_camera(target: Target) -> Iterator[Opened | Taken]:
    """That it is open, then pictures. Each kind imports the packages that it needs alone.

    Raises:
        CaptureError: it cannot be opened, or broke off.
    """
    match target.kind:
        case "stream":
            from edge.capture.stream import read_stream

            return read_stream(target.address, target.options)
        case "camera":
            from edge.capture.camera import read_camera_device

            return read_camera_device(int(target.address), target.options)
        case "gstreamer":
            from edge.capture.camera import read_pipeline

            return read_pipeline(target.address)
        case "picamera":
            from edge.capture.picamera import read_picamera

            return read_picamera(target.address, target.options)
        case "pattern":
            from edge.capture.pattern import read_pattern

            return read_pattern(target.address)


def serve(connection: Connection, newest: Newest, memory_fd: int, options: CaptureOptions) -> None:
    """One answer a question.

    Raises:
        EOFError, OSError: the parent has gone.
    """
    memory: mmap.mmap | None = None
    while True:
        connection.recv()
        news = None
        while news is None:
            news = newest.fetch(_LOOK_AFTER_THE_PARENT_S)
            if news is None and connection.poll(0):  # it never asks twice: this is the end of the pipe
                raise EOFError
        if not isinstance(news, Numbered):
            connection.send(news)
            continue
        try:
            image = turned(news.taken.image(), options)
        except CaptureError as error:
            connection.send(error.failed)
            continue
        if memory is None or len(memory) < image.nbytes:
            memory = grown(memory_fd, image.nbytes)
        np.copyto(np.frombuffer(memory, np.uint8, image.size).reshape(image.shape), image)
        connection.send(handed(news, size_of(image)))


def turned(image: Image, options: CaptureOptions) -> Image:
    """The picture turned clockwise, then flipped; a view."""
    if options.rotate:
        image = np.rot90(image, -options.rotate // 90)
    if options.flip in ("horizontal", "both"):
        image = image[:, ::-1]
    if options.flip in ("vertical", "both"):
        image = image[::-1]
    return image


def grown(memory_fd: int, nbytes: int) -> mmap.mmap:
    """The shared memory at a size that holds the picture. It never shrinks: the parent may still look at it."""
    if os.fstat(memory_fd).st_size < nbytes:
        os.ftruncate(memory_fd, nbytes)
    return mmap.mmap(memory_fd, nbytes)


def handed(numbered: Numbered, size_wh: SizeWH) -> Handed:
    """The answer that goes with a picture in the shared memory."""
    taken = numbered.taken
    return Handed(numbered.number, size_wh, taken.captured_s, taken.captured_at_s, taken.decode_ms, taken.corrupt)


if __name__ == "__main__":
    main()
