"""In processes of their own: the signals are meant for a whole program."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import edge

ROOT = Path(edge.__file__).parents[1]
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
# Minutes in C, without Python's lock, as a model is loaded; Python's own handlers do not run meanwhile.
BUSY_IN_FOREIGN_CODE = "import hashlib; hashlib.pbkdf2_hmac('sha256', b'', b'', 2 * 10**9)"


def start(*lines: str) -> subprocess.Popen[str]:
    usual = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)"  # whether or not the tests run under nohup
    program = "\n".join([usual, "from edge.interruption import leave_at_once, stop_on_signals", *lines])
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    try:
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, said


@pytest.mark.parametrize("number", SIGNALS)
def test_signals_once_or_many_times_are_one_polite_request(number):
    process = start(
        "import atexit, time",
        "atexit.register(lambda: (print('leaving', flush=True), time.sleep(0.5)))",
        "with stop_on_signals() as stop:",
        "    print('ready', flush=True)",
        "    while not stop.requested: time.sleep(0.01)",
        "    print('stopping', flush=True)",
        "    time.sleep(0.5)",
        "print('finished', flush=True)",
    )
    process.send_signal(number)
    for line in ("stopping\n", "finished\n", "leaving\n"):
        assert process.stdout.readline() == line
        for again in SIGNALS:
            process.send_signal(again)
    assert end(process) == (0, "")


@pytest.mark.parametrize("number", SIGNALS)
def test_while_nothing_is_written_a_signal_ends_the_program_even_in_foreign_code(number):
    process = start(
        "with stop_on_signals(), leave_at_once():",
        "    print('ready', flush=True)",
        f"    {BUSY_IN_FOREIGN_CODE}",
    )
    process.send_signal(number)
    assert end(process) == (0, "")


def test_afterwards_it_is_a_request_again():
    process = start(
        "import time",
        "with stop_on_signals() as stop:",
        "    with leave_at_once(): pass",
        "    print('ready', flush=True)",
        "    while not stop.requested: time.sleep(0.01)",
        "print('finished', flush=True)",
    )
    process.send_signal(signal.SIGTERM)
    assert end(process) == (0, "finished\n")


def test_under_nohup_a_closed_terminal_changes_nothing():
    process = start(
        "import time",
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)",
        "with stop_on_signals() as stop:",
        "    print('ready', flush=True)",
        "    time.sleep(0.5)",
        "    print('asked' if stop.requested else 'undisturbed', flush=True)",
    )
    process.send_signal(signal.SIGHUP)
    assert end(process) == (0, "undisturbed\n")
