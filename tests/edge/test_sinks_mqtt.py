import contextlib
import gc
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from edge.errors import InvalidValueError, UnusableInputError
from edge.records import Event, Frame, Pedestrian
from edge.sinks import mqtt
from edge.sinks.address import Address
from edge.sinks.board import SinkState
from edge.sinks.http_server import HttpServer
from edge.sinks.mqtt import Login, MqttConnection, MqttOptions, MqttSink, find_login, topic_word
from edge.sinks.shared import SharedOutputs
from tests.edge.recordings import HEADER, lost, seen
from tests.servers.mqtt import Broker, Listener, running_broker, wait_until, why_not

pytest.importorskip("paho.mqtt", reason="the extra mqtt is not installed")
needs_broker = pytest.mark.skipif(bool(why_not()), reason=why_not())
PERSON = Pedestrian((20.0, 24.0, 34.0, 40.0), 0.9)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with running_broker(tmp_path) as broker:
        yield broker


def options(broker: Broker, login: Login | None = None) -> MqttOptions:
    return MqttOptions(Address("127.0.0.1", broker.port), "board-1", login)


@contextlib.contextmanager
def listening(broker: Broker) -> Iterator[Listener]:
    listener = Listener(broker.port)
    try:
        yield listener
    finally:
        listener.close()


def payload(line: str) -> dict[str, object]:
    return dict(json.loads(line.partition(" ")[2]))


@needs_broker
def test_the_broker_hears_who_is_there_what_is_seen_and_what_changes(broker: Broker) -> None:
    with listening(broker) as listener, MqttConnection(options(broker)) as connection:
        with MqttSink(connection, every_s=1000.0) as sink:
            listener.wait_for("kestrel/board-1/available online")
            sink.write(HEADER, None)
            sink.write(seen(0), None)
            sink.write(seen(1), None)  # nothing new
            sink.write(seen(2, PERSON, presence=0.9), None)
            sink.write(Event("appeared", 2 / 30), None)
            sink.write(lost(3), None)
            assert payload(listener.wait_for("kestrel/board-1/events"))["event"] == "appeared"
            listener.wait_for("kestrel/board-1/state", "no_signal")
        connection.close()
        listener.wait_for("available offline")
        states = [payload(line) for line in listener.heard if "/state" in line]
        assert [state["verdict"] for state in states] == ["unknown", "clear", "pedestrian", "unknown", "unknown"]
        assert (states[2]["count"], states[2]["presence"], states[2]["source"]) == (1, 0.9, HEADER.source)
        assert states[3]["count"] is None
    with listening(broker) as late:
        wait_until(lambda: len(late.retained) == 2)
        assert late.retained["kestrel/board-1/available"] == "offline"
        assert json.loads(late.retained["kestrel/board-1/state"])["verdict"] == "unknown"
    assert connection.warnings == []


def test_events_that_a_broker_never_heard_of_are_counted_at_the_end(capsys) -> None:
    nobody = MqttOptions(Address("127.0.0.1", 1), "board-1")
    with MqttConnection(nobody) as connection, MqttSink(connection) as sink:
        sink.write(HEADER, None)
        sink.write(Event("appeared", 2 / 30), None)
        sink.write(Event("gone", 3 / 30), None)
    assert "MQTT: the broker is away at the end; events that it never heard of: 2" in capsys.readouterr().err


@needs_broker
def test_several_sources_share_one_connection(broker: Broker) -> None:
    with listening(broker) as listener, MqttConnection(options(broker)) as connection:
        with MqttSink(connection, "north gate"), MqttSink(connection, "south") as south:
            south.write(seen(0), None)
            listener.wait_for("kestrel/board-1/south/state", "clear")
        listener.wait_for("kestrel/board-1/north-gate/state", "unknown")
        assert sum("available online" in line for line in listener.heard) == 1


@needs_broker
def test_a_broker_that_is_away_at_start_hears_the_latest_state_and_every_event(tmp_path: Path, capsys) -> None:
    broker = Broker(tmp_path)
    with MqttConnection(options(broker)) as connection, MqttSink(connection) as sink:
        for seq in range(100):
            sink.write(seen(seq), None)
        sink.write(Event("appeared", 1.0), None)
        sink.write(seen(101, PERSON), None)
        wait_until(lambda: bool(connection.warnings))
        try:
            broker.start()
            with listening(broker) as listener:
                listener.wait_for("available online")
                assert payload(listener.wait_for("/state"))["verdict"] == "pedestrian"
                broker.stop()  # and away again
                wait_until(lambda: not connection.connected)
                sink.write(Event("gone", 2.0), None)
                sink.write(lost(102), None)
                broker.start()
                assert payload(listener.wait_for("/events", "gone"))["event"] == "gone"
                listener.wait_for("/state", "no_signal")
        finally:
            connection.close()
            broker.stop()
    assert connection.warnings[0].endswith("cannot be reached: Connection refused; trying again")
    assert "went away" in connection.warnings[1]
    assert "cannot be reached" in capsys.readouterr().err


