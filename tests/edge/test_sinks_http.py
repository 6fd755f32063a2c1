import contextlib
import dataclasses
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import InvalidValueError
from edge.records import Event, Frame, Pedestrian
from edge.sinks import http_handler, http_server
from edge.sinks.address import Address, parse_address, read_secret
from edge.sinks.http import HttpSink
from edge.sinks.http_server import MOST_CLIENTS, MOST_STREAMS, HttpServer
from edge.sinks.shared import SharedOutputs
from tests.edge.recordings import HEADER, SUMMARY, lost, seen
from tests.servers.browser import browser_tab, find_browser, why_not

LOCAL = Address("127.0.0.1", 0)
TOKEN = "a-token-that-is-long-enough"
PERSON = Pedestrian((20.0, 24.0, 34.0, 40.0), 0.9)
NO_SIGNAL = Frame(1, None, signal="no_signal")


def frame(seq: int) -> Frame:
    return Frame(seq, np.full((48, 64, 3), 200, np.uint8), time_s=seq / 30)


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with HttpServer(LOCAL) as server:
        yield server


@pytest.fixture
def sink(server: HttpServer) -> Iterator[HttpSink]:
    with HttpSink(server, "north") as sink:
        sink.write(HEADER, None)
        yield sink


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[HttpServer]:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    with HttpServer(LOCAL, tmp_path / "token") as server:
        yield server


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


def ask(server: HttpServer, path: str, method: str = "GET", **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    with contextlib.closing(connection):
        connection.request(method, path, headers={name.replace("_", "-"): text for name, text in headers.items()})
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())


def test_healthz_is_503_exactly_without_signal_or_when_stuck(
    server: HttpServer, sink: HttpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    def health() -> tuple[int, bytes]:
        answer = ask(server, "/healthz")
        return answer.status, answer.body

    assert health() == (200, b"starting\n")
    sink.write(seen(0), frame(0))
    assert health() == (200, b"ok\n")
    sink.write(lost(1), NO_SIGNAL)
    assert health() == (503, b"no_signal\n")
    sink.write(seen(2), frame(2))
    assert health() == (200, b"ok\n")
    monkeypatch.setattr("edge.sinks.board.STUCK_AFTER_S", -1.0)
    assert health() == (503, b"stuck\n")
    with HttpSink(server, "south"):
        assert health() == (503, b"north: stuck\nsouth: starting\n")
    sink.write(SUMMARY, None)
    assert health() == (200, b"ended\n")


def test_a_source_that_could_not_begin_is_an_alarm_too(server: HttpServer, sink: HttpSink) -> None:
    sink.write(seen(0), frame(0))
    shared = SharedOutputs(http=server)
    shared.tell_lost("south", dataclasses.replace(SUMMARY, exit_reason="failed"))
    shared.tell_lost("north", dataclasses.replace(SUMMARY, exit_reason="failed"))  # it had begun: its own sink tells
    answer = ask(server, "/healthz")
    assert (answer.status, answer.body) == (503, b"north: ok\nsouth: lost\n")


def test_a_source_that_is_lost_for_good_stays_an_alarm(server: HttpServer, sink: HttpSink) -> None:
    with HttpSink(server, "south") as south:
        south.write(dataclasses.replace(SUMMARY, exit_reason="signal_lost"), None)
    with HttpSink(server, "west") as west:
        west.write(SUMMARY, None)
    sink.write(seen(0), frame(0))
    answer = ask(server, "/healthz")
    assert (answer.status, answer.body) == (503, b"north: ok\nsouth: lost\n")
    assert b'kestrel_signal_ok{source="south"} 0' in ask(server, "/metrics").body


def test_a_snapshot_is_the_annotated_picture_and_says_when_it_is_none(server: HttpServer, sink: HttpSink) -> None:
    assert ask(server, "/snapshot.jpg").status == 503
    sink.write(seen(0, PERSON), frame(0))
    answer = ask(server, "/snapshot.jpg?source=north")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "image/jpeg")
    image = cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (48, 64, 3)
    sink.write(lost(1), NO_SIGNAL)
    assert ask(server, "/snapshot.jpg").status == 503
    assert ask(server, "/snapshot.jpg?source=west").status == 404


