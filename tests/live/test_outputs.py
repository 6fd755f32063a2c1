"""Every output at once, and what happens to the rest where one of them fails: `kestrel watch` as a user runs it."""

import contextlib
import fcntl
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import pytest

import edge
from tests.models import write_spot_model
from tests.servers import mqtt
from tests.servers.ffmpeg import free_port
from tests.servers.mqtt import Listener, running_broker, wait_until

ROOT = Path(edge.__file__).parents[1]
SOURCE = "test:320x192@10"


class Run:
    """`kestrel watch` with a page; use it as a context manager."""

    def __init__(self, folder: Path, *arguments: str, stdout: int = subprocess.DEVNULL) -> None:
        self.port = free_port()
        model = write_spot_model(folder / "spots.onnx")
        command = [sys.executable, "-m", "edge", "watch", *arguments, "--model", str(model), "--threads", "1"]
        self.process = subprocess.Popen(
            [*command, "--http", str(self.port)],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.errors = ""

    def state(self) -> dict[str, Any]:
        """What the page shows of the only source; empty while there is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.suppress(OSError), contextlib.closing(connection):
            connection.request("GET", "/state.json")
            sources = json.loads(connection.getresponse().read())["sources"]
            return dict(sources[0]) if sources else {}
        return {}

    def wait_for(self, fits: Callable[[dict[str, Any]], bool], within_s: float = 90.0) -> dict[str, Any]:
        """The first state that fits."""
        ends = time.monotonic() + within_s
        while not ((state := self.state()) and fits(state)):
            assert self.process.poll() is None, self.errors_now()
            assert time.monotonic() < ends, state
            time.sleep(0.1)
        return state

    def wait_for_frames(self, more: int) -> None:
        """The loop lives: so many frames more."""
        now = self.wait_for(lambda state: state["frames"] > 0)["frames"]
        self.wait_for(lambda state: state["frames"] >= now + more)

    def finish(self) -> str:
        """SIGTERM, an exit with 0, and what was said to people."""
        self.process.terminate()
        self.process.wait(60)
        assert self.process.returncode == 0, self.errors_now()
        return self.errors_now()

    def errors_now(self) -> str:
        assert self.process.stderr is not None
        self.errors += self.process.stderr.read()
        return self.errors

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(20)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


def outputs_of(state: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {output["name"]: output for output in state["outputs"]}


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.skipif(bool(mqtt.why_not()), reason=mqtt.why_not())
def test_every_output_at_once_from_the_first_frame_to_the_goodbye(tmp_path: Path) -> None:
    with running_broker(tmp_path) as broker:
        listener = Listener(broker.port)
        options = ["--mqtt", f"127.0.0.1:{broker.port}", "--mqtt-id", "b1", "--csv", "all.csv", "--out", "out"]
        options += ["--clips", "clips", "--segment-s", "2", "--rotate-mb", "0.005", "--keep", "500"]
        with Run(tmp_path, SOURCE, *options) as run:
            listener.wait_for("kestrel/b1/available online")
            listener.wait_for("kestrel/b1/state", '"signal": "ok"')
            run.wait_for(lambda state: state["health"] == "ok")
            run.wait_for_frames(40)
            errors = run.finish()
            page, *said = [line for line in errors.splitlines() if "model has learnt" not in line]
            assert (page, said) == (f"page: http://127.0.0.1:{run.port}/", [])
        listener.wait_for("kestrel/b1/available offline")
        listener.close()
    out = tmp_path / "out"
    files = sorted(
        out.glob("records.jsonl*"), key=lambda path: -int(path.suffix[1:]) if path.suffix[1:].isdigit() else 1
    )
    assert len(files) > 1
    lines = [line for path in files for line in lines_of(path)]
    assert all(lines_of(path)[0]["record"] == "header" for path in files)
    wait_until((out / "timeline.png").exists, 60)  # drawn apart
    assert lines[-1]["exit_reason"] == json.loads((out / "summary.json").read_text())["exit_reason"] == "interrupted"
    seqs = [line["seq"] for line in lines if line["record"] == "frame"]
    assert seqs == list(range(len(seqs)))
    assert len((tmp_path / "all.csv").read_text().splitlines()) > len(seqs) / 2
    segments = sorted(out.glob("annotated-*.mp4"))
    assert len(segments) > 1
    assert sum(frames_of(path) for path in segments) == len(seqs)
    appeared = [line for line in lines if line["record"] == "event" and line["event"] == "appeared"]
    assert bool(list((tmp_path / "clips").glob("out-*.mp4"))) == bool(appeared)


def frames_of(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_a_reader_of_standard_output_that_stops_reading_stalls_nobody(tmp_path: Path) -> None:
    options = ["--jsonl", "-", "--no-video", "--out", "out"]
    with Run(tmp_path, "test:320x192@20", *options, stdout=subprocess.PIPE) as run:
        assert run.process.stdout is not None
        fcntl.fcntl(run.process.stdout, fcntl.F_SETPIPE_SZ, 4096)  # full after a dozen lines
        run.wait_for_frames(60)
        errors = run.finish()  # within its time, although nobody takes the rest
        assert "records did not finish in time" in errors
        assert json.loads((tmp_path / "out" / "summary.json").read_text())["frames"] > 60


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with a megabyte of room."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no small disk can be mounted here: it takes root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_fails_its_files_alone_and_they_go_on_once_there_is_room(tmp_path: Path, small_disk: Path) -> None:
    options = ["--no-video", "--out", str(small_disk / "out"), "--csv", str(tmp_path / "all.csv")]
    with Run(tmp_path, "test:320x192@20", *options) as run:
        run.wait_for_frames(5)
        filler = small_disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(b"x" * 4096)
                file.flush()
        run.wait_for(lambda state: outputs_of(state)["records"]["failing"])
        run.wait_for_frames(20)  # the loop lives
        assert not outputs_of(run.state())["csv"]["failing"]  # so do the others
        lines_before = whole_lines(small_disk / "out" / "records.jsonl")
        filler.unlink()
        run.wait_for(lambda state: not outputs_of(state)["records"]["failing"])
        run.wait_for_frames(5)
        errors = run.finish()
    assert "No space left on device" in errors
    assert "records works again" in errors
    lines = lines_of(small_disk / "out" / "records.jsonl")  # every line is whole
    assert lines[: len(lines_before)] == lines_before
    assert [line["record"] for line in lines].count("header") == 2
    assert lines[-1]["record"] == "summary"
    assert any("records are missing" in warning for warning in lines[-1]["warnings"])
    seqs = [int(row.split(",")[0]) for row in (tmp_path / "all.csv").read_text().splitlines()[1:]]
    assert sorted(set(seqs)) == list(range(len(set(seqs))))


def whole_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def test_health_is_told_while_the_model_loads_and_a_taken_port_before_it_does(tmp_path: Path) -> None:
    with Run(tmp_path, SOURCE, "--no-video", "--out", "out") as run:
        health: list[str] = []

        def answers() -> bool:
            connection = http.client.HTTPConnection("127.0.0.1", run.port, timeout=20)
            with contextlib.suppress(OSError), contextlib.closing(connection):
                connection.request("GET", "/healthz")
                health.append(connection.getresponse().read().decode())
            return bool(health)

        wait_until(answers, 60)
        assert health[0] in ("starting\n", "ok\n")
        command = [sys.executable, "-m", "edge", "watch", SOURCE, "--http", str(run.port), "--out", "other"]
        refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert refused.returncode == 2
        assert refused.stderr.startswith("kestrel: http must be a free address of this machine")
        run.wait_for_frames(1)
        run.finish()
