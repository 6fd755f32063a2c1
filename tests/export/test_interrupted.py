"""An export that is cut off, by Ctrl-C or by the power, leaves no half file: the old one is whole, or none is there."""

import signal
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from edge.errors import ProcessingError
from export.build import export_model
from tests.export.conftest import export_settings

# Kills its own process, as a power cut would, when the model is about to be moved to its place.
KILLED = """
import os, signal, sys
from pathlib import Path
from export.build import export_model
from tests.export.conftest import export_settings

def cut_the_power(event, arguments):
    if event == "os.rename" and str(arguments[1]).endswith(".onnx"):
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(cut_the_power)
list(export_model(export_settings(Path(sys.argv[1]), Path(sys.argv[2]), overwrite=True)))
"""


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


def test_a_power_cut_while_the_model_is_moved_to_its_place_leaves_the_old_one_whole(learnt_student, tmp_path):
    out = tmp_path / "m.onnx"
    out.write_text("mine")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(learnt_student), str(out)], capture_output=True, timeout=300, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert out.read_text() == "mine"
    (scratch,) = tmp_path.glob(".kestrel-export-*")  # nobody was left to tidy up; what lies there is whole
    onnx.checker.check_model(onnx.load(scratch / "m.onnx"))