def test_state_and_metrics_name_every_source(server: HttpServer, sink: HttpSink) -> None:
    with HttpSink(server, "south") as other:
        sink.write(seen(0, PERSON), frame(0))
        sink.write(Event("appeared", 0.0), None)
        other.write(lost(0), NO_SIGNAL)
        north, south = json.loads(ask(server, "/state.json").body)["sources"]
        assert (north["name"], north["verdict"], north["count"]) == ("north", "pedestrian", 1)
        assert north["last_event"] == {"event": "appeared", "at": 0.0}
        assert (south["name"], south["verdict"], south["count"]) == ("south", "unknown", None)
        metrics = ask(server, "/metrics")
        assert metrics.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert b'kestrel_pedestrians{source="north"} 1\n' in metrics.body
        assert b'kestrel_signal_ok{source="south"} 0\n' in metrics.body
    assert len(json.loads(ask(server, "/state.json").body)["sources"]) == 1


def test_the_stream_brings_each_newest_picture(server: HttpServer, sink: HttpSink) -> None:
    sink.write(seen(0), frame(0))
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)) as connection:
        connection.request("GET", "/stream.mjpg")
        answer = connection.getresponse()
        assert answer.headers["Content-Type"].startswith("multipart/x-mixed-replace")
        for seq in range(1, 4):
            assert read_part(answer).shape == (48, 64, 3)
            sink.write(seen(seq), frame(seq))


def read_part(answer: http.client.HTTPResponse) -> np.ndarray:
    assert answer.readline().startswith(b"--")
    assert answer.readline() == b"Content-Type: image/jpeg\r\n"
    length = int(answer.readline().removeprefix(b"Content-Length: "))
    assert answer.readline() == b"\r\n"
    jpeg = answer.read(length)
    assert answer.readline() == b"\r\n"
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/snapshot.jpg", "/stream.mjpg", "/state.json"])
def test_head_has_no_body(server: HttpServer, sink: HttpSink, path: str) -> None:
    sink.write(seen(0), frame(0))
    answer = ask(server, path, "HEAD")
    assert (answer.status, answer.body) == (200, b"")


def test_what_is_not_there_is_said(server: HttpServer) -> None:
    assert ask(server, "/../../etc/passwd").status == 404
    assert ask(server, "/", "POST").status == 501
    assert ask(server, "/snapshot.jpg").status == 404


def test_a_foreign_page_that_points_its_name_here_sees_nothing(server: HttpServer, sink: HttpSink) -> None:
    assert ask(server, "/state.json", Host="evil.example").status == 421
    for name in ("localhost:8080", "127.0.0.1", "[::1]:80"):
        assert ask(server, "/state.json", Host=name).status == 200


def test_without_the_token_only_the_health_is_told(guarded: HttpServer) -> None:
    with HttpSink(guarded, "north") as sink:
        sink.write(seen(0), frame(0))
        assert ask(guarded, "/healthz").status == 200
        for path in ("/", "/state.json", "/metrics", "/snapshot.jpg", "/stream.mjpg", "/?token=wrong"):
            assert ask(guarded, path).status == 401
            assert ask(guarded, path, Authorization="Bearer wrong").status == 401
            assert ask(guarded, path, Cookie=f"kestrel={TOKEN}").status == 401
        assert ask(guarded, "/state.json", Authorization=f"Bearer {TOKEN}").status == 200
        welcome = ask(guarded, f"/?token={TOKEN}")
        assert (welcome.status, welcome.headers["Location"]) == (303, "/")
        cookie = welcome.headers["Set-Cookie"].partition(";")[0]
        assert TOKEN not in cookie
        assert ask(guarded, "/state.json", Cookie=cookie).status == 200


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8080", Address("127.0.0.1", 8080)),
        (":8080", Address("127.0.0.1", 8080)),
        ("localhost:1", Address("localhost", 1)),
        ("board.local", Address("board.local", 80)),
        ("[::1]:8080", Address("::1", 8080)),
        ("[::1]", Address("::1", 80)),
        ("[fe80::5%eth0]:1", Address("fe80::5%eth0", 1)),
        ("bücher.local.:1", Address("bücher.local.", 1)),
        (f"{'a' * 63}.local", Address(f"{'a' * 63}.local", 80)),
        ("", Address("127.0.0.1", 80)),
    ],
)
def test_addresses(text: str, expected: Address) -> None:
    assert parse_address("http", text, "127.0.0.1", 80) == expected