@needs_broker
def test_page_and_metrics_are_told_of_a_broker_that_is_away(tmp_path: Path) -> None:
    broker = Broker(tmp_path)
    with HttpServer(Address("127.0.0.1", 0)) as server, MqttConnection(options(broker)) as connection:
        shared = SharedOutputs(server, connection)
        with contextlib.ExitStack() as stack:
            for sink in shared.sinks("cam", lambda: [SinkState("records", 0, 0, failing=False)]):
                stack.enter_context(sink).write(HEADER, None)
            wait_until(lambda: bool(connection.warnings))
            records, told = server.boards["cam"].snapshot().sinks
            assert (records.name, told.name, told.failing, told.failures > 0) == ("records", "mqtt", True, True)
            broker.start()
            stack.callback(broker.stop)
            wait_until(lambda: connection.connected)
            assert not server.boards["cam"].snapshot().sinks[1].failing


@needs_broker
def test_a_state_that_comes_while_a_broker_returns_is_the_last_one_that_it_hears(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    with MqttConnection(MqttOptions(Address("127.0.0.1", 9), "board-1")) as connection:

        def publish(topic: str, payload: str, **_: object) -> None:
            if payload == "clear":  # the network's thread is about to send it when the camera is lost
                late = threading.Thread(target=connection.state, args=(topic, "unknown"))
                late.start()
                threads.append(late)
                late.join(0.3)
            told.append(payload)

        threads: list[threading.Thread] = []
        connection.state("state", "clear")
        with monkeypatch.context() as connected:
            connected.setattr(connection._client, "is_connected", lambda: True)
            connected.setattr(connection._client, "publish", publish)
            connection._on_connect(connection._client, None, None, SimpleNamespace(is_failure=False), None)
            threads[0].join(20)
    assert told == ["online", "clear", "unknown"]


class Retained:
    """Stands in for the connection: what a broker would keep."""

    root = "kestrel/board-1"

    def __init__(self) -> None:
        self.states: list[str] = []

    def state(self, _topic: str, payload: str) -> None:
        self.states.append(json.loads(payload)["verdict"])


def test_a_state_that_nobody_looks_after_any_more_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "_LOOK_EVERY_S", 0.01)
    now, retained = [0.0], Retained()
    with MqttSink(cast("MqttConnection", retained), every_s=1000.0, clock=lambda: now[0], quiet_s=5.0) as sink:
        sink.write(HEADER, None)
        assert retained.states == ["unknown"]  # whatever an earlier run had left there
        sink.write(seen(0), None)
        now[0] += 14.0
        sink.skip(Frame(1, None, signal="no_signal"))  # `--every`: it lives
        now[0] += 14.0
        time.sleep(0.2)
        assert retained.states == ["unknown", "clear"]
        now[0] += 2.0
        wait_until(lambda: retained.states == ["unknown", "clear", "unknown"])
        sink.write(seen(2), None)
        assert retained.states[-1] == "clear"
    assert retained.states == ["unknown", "clear", "unknown", "clear", "unknown"]


@needs_broker
def test_a_frozen_broker_never_stalls_the_loop(broker: Broker) -> None:
    with MqttConnection(options(broker)) as connection, MqttSink(connection, every_s=0.0) as sink:
        wait_until(lambda: connection.connected)
        broker.freeze()
        for seq in range(3000):
            sink.write(seen(seq), None)
            sink.write(Event("appeared", 1.0), None)
        assert "events were not sent" in connection.warnings[-1]
        assert len(connection.warnings) == 1


@needs_broker
def test_a_board_that_dies_is_offline_by_its_last_will(broker: Broker) -> None:
    script = (
        "import sys, time\n"
        "from edge.sinks.address import Address\n"
        "from edge.sinks.mqtt import MqttConnection, MqttOptions\n"
        "MqttConnection(MqttOptions(Address('127.0.0.1', int(sys.argv[1])), 'board-1'))\n"
        "time.sleep(60)\n"
    )
    with listening(broker) as listener:
        with subprocess.Popen([sys.executable, "-c", script, str(broker.port)], cwd=ROOT) as board:
            listener.wait_for("available online")
            board.kill()
        listener.wait_for("available offline")


