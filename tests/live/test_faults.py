"""What fails in the field, each against a real server: the loop lives, the state is right, nothing is made up."""

import json
import os
import random
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.live.watching import ROOT, Line, Watching
from tests.models import write_spot_model
from tests.servers import ffmpeg, rtsp
from tests.servers.ffmpeg import StreamServer, free_port, hls_server, rtmp_server, udp_sender
from tests.servers.rtsp import Login, RtspServer
from tests.servers.scene import PERSON, Scene

needs_ffmpeg = pytest.mark.skipif(bool(ffmpeg.why_not()), reason=ffmpeg.why_not())
needs_rtsp = pytest.mark.skipif(bool(rtsp.why_not()), reason=rtsp.why_not())


@pytest.fixture
def kestrel(tmp_path):
    """Starts `kestrel watch` on some sources."""
    model = write_spot_model(tmp_path / "spots.onnx")

    def start(*arguments: str, **environment: str) -> Watching:
        return Watching(*arguments, model=model, out=tmp_path / "out", **environment)

    return start


def events(lines: list[Line]) -> list[str]:
    return [line["event"] for line in lines if line["record"] == "event"]


def verdicts(lines: list[Line]) -> set[str]:
    return {line["verdict"] for line in lines if line["record"] == "frame"}


@needs_rtsp
@needs_ffmpeg
def test_other_protocols_side_by_side(kestrel, tmp_path):
    port = free_port()
    segments = tmp_path / "segments"
    segments.mkdir()
    with (
        RtspServer(Scene()) as server,
        rtmp_server(Scene(), port),
        hls_server(Scene(), segments) as playlist,
        kestrel(server.url, playlist, f"rtmp://127.0.0.1:{port}/live", "--rtsp-transport", "udp") as run,
    ):
        seen: set[str] = set()
        while len(seen) < 3:
            seen.add(
                run.wait_for("another source", lambda line: line.get("signal") == "ok" and line["source"] not in seen)[
                    "source"
                ]
            )
        run.finish()
    assert {name.partition(":")[0] for name in seen} == {"rtsp", "http", "rtmp"}


@needs_rtsp
def test_a_killed_server_is_an_outage_that_its_restart_ends(kestrel):
    with RtspServer(Scene()) as server, kestrel(server.url) as run:
        run.wait_for_frame("ok", "clear")
        server.kill()
        lost = run.wait_for_event("signal_lost")
        run.wait_for_frame("no_signal")
        again = run.wait_for_frame("no_signal")
        with RtspServer(Scene(PERSON), server.port):
            back = run.wait_for_event("signal_back")
            run.wait_for_event("appeared")
            lines = run.finish()
    assert events(lines)[:2] == ["signal_lost", "signal_back"]
    outage = lines[lines.index(lost) : lines.index(back)]
    assert again in outage
    assert {line["signal"] for line in outage if line["record"] == "frame"} <= {"no_signal", "ok"}
    assert verdicts(outage[:-1]) == {"unknown"}


@needs_rtsp
def test_a_frozen_link_has_no_signal_until_it_thaws(kestrel):
    with RtspServer(Scene()) as server, kestrel(server.url) as run:
        run.wait_for_frame("ok", "clear")
        server.freeze()
        first = run.wait_for_frame("no_signal")
        third = [run.wait_for_frame("no_signal") for _ in range(2)][-1]
        server.thaw()
        run.wait_for_frame("ok", "clear")
        lines = run.finish()
    assert 1.5 < third["time_s"] - first["time_s"] < 30.0  # one a second, more slowly on a busy machine
    assert verdicts(lines[lines.index(first) : lines.index(third)]) == {"unknown"}