@pytest.mark.parametrize("text", ["host:", "host:http", "host:70000", "a b:1", "http://host:1", "host:-1"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidValueError, match="http must be HOST:PORT, got"):
        parse_address("http", text, "127.0.0.1", 80)


@pytest.mark.parametrize("text", ["::1", "fe80::5", "::1:1883", "a:b:1"])
def test_an_address_with_colons_needs_brackets(text: str) -> None:
    with pytest.raises(
        InvalidValueError, match=rf"^mqtt must be .* in brackets, got '{text}'; for example \[::1\]:1883$"
    ):
        parse_address("mqtt", text, "127.0.0.1", 1883)


@pytest.mark.parametrize("text", ["broker..local", ".local:1883", f"{'a' * 64}.local", "a..", "ü..local", "[a..b]:1"])
def test_a_host_that_cannot_be_looked_up_is_refused_before_the_network_is_asked(text: str) -> None:
    with pytest.raises(InvalidValueError, match=r"^mqtt must be HOST:PORT with 1 to 63 letters"):
        parse_address("mqtt", text, "127.0.0.1", 1883)


def test_a_password_in_an_address_is_refused_without_repeating_it() -> None:
    with pytest.raises(InvalidValueError, match="without a user name") as refusal:
        parse_address("mqtt", "pilot:s3cret@broker:1883", "localhost", 1883)
    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("host", "local"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False)]
)
def test_who_can_reach_an_address(host: str, local: bool) -> None:
    assert Address(host, 1).is_loopback == local


def test_the_world_is_not_let_in_without_a_token(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match=r"http must be an address of this machine alone .* '0.0.0.0:0'"):
        HttpServer(Address("0.0.0.0", 0))
    (tmp_path / "token").write_text("short")
    with pytest.raises(InvalidValueError, match="http_token_file must be a token of at least 16 characters") as refusal:
        HttpServer(Address("0.0.0.0", 0), tmp_path / "token")
    assert "'short'" not in str(refusal.value)
    with pytest.raises(InvalidValueError, match="http_token_file must be a file that can be read"):
        HttpServer(LOCAL, tmp_path / "none")
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(InvalidValueError, match="a file with the secret in it"):
        read_secret("http_token_file", tmp_path / "empty")


def test_an_address_that_is_taken_is_refused(server: HttpServer) -> None:
    with pytest.raises(InvalidValueError, match="http must be a free address of this machine, got"):
        HttpServer(Address("127.0.0.1", server.port))


def test_an_address_can_be_taken_again_at_once(server: HttpServer) -> None:
    ask(server, "/healthz")
    server.close()
    server.close()
    HttpServer(Address("127.0.0.1", server.port)).close()


def connect(server: HttpServer, request: bytes) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.sendall(request)
    return client


def wait_until(reached: object, within_s: float = 20.0) -> None:
    assert callable(reached)
    ends = time.monotonic() + within_s
    while not reached():
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_a_client_that_never_reads_hurts_nobody(
    server: HttpServer, sink: HttpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_handler.Handler, "timeout", 0.3)
    monkeypatch.setattr(http_handler, "_STREAM_STEP_S", 0.0)
    noise = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), dtype=np.uint8)
    with connect(server, b"GET /stream.mjpg HTTP/1.0\r\n\r\n"):
        wait_until(lambda: "north" in server.boards and server.streams._value == MOST_STREAMS - 1)  # type: ignore[attr-defined]
        done = threading.Event()

        def watch() -> None:
            for seq in range(400):
                sink.write(seen(seq), Frame(seq, noise))
                if done.wait(0.01):
                    return

        loop = threading.Thread(target=watch)
        loop.start()
        wait_until(lambda: server.streams._value == MOST_STREAMS)  # type: ignore[attr-defined]  # it was let go
        assert loop.is_alive()  # the loop went on meanwhile
        assert ask(server, "/healthz").body == b"ok\n"
        done.set()
        loop.join(20)


