"""An export that is cut off, by Ctrl-C or by the power, leaves no half file: the old one is whole, or none is there."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from edge.errors import ProcessingError
from export.build import export_model
from tests.export.conftest import export_settings

# Converting takes seconds, and is not what is cut off: both processes take a graph that was converted already.
CONVERTED = """
import onnx, sys
from export import build
from export.graph import calibrate_presence

converted = onnx.load(sys.argv[-1])
calibrate_presence(converted, build.IDENTITY)
build.to_onnx = lambda *_: converted
"""

# Kills its own process, as a power cut would, when the model is about to be moved to its place.
KILLED = f"""{CONVERTED}
import os, signal
from pathlib import Path
from export.build import export_model
from tests.export.conftest import export_settings

def cut_the_power(event, arguments):
    if event == "os.rename" and str(arguments[1]).endswith(".onnx"):
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(cut_the_power)
list(export_model(export_settings(Path(sys.argv[1]), Path(sys.argv[2]), overwrite=True)))
"""

# Sends itself what a service manager sends, once the draft is written; then as the command would go on.
TERMINATED = f"""{CONVERTED}
import os, signal
from export.__main__ import main

def told_to_stop(*_):
    assert list(__import__("pathlib").Path(".").glob(".kestrel-export-*/m.onnx"))
    os.kill(os.getpid(), signal.SIGTERM)

build.compare = told_to_stop
sys.argv = ["kestrel-export", "s.pt", "m.onnx"]
main()
"""


def run(script: str, *arguments: Path, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


def test_sigterm_ends_as_ctrl_c_does_and_leaves_no_draft(learnt_student, exported, tmp_path):
    shutil.copy(learnt_student, tmp_path / "s.pt")
    done = run(TERMINATED, exported, cwd=tmp_path)
    assert done.returncode == 130, done.stderr
    assert done.stderr.splitlines()[-1] == "kestrel-export: interrupted"
    assert [file.name for file in tmp_path.iterdir()] == ["s.pt"]


def test_a_keyboard_interrupt_leaves_the_old_file_whole_and_nothing_beside_it(learnt_student, tmp_path):
    out = tmp_path / "m.onnx"
    out.write_text("mine")
    running = export_model(export_settings(learnt_student, out, overwrite=True))
    assert any(line.startswith("parity") for line in running)
    with pytest.raises(KeyboardInterrupt):
        running.throw(KeyboardInterrupt)
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]
    assert out.read_text() == "mine"


def test_a_full_disk_at_the_last_moment_leaves_nothing_behind(learnt_student, tmp_path, monkeypatch):
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    running = export_model(export_settings(learnt_student, tmp_path / "m.onnx"))
    assert any(line.startswith("parity") for line in running)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ProcessingError, match=r"must be writable, got .*No space left"):
        list(running)
    assert list(tmp_path.iterdir()) == []


def test_a_power_cut_while_the_model_is_moved_to_its_place_leaves_the_old_one_whole(learnt_student, exported, tmp_path):
    out = tmp_path / "m.onnx"
    out.write_text("mine")
    done = run(KILLED, learnt_student, out, exported)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert out.read_text() == "mine"
    (scratch,) = tmp_path.glob(".kestrel-export-*")  # nobody was left to tidy up; what lies there is whole
    onnx.checker.check_model(onnx.load(scratch / "m.onnx"))
