"""What only shows after a while: memory, threads and file descriptors of a live run, the age of its frames.

Short here; for as long as a camera would run with `python -m pytest -m soak tests/edge/test_soak.py`.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.recognizer import Recognizer, RecognizerSettings
from edge.records import Frame, FrameRecord, Record
from edge.sinks import ChartSink, JsonLinesSink, Sink
from edge.sources import open_source, signal
from edge.watch import Selection, Session, watch
from tests.edge.videos import make_video
from tests.models import write_spot_model

MOST_GROWTH_BYTES = 5_000_000
SHORT_AND_LONG = [200, pytest.param(100_000, marks=pytest.mark.soak)]


def memory_of(pid: int | str) -> int:
    """Resident bytes, without what is shared with other processes."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")


def children() -> list[int]:
    """The living processes that this one has started, whichever thread did."""
    found = []
    for file in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(pid) for pid in file.read_text().split()]
    return [pid for pid in found if lives(pid)]


def lives(pid: int) -> bool:
    """False for a dead one, too, that waits to be buried: where dying took over a second, the next start does that."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Meter(Sink):
    """Notes the memory of the program and of its capture process every so many frames."""

    def __init__(self, every: int) -> None:
        self.warnings: list[str] = []
        self.own: list[int] = []
        self.capture: list[int] = []
        self._every = every

    def write(self, record: Record, frame: Frame | None) -> None:
        if isinstance(record, FrameRecord) and record.seq % self._every == self._every - 1:
            self.own.append(memory_of("self"))
            self.capture.append(sum(memory_of(pid) for pid in children()))

    def skip(self, frame: Frame) -> None:
        pass

    def idle(self) -> None:
        pass

    def settle(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize("frames", SHORT_AND_LONG)
def test_memory_stays_flat(tmp_path, frames):
    recognizer = Recognizer(write_spot_model(tmp_path / "spots.onnx", modality="rgb"), RecognizerSettings(threads=1))
    meter = Meter(every=frames // 4)
    sinks = [JsonLinesSink(tmp_path / "records.jsonl"), ChartSink(tmp_path / "chart.png", 0.5), meter]
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(open_source("test:320x192@1000"))
        for sink in sinks:
            stack.enter_context(sink)
        summary = watch(source, Session(recognizer), sinks, Selection(limit=frames))
    assert summary.frames == frames
    for name in ("own", "capture"):
        warm, *later = getattr(meter, name)
        assert warm > 0
        assert max(later) - warm < MOST_GROWTH_BYTES, (name, [size // 1000 for size in (warm, *later)])


@pytest.fixture
def flapping(tmp_path: Path) -> Iterator[str]:
    """A server that sends a few frames to each client and hangs up."""
    make_video(tmp_path / "few.ts", 5)
    data = (tmp_path / "few.ts").read_bytes()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.sendall(data)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("reconnects", [4, pytest.param(200, marks=pytest.mark.soak)])
def test_reconnects_leave_no_thread_no_file_and_no_process(flapping, monkeypatch, reconnects):
    monkeypatch.setattr(signal, "BACKOFF_FIRST_S", 0.05)  # a camera that flaps for hours, in a minute
    lost, counts, others = True, [], set(children())  # which tests before this one in the same process have left
    with open_source(flapping, still_running=lambda: len(counts) <= reconnects) as source:
        for frame in source:
            if lost and frame.signal == "ok":
                counts.append((len(os.listdir("/proc/self/fd")), threading.active_count(), len({*children()} - others)))  # noqa: PTH208
            lost = frame.signal != "ok"
    assert len(counts) == reconnects + 1
    files = [files for files, _, _ in counts]
    assert max(files) - min(files) <= 1  # the server's end of a connection
    assert {threads for _, threads, _ in counts} == {counts[0][1]}
    assert max(processes for _, _, processes in counts) <= 2  # one of them on its way out
    deadline = time.monotonic() + 20  # a busy machine takes its time to bury the last one
    while {*children()} - others and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not {*children()} - others


@pytest.mark.soak
def test_a_slow_consumer_sees_young_frames_for_ever():
    ages_ms = []
    with open_source("test:1280x720@30") as source:
        for frame in source:
            assert frame.captured_s is not None
            ages_ms.append(1e3 * (time.monotonic() - frame.captured_s))
            time.sleep(0.2)
            if frame.seq == 300:
                break
    assert max(ages_ms) < 150
