import os
import socket
import time

import pytest

from edge.records import FrameRecord, Header, ModelInfo, Summary
from edge.supervisor import Supervisor, is_due

MODEL = ModelInfo("spots", "1", "thermal", "fp32", "0" * 64)
HEADER = Header("cam", "2026-01-01T00:00:00Z", None, None, MODEL, None, 0.5, 1)
SUMMARY = Summary(0, 0, 0.0, None, None, None, None, 0, {}, "interrupted")
LOST = FrameRecord(0, "no_signal", "unknown", None, (), None, None)
SEEN = FrameRecord(1, "ok", "clear", 0.1, (), 1.0, None)


@pytest.fixture(params=["path", "abstract"])
def systemd(request, tmp_path):
    """The other end: a bound socket and the environment that leads to it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        name = f"@kestrel-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
        end.bind(name.replace("@", "\0"))
        end.settimeout(5)
        yield lambda: end.recv(4096).decode().split("\n"), {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "4"}


def test_a_run_is_told_from_start_to_end(systemd):
    heard, environment = systemd
    supervisor = Supervisor(environment)
    with supervisor.starting("loading the model"):
        status, watchdog, extend = heard()
    assert status == "STATUS=starting: loading the model, 0 s"
    assert (watchdog, extend[:20]) == ("WATCHDOG=1", "EXTEND_TIMEOUT_USEC=")
    supervisor.hear("cam", HEADER)
    supervisor.hear("cam", LOST)
    assert heard() == ["READY=1", "WATCHDOG=1", "STATUS=cam: signal no signal, verdict unknown"]
    time.sleep(0.001)
    supervisor.hear("cam", SEEN)
    assert heard() == ["WATCHDOG=1", "STATUS=cam: signal ok, verdict clear, 0 in view"]
    supervisor.hear("cam", SUMMARY)
    assert heard() == ["STATUS=cam: stopped: interrupted"]
    supervisor.close()
    assert heard() == ["STOPPING=1"]


def test_the_end_of_a_source_is_not_the_end_though_no_other_has_begun(systemd):
    heard, environment = systemd
    supervisor = Supervisor(environment | {"WATCHDOG_USEC": "60000000"})
    for recording in ("a", "b"):
        supervisor.hear(recording, HEADER)
        supervisor.hear(recording, SEEN)
        supervisor.hear(recording, SUMMARY)
    supervisor.close()
    told = [heard()[0] for _ in range(4)]
    assert told == ["READY=1", "STATUS=a: stopped: interrupted", "STATUS=b: stopped: interrupted", "STOPPING=1"]


def test_an_engine_that_is_built_at_the_first_frame_is_waited_for(systemd, monkeypatch):
    monkeypatch.setattr("edge.supervisor._START_EVERY_S", 0.01)
    heard, environment = systemd
    supervisor = Supervisor(environment)
    with supervisor.starting("loading the model"):
        assert "loading the model" in heard()[0]
    supervisor.hear("cam", HEADER)
    while (told := heard())[0].startswith("STATUS=starting: loading"):
        pass
    assert told[0] == "STATUS=starting: first frame of cam, 0 s"
    assert told[1] == "WATCHDOG=1"
    supervisor.hear("cam", SEEN)
    while (told := heard())[0].startswith("STATUS=starting: first frame"):
        pass
    assert told[0] == "READY=1"
    supervisor.hear("cam", SUMMARY)


def test_readiness_that_nobody_could_take_is_told_again(systemd):
    heard, environment = systemd
    supervisor = Supervisor(environment | {"WATCHDOG_USEC": "60000000"})
    supervisor.hear("cam", HEADER)
    waiting = 0
    while supervisor.tell("STATUS=busy"):
        waiting += 1
    supervisor.hear("cam", SEEN)  # lost
    for _ in range(waiting):
        assert heard() == ["STATUS=busy"]
    supervisor.hear("cam", SEEN)
    assert heard()[:2] == ["READY=1", "WATCHDOG=1"]
    supervisor.hear("cam", SEEN)  # is not due
    supervisor.close()
    assert heard() == ["STOPPING=1"]


def test_a_name_that_is_no_text_is_told_all_the_same(systemd):
    heard, environment = systemd
    supervisor = Supervisor(environment)
    supervisor.hear("caf\udce9.mp4", HEADER)
    supervisor.hear("caf\udce9.mp4", SEEN)
    assert heard()[2] == "STATUS=caf\\udce9.mp4: signal ok, verdict clear, 0 in view"


@pytest.mark.parametrize(
    ("now", "fed_at", "beats", "due"),
    [
        (100, 0, {}, True),
        (100, 0, {"a": 100}, True),
        (100, 92, {"a": 100}, True),
        (100, 93, {"a": 100}, False),
        (100, 0, {"a": 100, "b": 85}, True),
        (100, 0, {"a": 100, "b": 84}, False),
    ],
)
def test_the_watchdog_is_fed_while_every_source_lives(now, fed_at, beats, due):
    assert is_due(now, fed_at, beats, 30) is due


def test_nobody_listening_is_no_failure(tmp_path):
    for environment in ({}, {"NOTIFY_SOCKET": str(tmp_path / "nobody")}, {"NOTIFY_SOCKET": "@nobody-at-all"}):
        supervisor = Supervisor(environment | {"WATCHDOG_USEC": "what"})
        with supervisor.starting("x"):
            supervisor.hear("cam", HEADER)
        supervisor.hear("cam", SUMMARY)


def test_a_watchdog_of_another_process_is_not_ours():
    other = {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}
    assert Supervisor(other)._watchdog_s == 20.0
    assert Supervisor(other | {"WATCHDOG_PID": str(os.getpid())})._watchdog_s == 1.0


def test_a_source_that_waits_for_a_late_picture_lives_and_one_that_hangs_does_not(systemd):
    heard, environment = systemd
    supervisor = Supervisor(environment | {"WATCHDOG_USEC": "400000"})
    for source in ("a", "b"):
        supervisor.hear(source, HEADER)
        supervisor.hear(source, SEEN)
    assert heard()[0] == "READY=1"
    time.sleep(0.25)
    supervisor.wait("never begun")
    supervisor.wait("a")
    supervisor.wait("b")
    assert heard() == ["WATCHDOG=1"]
    time.sleep(0.25)
    supervisor.wait("a")  # b is silent for longer than half of the time
    supervisor.hear("a", SUMMARY)
    supervisor.hear("b", SUMMARY)
    assert heard() == ["STATUS=a: stopped: interrupted"]