@needs_ffmpeg
def test_half_a_frame_is_no_frame(kestrel):
    with StreamServer(Scene(), "http") as server, kestrel(server.url) as run:
        run.wait_for_frame("ok", "clear")
        halves = [True]

        def cut(piece: bytes) -> bytes:
            return piece[: len(piece) // 2] if halves and halves.pop() else b""

        server.mangle = cut
        run.wait_for_event("signal_lost")
        server.mangle = bytes
        run.wait_for_event("signal_back")
        run.wait_for_frame("ok", "clear")
        lines = run.finish()
    assert verdicts(lines) == {"clear", "unknown"}


@needs_ffmpeg
@pytest.mark.parametrize("kind", ["tcp", "http"])
def test_garbage_in_the_stream_is_lived_through(kestrel, kind):
    dice = random.Random(1)
    spoilt: list[int] = []

    def spoil(piece: bytes) -> bytes:
        spoilt.append(len(piece))
        middle = len(piece) // 2
        return piece[:middle] + dice.randbytes(dice.randint(1, 2000)) + piece[middle + dice.randint(0, 300) :]

    with StreamServer(Scene(), kind) as server, kestrel(server.url) as run:
        run.wait_for_frame("ok", "clear")
        server.mangle = spoil
        while len(spoilt) < 10:
            run.pass_by()
            run.wait_for("any record", lambda line: line["record"] == "frame")
        server.mangle = bytes
        run.pass_by()
        run.wait_for_frame("ok", "clear")
        run.finish()


@needs_ffmpeg
def test_nothing_but_garbage_is_no_signal(kestrel):
    with StreamServer(Scene(), "tcp") as server:
        server.mangle = lambda piece: random.Random(2).randbytes(len(piece))
        with kestrel(server.url) as run:
            assert run.wait_for("the header", lambda line: line["record"] == "header")["size_wh"] is None
            run.wait_for_frame("no_signal")
            run.wait_for_frame("no_signal")
            server.stop()
            server.mangle = bytes
            server.start()
            run.wait_for_frame("ok", "clear")
            run.finish()


@needs_ffmpeg
def test_a_sender_that_dies_and_comes_back_larger_over_udp(kestrel):
    port = free_port(socket.SOCK_DGRAM)
    with kestrel(f"udp://127.0.0.1:{port}") as run:
        with udp_sender(Scene(), port), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            run.wait_for_frame("ok", "clear")
            for size in (1, 188, 1316, 9000) * 20:
                stranger.sendto(os.urandom(size), ("127.0.0.1", port))
            run.pass_by()
            run.wait_for_frame("ok", "clear")
        run.wait_for_event("signal_lost")
        with udp_sender(Scene(width=640, height=384), port):
            assert "640x384" in run.wait_for_event("signal_back")["detail"]
            run.wait_for_frame("ok", "clear")
            run.finish()


@needs_ffmpeg
def test_a_size_that_changes_within_the_stream_is_followed(kestrel):
    with StreamServer(Scene(), "http") as server, kestrel(server.url) as run:
        run.wait_for_frame("ok", "clear")
        server.scene = Scene(PERSON, width=160, height=288)
        seen = run.wait_for_frame("ok", "pedestrian")
        server.scene = Scene()
        run.wait_for_frame("ok", "clear")
        lines = run.finish()
    assert all(line["pedestrians"][0]["box_xyxy"][2] <= 160 for line in lines if line.get("pedestrians"))
    assert all(70 < (box["box_xyxy"][1] + box["box_xyxy"][3]) / 2 < 106 for box in seen["pedestrians"])


MOVED_CLOCK = """
import datetime, os, time

def offset_s(real=time.time):
    with open(os.environ["CLOCK_OFFSET"]) as file:
        return float(file.read() or 0)

def moved(real=time.time):
    return real() + offset_s()

class Moved(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(moved(), tz)

time.time, datetime.datetime = moved, Moved
"""


def test_a_clock_that_jumps_changes_nothing_but_the_stamps(kestrel, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(MOVED_CLOCK)  # loaded by every Python below the first
    clock = tmp_path / "clock"
    clock.write_text("0")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    with kestrel("test:320x192@10", "--stall-after", "20", PYTHONPATH=path, CLOCK_OFFSET=str(clock)) as run:
        run.wait_for_frame("ok")
        for year in ("2011", "2091"):
            clock.write_text(str(time.mktime((int(year), 6, 1, 0, 0, 0, 0, 0, 0)) - time.time()))
            run.wait_for(f"a record of {year}", lambda line, year=year: line.get("captured_at", "").startswith(year))
            run.wait_for_frame("ok")
        lines = run.finish()
    frames = [line for line in lines if line["record"] == "frame"]
    assert not {"signal_lost", "signal_back"} & set(events(lines))
    assert [frame["time_s"] for frame in frames] == sorted(frame["time_s"] for frame in frames)
    assert all(0 <= frame["age_ms"] < 60_000 for frame in frames)


@needs_rtsp
def test_a_wrong_password_is_no_signal_and_no_password_is_shown(kestrel, tmp_path):
    password, wrong = "p@ss:w/rd%40 secret", "wr@ng:/%20secret"
    with RtspServer(Scene(), login=Login("gu@rd", password, digest=True)) as server:
        url = server.url.replace("//", "//${CAM_USER}:${CAM_PASS}@")
        misled = server.url.replace("//127.0.0.1", "//${CAM_USER}:${WRONG}@localhost")
        page = f"127.0.0.1:{free_port()}"
        with kestrel(url, misled, "--http", page, CAM_USER="gu@rd", CAM_PASS=password, WRONG=wrong) as run:
            run.wait_for("a refusal", lambda line: line["record"] == "frame" and of_misled(line) and is_lost(line))
            run.wait_for(
                "a picture", lambda line: line["record"] == "frame" and not of_misled(line) and not is_lost(line)
            )
            titles = b"".join(path.read_bytes() for path in command_lines(run.pid))
            assert 1 <= titles.count(b"edge.capture.child") <= 2  # the refused one may be waiting for its next try
            pages = b"".join(fetch(f"http://{page}{path}") for path in ("/", "/metrics", "/healthz"))
            lines = run.finish()
    assert not any(of_misled(line) and line.get("signal") == "ok" for line in lines)
    assert "nauthorized" in run.stderr or "no picture for" in run.stderr  # where the refusal took its time
    written = b"".join(file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file())
    assert b"kestrel_" in pages
    said = written + titles + pages + json.dumps(lines).encode() + run.stderr.encode()
    assert b"rtsp://***@127.0.0.1" in said
    for secret in ("gu@rd", "gu%40rd", "p@ss", "p%40ss", "wr@ng", "wr%40ng", "secret"):
        assert secret.encode() not in said


def fetch(url: str) -> bytes:
    """The page, whatever its status."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.read()


def of_misled(line: Line) -> bool:
    return "@localhost" in line["source"]


def is_lost(line: Line) -> bool:
    return line["signal"] == "no_signal"


def command_lines(pid: int) -> Iterator[Path]:
    """Of the process and all below it, as every user of the machine can read them."""
    yield Path(f"/proc/{pid}/cmdline")
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):  # it has ended meanwhile
            if f"\nPPid:\t{pid}\n" in status.read_text():
                yield from command_lines(int(status.parent.name))


@needs_ffmpeg
def test_a_source_that_is_down_at_start_is_waited_for(kestrel):
    with StreamServer(Scene(), "tcp") as server:
        server.stop()
        with kestrel(server.url) as run:
            header = run.wait_for("the header", lambda line: line["record"] == "header")
            assert (header["size_wh"], header["fps"]) == (None, None)
            run.wait_for_frame("no_signal")
            run.wait_for_frame("no_signal")
            server.start()
            run.wait_for_event("signal_back")
            run.wait_for_frame("ok", "clear")
            run.finish()


def test_signals_over_and_over_during_an_outage_end_it_well(kestrel, tmp_path):
    with kestrel(f"tcp://127.0.0.1:{free_port()}") as run:
        run.wait_for_frame("no_signal")
        run.finish(*[signal.SIGTERM, signal.SIGINT] * 5)
    assert json.loads((tmp_path / "out/summary.json").read_text())["exit_reason"] == "interrupted"


def test_a_kill_loses_a_second_at_most_and_the_next_start_goes_on(kestrel, tmp_path):
    table, page = tmp_path / "all.csv", f"127.0.0.1:{free_port()}"
    arguments = ["test:320x192@10", "--csv", str(table), "--http", page, "--clips", str(tmp_path / "clips")]
    with kestrel(*arguments) as run:
        last = [run.wait_for_frame("ok") for _ in range(15)][-1]
        os.kill(run.pid, signal.SIGKILL)
        run.process.wait(60)
    kept = [line.split(",")[0] for line in table.read_text().splitlines()[1:]]
    assert last["seq"] - int(kept[-1]) <= 10
    with kestrel(*arguments) as run:
        run.wait_for_frame("ok")
        assert fetch(f"http://{page}/healthz")
        run.finish()
    assert [line.split(",")[0] for line in table.read_text().splitlines()[1:]][: len(kept)] == kept


@contextmanager
def supervisor(path: Path) -> Iterator[list[str]]:
    """The end of systemd: every line that it is told, as it comes."""
    heard: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(path))

        def listen() -> None:
            while message := end.recv(4096):
                heard.extend(message.decode().split("\n"))

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield heard
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as us:
            us.sendto(b"", str(path))
        thread.join(10)


def test_systemd_hears_of_start_readiness_life_without_signal_and_end(kestrel, tmp_path):
    place = tmp_path / "notify"
    with supervisor(place) as heard:
        with kestrel(f"tcp://127.0.0.1:{free_port()}", NOTIFY_SOCKET=str(place), WATCHDOG_USEC="1000000") as run:
            run.wait_for_frame("no_signal")
            run.wait_for_frame("no_signal")
            run.wait_for_frame("no_signal")
            run.finish()
        ends = time.monotonic() + 10
        while "STOPPING=1" not in heard and time.monotonic() < ends:
            time.sleep(0.05)
    assert heard[0].startswith("STATUS=starting: loading the model")
    assert heard.index("READY=1") < heard.index("STOPPING=1")
    alive = heard[heard.index("READY=1") : heard.index("STOPPING=1")]
    assert alive.count("WATCHDOG=1") >= 2
    assert any("signal no signal, verdict unknown" in line for line in alive)
