"""The command `kestrel`, run as a user runs it, in a folder of its own with a model that sees bright spots."""

import subprocess
import sys

import pytest

from edge import __main__
from tests.models import write_spot_model


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_spot_model(tmp_path / "spots.onnx")
    return tmp_path


@pytest.fixture
def kestrel(capsys, monkeypatch):
    """Runs the command as a user does, within this process: exit code, stdout and stderr."""

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["kestrel", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            __main__.main()
        said = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, ended.value.code or 0, said.out, said.err)

    return call


@pytest.fixture
def watch(kestrel):
    return lambda *arguments: kestrel("watch", *arguments, "--model", "spots.onnx", "--threads", 1)
