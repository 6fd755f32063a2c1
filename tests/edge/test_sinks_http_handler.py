"""What the HTTP server makes of odd requests, and of sources that come and go."""

import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.errors import ProcessingError
from edge.sinks.address import Address
from edge.sinks.board import Board
from edge.sinks.http_server import HttpServer


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with HttpServer(Address("127.0.0.1", 0)) as server:
        yield server


@pytest.mark.parametrize(
    ("request_line", "host", "status"),
    [
        ("GET http://[ HTTP/1.1", "localhost", b"400"),
        ("GET http://[::1/healthz HTTP/1.1", "localhost", b"400"),
        ("GET /healthz HTTP/1.1", "[", b"421"),
        ("GET /healthz HTTP/1.1", "localhost:8080", b"200"),
        ("GET http://localhost/healthz HTTP/1.1", "localhost", b"200"),
    ],
)
def test_a_request_that_makes_no_sense_is_answered(
    server: HttpServer, request_line: str, host: str, status: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(f"{request_line}\r\nHost: {host}\r\n\r\n".encode())
        assert client.recv(12) == b"HTTP/1.0 " + status


def test_an_address_that_this_machine_does_not_have_yet_is_no_wrong_option(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-token-that-is-long-enough")
    with pytest.raises(
        ProcessingError, match=r"^http cannot listen at 192.0.2.1:8080: .*; wait until the network is up"
    ):
        HttpServer(Address("192.0.2.1", 8080), tmp_path / "token")


def test_sources_that_begin_at_the_same_moment_are_all_shown(server: HttpServer) -> None:
    names = [f"source-{number}" for number in range(8)]

    def begin(name: str, gate: threading.Barrier) -> None:
        gate.wait()
        server.add(Board(name))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(100):
            server.boards = {}
            gate = threading.Barrier(len(names))
            threads = [threading.Thread(target=begin, args=(name, gate)) for name in names]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert list(server.boards) == names
    finally:
        sys.setswitchinterval(before)
