"""The capture process itself: real processes, real streams over loopback."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.capture.messages import CaptureError, CaptureOptions, Failed, Opened, Taken, Target
from edge.capture.pattern import paint, paint_ground
from edge.capture.process import CapturedPicture, CaptureProcess
from edge.capture.stream import (
    read_stream,
)
from edge.records import SizeWH
from edge.sources import open_source
from tests.edge.videos import Recipe, make_video, number_of, numbered_image

OPTIONS = CaptureOptions()
PICTURE_BEGINS = b"\x41\x00"  # in the head of a packet of MPEG-TS, as FFmpeg numbers its streams
PATIENCE_S = 60.0  # on a machine that does other things meanwhile


def wait_until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s, "waited in vain"
        time.sleep(0.01)


def answer_of(capture: CaptureProcess) -> Opened | CapturedPicture | Failed:
    capture.ask()
    answer = capture.hear(PATIENCE_S)
    assert answer is not None
    return answer


def pictures(capture: CaptureProcess, count: int) -> list[CapturedPicture]:
    found: list[CapturedPicture] = []
    while len(found) < count:
        answer = answer_of(capture)
        assert not isinstance(answer, Failed), answer.reason
        if isinstance(answer, CapturedPicture):
            found.append(answer)
    return found


@contextlib.contextmanager
def capturing(kind, address, options=OPTIONS) -> Iterator[CaptureProcess]:
    capture = CaptureProcess(Target(kind, address, options))
    try:
        yield capture
    finally:
        capture.close()


def test_frames_arrive_whole_and_the_newest_first():
    size_wh = SizeWH(320, 240)
    ground = paint_ground(size_wh)
    with capturing("pattern", "320x240@200") as capture:
        assert answer_of(capture) == Opened(200.0)
        got = []
        for _ in range(5):
            got += pictures(capture, 1)
            time.sleep(0.1)  # a slow consumer
    numbers = [picture.handed.number for picture in got]
    assert sorted(set(numbers)) == numbers
    assert numbers[-1] - numbers[0] > 4
    for picture in got:  # number 1 is the pattern's frame 0
        assert np.array_equal(picture.image, paint(ground, size_wh, picture.handed.number - 1))


def test_pictures_are_turned_on_the_way():
    with capturing("pattern", "320x240@30", CaptureOptions(rotate=90)) as capture:
        [picture] = pictures(capture, 1)
    assert picture.image.shape == (320, 240, 3)
    assert picture.handed.size_wh == SizeWH(240, 320)


def test_the_capture_process_dies_with_its_pipe_and_leaves_no_trace():
    before = set(Path("/proc/self/fd").iterdir())
    capture = CaptureProcess(Target("pattern", "64x48", OPTIONS))
    pictures(capture, 1)
    pid = capture.pid
    capture.close()
    capture.close()
    assert not Path(f"/proc/{pid}").exists()
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_the_capture_process_leaves_the_signals_of_the_terminal_to_us():
    with capturing("pattern", "64x48@100") as capture:
        pictures(capture, 1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            os.kill(capture.pid, number)
        assert pictures(capture, 3)
        assert os.getsid(capture.pid) != os.getsid(0)


def test_the_capture_process_dies_with_a_parent_that_is_killed():
    script = (
        "import time\n"
        "from edge.capture.messages import CaptureOptions, Target\n"
        "from edge.capture.process import CaptureProcess\n"
        "capture = CaptureProcess(Target('pattern', '64x48', CaptureOptions()))\n"
        "capture.ask()\n"
        "assert capture.hear(60) is not None\n"
        "print(capture.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    root = str(Path(__file__).resolve().parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": root}
    ) as parent:
        pid = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
    wait_until(lambda: not is_running(pid))


def is_running(pid: int) -> bool:
    """Not merely a name that nobody has collected."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_the_address_is_in_no_argument_and_no_environment():
    with capturing("stream", "rtsp://admin:s3cr3t-w0rd@127.0.0.1:9/live") as capture:
        answer = answer_of(capture)
        for file in ("cmdline", "environ"):
            assert b"s3cr3t" not in Path(f"/proc/{capture.pid}/{file}").read_bytes()
    assert answer == Failed("Connection refused")


@pytest.mark.parametrize(
    ("kind", "address", "reason"),
    [
        ("camera", "987", "there is no such camera, or it is in use"),
        ("stream", "rtsp://127.0.0.1:9/live", "Connection refused"),
        ("stream", "http://127.0.0.1:9/live", "Connection refused"),
    ],
)
def test_a_source_that_is_down_is_a_failure_with_its_reason(kind, address, reason):
    with capturing(kind, address) as capture:
        assert answer_of(capture) == Failed(reason)


def test_a_protocol_that_this_ffmpeg_lacks_is_hopeless():
    with capturing("stream", "gopher3://127.0.0.1:9/") as capture:
        answer = answer_of(capture)
    assert isinstance(answer, Failed)
    assert answer.hopeless
    assert answer.reason.startswith("the FFmpeg in PyAV has no gopher3")


def test_a_server_that_never_answers_is_timed_out():
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"rtsp://127.0.0.1:{server.getsockname()[1]}/live"
        with capturing("stream", url, CaptureOptions(open_timeout_s=0.3)) as capture:
            assert answer_of(capture) == Failed("it timed out")