def test_clients_beyond_the_bound_are_told_so_and_the_rest_goes_on(server: HttpServer, sink: HttpSink) -> None:
    sink.write(seen(0), frame(0))
    with contextlib.ExitStack() as stack:
        streams = [
            stack.enter_context(connect(server, b"GET /stream.mjpg HTTP/1.0\r\n\r\n")) for _ in range(MOST_STREAMS)
        ]
        for stream in streams:
            assert stream.recv(12) == b"HTTP/1.0 200"
        assert ask(server, "/stream.mjpg").status == 503
        assert ask(server, "/healthz").status == 200
        idle = [stack.enter_context(connect(server, b"GET / HTTP")) for _ in range(MOST_CLIENTS - MOST_STREAMS)]
        wait_until(lambda: len(server._server._clients) == MOST_CLIENTS)
        with connect(server, b"") as refused:
            assert refused.recv(12) == b"HTTP/1.0 503"
        idle.pop().close()
        wait_until(lambda: len(server._server._clients) < MOST_CLIENTS)
        assert ask(server, "/healthz").status == 200


def test_requests_for_which_there_was_no_thread_hold_no_slots(
    server: HttpServer, sink: HttpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    sink.write(seen(0), frame(0))
    with monkeypatch.context() as without_threads:
        without_threads.setattr("socketserver.ThreadingMixIn.process_request", refuse)
        for _ in range(MOST_CLIENTS + 1):
            with connect(server, b"") as refused:
                assert refused.recv(1) == b""  # closed without an answer
    assert server._server._clients == {}
    assert ask(server, "/healthz").status == 200


def test_half_a_request_does_not_hold_a_slot_for_ever(
    server: HttpServer, sink: HttpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "REQUEST_WITHIN_S", 0.3)
    with connect(server, b"GET / HTTP/1.0\r\nX-Slow:") as client:
        assert client.recv(1) == b""  # cut off


def test_closing_lets_go_of_everybody(server: HttpServer, sink: HttpSink) -> None:
    sink.write(seen(0), frame(0))
    with connect(server, b"GET /stream.mjpg HTTP/1.0\r\n\r\n") as client:
        assert client.recv(12) == b"HTTP/1.0 200"
        server.close()
        while client.recv(65536):
            pass
    with pytest.raises(ConnectionRefusedError):
        ask(server, "/healthz")


@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_the_page_shows_picture_verdict_and_lost_signal_in_a_real_browser(
    server: HttpServer, sink: HttpSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.sinks.board.STUCK_AFTER_S", 1000.0)  # a busy machine takes long to start a browser
    program = find_browser()
    assert program is not None
    sink.write(seen(0, PERSON, presence=0.93), frame(0))
    with browser_tab(program, tmp_path / "profile") as tab:
        tab.open(f"http://127.0.0.1:{server.port}/")
        verdict = "document.querySelector('#verdict strong').textContent"
        tab.wait_for(f"{verdict} === 'pedestrian'")
        assert tab.value("document.getElementById('count').textContent") == "1"
        assert tab.value("document.getElementById('presence').textContent") == "0.93"
        tab.wait_for("document.getElementById('live').naturalWidth === 64")  # a single picture is enough
        tab.wait_for("document.getElementById('cover').hidden")
        sink.write(lost(2), NO_SIGNAL)
        tab.wait_for(f"{verdict} === 'unknown'")
        assert tab.value("document.getElementById('cover').textContent") == "no signal"
        assert tab.value("document.getElementById('count').textContent") == "\u2013"
        sink.write(seen(3), frame(3))
        tab.wait_for(f"{verdict} === 'clear'")
        server.close()
        tab.wait_for("document.getElementById('cover').textContent === 'no connection to Kestrel'")
        assert tab.value(verdict) == "unknown"
        assert [p for p in tab.problems if "ERR_CONNECTION_REFUSED" not in p and "INCOMPLETE" not in p] == []