@needs_broker
def test_a_wrong_password_is_said_and_never_shown(tmp_path: Path) -> None:
    tool = shutil.which("mosquitto_passwd")
    if tool is None:
        pytest.skip("no mosquitto_passwd is installed")
    subprocess.run([tool, "-b", "-c", str(tmp_path / "users"), "pilot", "right"], check=True, capture_output=True)
    with running_broker(tmp_path, "allow_anonymous false", f"password_file {tmp_path / 'users'}") as broker:
        with MqttConnection(options(broker, Login("pilot", "wr0ng"))) as refused:
            wait_until(lambda: bool(refused.warnings))
            assert not refused.connected
        assert "refuses us" in refused.warnings[0]
        assert "wr0ng" not in " ".join(refused.warnings) + repr(options(broker, Login("pilot", "wr0ng")))
        with MqttConnection(options(broker, Login("pilot", "right"))) as accepted:
            wait_until(lambda: accepted.connected)


# paho leaves the socket of a refused handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@needs_broker
def test_tls_trusts_the_given_authority_and_no_other(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl is installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    what = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate))
    whose = ("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")
    subprocess.run([openssl, *what, *whose], check=True, capture_output=True)
    settings = ("allow_anonymous true", f"certfile {certificate}", f"keyfile {key}")
    with running_broker(tmp_path, *settings) as broker:
        address = Address("127.0.0.1", broker.port)
        with MqttConnection(MqttOptions(address, "board-1", tls=True, ca_file=certificate)) as trusted:
            wait_until(lambda: trusted.connected)
        with MqttConnection(MqttOptions(address, "board-1", tls=True)) as suspicious:
            wait_until(lambda: bool(suspicious.warnings))
            assert not suspicious.connected
            assert "certificate verify failed" in suspicious.warnings[0]
    wait_until(lambda: not any("paho" in thread.name for thread in threading.enumerate()))
    trusted = suspicious = None  # they may still hold that socket, and later tests do not bear its warning
    gc.collect()


def test_a_file_that_holds_no_certificates_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("none")
    for name in ("ca", "missing"):
        with pytest.raises(InvalidValueError, match="mqtt_ca must be a file of certificates"):
            MqttConnection(MqttOptions(Address("127.0.0.1", 1), "b", tls=True, ca_file=tmp_path / name))


def test_a_password_without_tls_is_warned_of_beyond_this_machine(capsys) -> None:
    with MqttConnection(MqttOptions(Address("192.0.2.1", 1883), "b", Login("pilot", "s3cret"))) as connection:
        assert "unencrypted" in connection.warnings[0]
    assert "s3cret" not in capsys.readouterr().err


def test_without_the_package_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(UnusableInputError, match=r"pip install 'kestrel-drone\[mqtt\]'"):
        MqttConnection(MqttOptions(Address("127.0.0.1", 1883), "b"))


@pytest.mark.parametrize(
    ("text", "environment", "login"),
    [
        (None, {}, None),
        (None, {mqtt.USER_VARIABLE: "a"}, Login("a")),
        (None, {mqtt.USER_VARIABLE: "a", mqtt.PASSWORD_VARIABLE: "b"}, Login("a", "b")),
        ("user\npass:@word\n", {mqtt.USER_VARIABLE: "a"}, Login("user", "pass:@word")),
        ("user\r\npassword\r\n", {}, Login("user", "password")),
        ("user\n", {}, Login("user")),
    ],
)
def test_logins(tmp_path: Path, text: str | None, environment: dict[str, str], login: Login | None) -> None:
    file = None
    if text is not None:
        file = tmp_path / "login"
        file.write_bytes(text.encode())
    assert find_login(file, environment) == login


def test_a_login_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="KESTREL_MQTT_USER must be set where KESTREL_MQTT_PASSWORD is"):
        find_login(None, {mqtt.PASSWORD_VARIABLE: "b"})
    with pytest.raises(InvalidValueError, match="mqtt_login_file must be a file that can be read"):
        find_login(tmp_path / "none", {})


@pytest.mark.parametrize(("text", "word"), [("", "kestrel"), ("a/b+#", "a-b"), ("drone-1.local", "drone-1.local")])
def test_words_of_a_topic(text: str, word: str) -> None:
    assert topic_word(text) == word


def test_an_id_that_is_no_word_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="mqtt_id must be letters"):
        MqttOptions(Address("127.0.0.1", 1883), "a/b")