def test_a_capture_process_that_hangs_is_killed_in_any_state():
    capture = CaptureProcess(Target("pattern", "64x48@100", OPTIONS))
    pictures(capture, 1)
    os.kill(capture.pid, signal.SIGSTOP)
    capture.ask()
    assert capture.hear(0.05) is None or isinstance(capture.hear(0.05), CapturedPicture | None)
    pid = capture.pid
    capture.close()
    assert not is_running(pid)


def test_a_capture_process_that_dies_is_a_failure():
    with capturing("pattern", "64x48@100") as capture:
        pictures(capture, 1)
        os.kill(capture.pid, signal.SIGKILL)
        wait_until(lambda: answer_of(capture) == Failed("the capture process ended"))


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[str]:
    """One short MPEG-TS stream."""
    make_video(tmp_path / "stream.ts", 60)
    with serving((tmp_path / "stream.ts").read_bytes()) as url:
        yield url


@contextlib.contextmanager
def serving(data: bytes) -> Iterator[str]:
    """A real server that sends `data` over TCP to each client, one after another, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:  # the test is over
                    return
                with connection, contextlib.suppress(OSError):
                    connection.sendall(data)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(4096):  # or its request would reset the connection
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_stream_that_breaks_off_is_opened_again_and_its_frames_come_in_order(stream):
    frames = []
    source = open_source(stream, still_running=lambda: len(seen(frames)) < 12)
    with source:
        for frame in source:
            if not frames and frame.signal != "ok":
                continue  # a busy machine opens it late
            frames.append(frame)
            if [f.signal for f in frames[-2:]] == ["no_signal", "ok"]:
                break
    kinds = [frame.signal for frame in frames]
    assert kinds[0] == kinds[-1] == "ok"
    assert [frame.seq - frames[0].seq for frame in frames] == list(range(len(frames)))
    first = seen(frames[: kinds.index("no_signal")])
    assert first == sorted(set(first))
    assert first[-1] == 59  # the newest frame is handed over even if the stream has ended meanwhile
    assert frames[kinds.index("no_signal")].reason == "the stream ended"
    assert source.info.size_wh == SizeWH(128, 64)
    assert source.info.fps == pytest.approx(30.0)
    assert all(frame.captured_at and frame.captured_at.endswith("+00:00") for frame in frames)


@pytest.mark.parametrize("damage", ["lost", "garbage"])
def test_no_damaged_picture_passes_for_a_whole_one(tmp_path, damage):
    make_video(tmp_path / "stream.ts", 90, Recipe(options={"g": "15", "bf": "0"}))
    data = (tmp_path / "stream.ts").read_bytes()
    with serving(data) as url:
        whole = {number_of(image): image for image, _ in read_all(url)}
    assert set(whole) == set(range(90))
    packets = [data[at : at + 188] for at in range(0, len(data), 188)]
    middle = [index for index, packet in enumerate(packets) if packet[1:3] == PICTURE_BEGINS][50]
    if damage == "lost":
        del packets[middle]
    else:
        packets[middle : middle + 3] = [np.random.default_rng(5).bytes(188) for _ in range(3)]
    with serving(b"".join(packets)) as url:
        pictures = read_all(url)
    trusted = [image for image, corrupt in pictures if not corrupt]
    assert any(corrupt for _, corrupt in pictures)
    assert len(trusted) >= 60  # at most two groups of pictures are lost
    for image in trusted:
        assert np.array_equal(image, whole[number_of(image)])


def mjpeg(jpegs: list[bytes]) -> bytes:
    """What a camera answers that sends JPEG after JPEG over HTTP."""
    parts = [b"--edge\r\nContent-Type: image/jpeg\r\n\r\n" + jpeg + b"\r\n" for jpeg in jpegs]
    head = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=edge\r\n\r\n"
    return head + b"".join(parts) + b"--edge--\r\n"


@pytest.mark.parametrize("multipart", [True, False])
def test_no_rate_is_made_up_for_pictures_without_time_stamps(multipart):
    jpegs = [cv2.imencode(".jpg", numbered_image(number))[1].tobytes() for number in range(30)]
    with serving(mjpeg(jpegs) if multipart else b"".join(jpegs)) as url:
        opened = next(read_stream(url.replace("tcp://", "http://") if multipart else url, OPTIONS))
    assert opened == Opened(None)


def test_half_a_jpeg_is_corrupt_and_the_pictures_after_it_are_soon_trusted_again():
    jpegs = [cv2.imencode(".jpg", numbered_image(number))[1].tobytes() for number in range(30)]
    jpegs[10] = jpegs[10][: len(jpegs[10]) // 2]
    with serving(mjpeg(jpegs)) as url:
        pictures = read_all(url.replace("tcp://", "http://"))
    trusted = {number_of(image) for image, corrupt in pictures if not corrupt}
    assert not trusted & {10, 11, 12}
    assert trusted >= {7, 8, 9, *range(13, 24)}


def read_all(url: str) -> list[tuple[np.ndarray, bool]]:
    """Every picture of a stream, and whether it is marked as corrupt."""
    pictures = []
    with contextlib.suppress(CaptureError):  # how it says that the server hung up
        for news in read_stream(url, OPTIONS):
            if isinstance(news, Taken):
                pictures.append((news.image(), news.corrupt))
    return pictures


def seen(frames) -> list[int]:
    return [number_of(frame.image) for frame in frames if frame.image is not None]


def test_a_source_ends_when_it_is_asked_to():
    frames = []
    with open_source("test:64x48@50", still_running=lambda: len(frames) < 3) as source:
        for frame in source:
            frames.append(frame)
    assert [frame.signal for frame in frames] == ["ok"] * 3
