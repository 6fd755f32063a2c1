import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import edge
from edge.errors import BrokenStreamError, OutputClosedError, SourceError
from edge.startup import run, run_app

ROOT = Path(edge.__file__).parents[1]


def raising(error: BaseException):
    def command() -> int:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (SourceError("no such file"), 2, "kestrel: no such file\n"),
        (BrokenStreamError("lost"), 1, "kestrel: lost\n"),
        (OutputClosedError("nobody reads"), 0, ""),
        (KeyboardInterrupt(), 130, "kestrel: interrupted\n"),
        (
            OSError(5, "Input/output error", "a"),
            1,
            "kestrel: a failed: Input/output error; make room, or mend the disk\n",
        ),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(capsys, error, code, line):
    assert run("kestrel", raising(error)) == code
    assert capsys.readouterr().err == line


def test_ctrl_c_within_an_app_is_one_line_too(capsys, monkeypatch):
    app = typer.Typer()
    app.command()(raising(KeyboardInterrupt()))
    monkeypatch.setattr("sys.argv", ["kestrel"])
    assert run("kestrel", lambda: run_app("kestrel", app)) == 130
    assert capsys.readouterr().err == "kestrel: interrupted\n"


def test_a_command_that_ends_well_is_0_and_may_choose_its_code():
    assert run("kestrel", lambda: None) == 0
    assert run("kestrel", lambda: 1) == 1


def test_a_missing_extra_is_named(capsys):
    assert run("kestrel-train", raising(ModuleNotFoundError("No module", name="torch")), extra="train") == 2
    assert capsys.readouterr().err == (
        "kestrel-train: this command needs torch; run `pip install 'kestrel-drone[train]'`\n"
    )


def test_a_fault_of_ours_keeps_its_traceback():
    with pytest.raises(ImportError):
        run("kestrel", raising(ImportError("cannot import name 'x' from 'edge'")))
    with pytest.raises(ZeroDivisionError):
        run("kestrel", raising(ZeroDivisionError()))


def test_no_error_shows_credentials(capsys):
    assert run("kestrel", raising(SourceError("extra argument (rtsp://me:s@cr:/%t@10.0.0.5/live)"))) == 2
    assert capsys.readouterr().err == "kestrel: extra argument (rtsp://***@10.0.0.5/live)\n"


@pytest.mark.parametrize("place", ["fail()", "t = threading.Thread(target=fail); t.start(); t.join()"])
def test_not_even_a_fault_of_ours_shows_credentials(place):
    program = (
        "import threading\n"
        "from edge.startup import hide_credentials_in_tracebacks\n"
        "hide_credentials_in_tracebacks()\n"
        "def fail(): raise OSError(5, 'failed', 'rtsp://' + 'me:s@cr:/%t@10.0.0.5/live')\n" + place
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "OSError: [Errno 5] failed: 'rtsp://***@10.0.0.5/live'" in done.stderr
    assert "s@cr" not in done.stderr
    assert "Traceback" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("text", ["'short'", "'long' * 9000"])
def test_a_full_disk_is_one_line_and_failed_on_the_way(unbuffered, text):
    program = f"import sys; from edge.startup import run; sys.exit(run('kestrel', lambda: print({text})))"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    line = "kestrel: an output failed: No space left on device; make room, or mend the disk\n"
    assert (done.returncode, done.stderr) == (1, line)


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_stop_nobody_and_lend_their_numbers_to_no_file(tmp_path, closed):
    program = (
        "import sys; from edge.startup import run\n"
        "def command():\n"
        "    print('to', sys.stderr.isatty(), file=sys.stderr)\n"
        "    print('nobody')\n"
        "    with open(sys.argv[1], 'w') as file:\n"
        "        return file.fileno()\n"
        "sys.exit(run('kestrel', command))"
    )
    command = ["sh", "-c", f'exec "$0" "$@" {closed}', sys.executable, "-c", program, str(tmp_path / "file")]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 3


def test_a_reader_that_left_before_the_end_is_no_failure():
    program = (
        "import sys; from edge.startup import run; sys.exit(run('kestrel', lambda: (print('x'), sys.stdin.read())[0]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": ""},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        running.stdout.close()
        running.stdin.close()
        assert running.stderr.read() == b""
        assert running.wait(timeout=30) == 0


@pytest.mark.parametrize("library", ["libGL.so.1", "libgthread-2.0.so.0", "libglib-2.0.so.0"])
def test_missing_system_libraries_are_named_in_one_line(tmp_path, library):
    (tmp_path / "cv2.py").write_text(
        f"raise ImportError('{library}: cannot open shared object file: No such file or directory')"
    )
    for arguments in (["watch", "a.mp4"], ["demo"], ["models", "x.onnx"]):
        done = subprocess.run(
            [sys.executable, "-m", "edge", *arguments],
            env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (2, "")
        [line] = done.stderr.splitlines()
        assert f"({library})" in line
        assert "apt-get install libgl1 libglib2.0-0" in line
        assert "opencv-python-headless" in line
