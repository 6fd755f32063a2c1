"""`kestrel watch` as a user runs it, in a process of its own, its records read as they come."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import edge

ROOT = Path(edge.__file__).parents[1]
PATIENCE_S = 90.0  # for a state that a quiet machine reaches in a few seconds

Line = dict[str, Any]


def dies_with_us() -> list[str]:
    """Makes a command that is killed with the tests; it keeps its number."""
    program = shutil.which("setpriv")
    return [program, "--pdeathsig", "KILL"] if program else []


class Watching:
    """One run; use it as a context manager. `lines` grows while it lives."""

    def __init__(self, *arguments: str, model: Path, out: Path, **environment: str) -> None:
        command = [*dies_with_us(), sys.executable, "-m", "edge", "watch", *arguments]
        command += ["--model", str(model), "--threads", "1", "--no-video", "--out", str(out), "--jsonl", "-"]
        self.process = subprocess.Popen(
            command,
            cwd=out.parent,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.lines: list[Line] = []
        self.stderr = ""
        self._seen = 0
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read_lines, self._read_errors)]
        for thread in self._threads:
            thread.start()

    def wait_for(self, what: str, fits: Callable[[Line], bool], within_s: float = PATIENCE_S) -> Line:
        """The next line that fits; those before it are passed by. `what` is for the message of a failure."""
        ends = time.monotonic() + within_s
        while time.monotonic() < ends:
            while self._seen < len(self.lines):
                self._seen += 1
                if fits(self.lines[self._seen - 1]):
                    return self.lines[self._seen - 1]
            if self.process.poll() is not None and self._seen == len(self.lines):
                break
            time.sleep(0.02)
        raise AssertionError(f"never came: {what}; exit {self.process.poll()}, stderr {self.stderr!r}\n{self._tail()}")

    def wait_for_frame(self, signal: str, verdict: str = "", within_s: float = PATIENCE_S) -> Line:
        """The next frame's record with this signal, and this verdict unless it is empty."""

        def fits(line: Line) -> bool:
            return line["record"] == "frame" and line["signal"] == signal and verdict in ("", line["verdict"])

        return self.wait_for(f"a frame with {signal} {verdict}", fits, within_s)

    def wait_for_event(self, event: str, within_s: float = PATIENCE_S) -> Line:
        """The next such event."""
        return self.wait_for(event, lambda line: line["record"] == "event" and line["event"] == event, within_s)

    def pass_by(self) -> None:
        """Go on with the line that comes next from now on."""
        self._seen = len(self.lines)

    @property
    def pid(self) -> int:
        return self.process.pid

    def finish(self, *signals: int) -> list[Line]:
        """Ask it to stop, by SIGTERM unless others are named; all lines, once it has ended well and told no lie."""
        for number in signals or (signal.SIGTERM,):
            os.kill(self.pid, number)
        self.process.wait(PATIENCE_S)
        for thread in self._threads:
            thread.join(PATIENCE_S)
        assert self.process.returncode == 0, self.stderr
        assert (self.lines[0]["record"], self.lines[-1]["record"]) == ("header", "summary")
        assert self.lines[-1]["exit_reason"] == "interrupted"
        self.check()
        return self.lines

    def check(self) -> None:
        """Where there is no picture, nothing is said of people, least of all that there are none."""
        frames = [line for line in self.lines if line["record"] == "frame"]
        for source in {frame.get("source") for frame in frames}:
            numbers = [frame["seq"] for frame in frames if frame.get("source") == source]
            assert numbers == list(range(len(numbers)))
        for frame in frames:
            if frame["signal"] != "ok":
                said = [frame[key] for key in ("verdict", "presence", "count", "pedestrians", "coverage", "stage_ms")]
                assert said == ["unknown", None, None, [], None, None], frame

    def _read_lines(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.stderr += line

    def _tail(self) -> str:
        return "\n".join(str(line)[:300] for line in self.lines[-6:])

    def __enter__(self) -> "Watching":
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(PATIENCE_S)
        for thread in self._threads:
            thread.join(PATIENCE_S)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
