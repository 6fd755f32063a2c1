"""The HTTP server for all sources of one process: bounded in clients, in time, and in memory.

A client that never reads, sends half a request, or comes a thousand times costs a slot for some seconds, and the loop
nothing at all: it only ever puts records on a board.
"""

import contextlib
import errno
import socket
import threading
import time
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Self

from edge.errors import InvalidValueError, ProcessingError
from edge.sinks.address import Address, read_secret
from edge.sinks.board import Board
from edge.sinks.sink import reason

MOST_CLIENTS = 24
MOST_STREAMS = 12  # so that a health check always finds a slot
CLIENT_TIMEOUT_S = 5.0  # for one piece that is sent, for one read
REQUEST_WITHIN_S = 10.0
_SEND_BUFFER_BYTES = 256 * 1024
_TOKEN_MIN_LENGTH = 16
_NOT_YET = (errno.EADDRNOTAVAIL, socket.EAI_AGAIN)  # no such address, or nobody to ask for it: that may pass
_BUSY = b"HTTP/1.0 503 Service Unavailable\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\ntoo many clients\n"


class HttpServer:
    """Serves the boards that are added to it, until closed."""

    def __init__(self, address: Address, token_file: Path | None = None) -> None:
        """Listen at once.

        Raises:
            InvalidValueError: the address is taken, or can be reached from outside without a token; the token's file
                cannot be read, or it is too short.
            ProcessingError: this machine does not have the address, at boot perhaps not yet: a service tries again.
        """
        token = None if token_file is None else read_secret("http_token_file", token_file).strip()
        if token is not None and len(token) < _TOKEN_MIN_LENGTH:
            raise InvalidValueError(
                "http_token_file", f"a token of at least {_TOKEN_MIN_LENGTH} characters", f"{len(token)} characters"
            )
        if token is None and not address.is_loopback:
            raise InvalidValueError(
                "http", "an address of this machine alone where there is no --http-token-file", str(address)
            )
        self.token = token
        self.boards: dict[str, Board] = {}  # replaced as a whole: readers need no lock
        self._boards_change = threading.Lock()  # sources come and go in threads of their own
        self.closing = threading.Event()
        self.streams = threading.BoundedSemaphore(MOST_STREAMS)
        self.local_only = address.is_loopback
        try:
            self._server = _Server(address, self)
        except OSError as error:
            if error.errno in _NOT_YET:
                advice = "wait until the network is up, or listen at another address"
                raise ProcessingError(f"http cannot listen at {address}: {reason(error)}; {advice}") from None
            raise InvalidValueError("http", "a free address of this machine", str(address), reason(error)) from None
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.25,), name="http", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that it listens on, chosen by the system where 0 was asked for."""
        return int(self._server.server_address[1])

    def add(self, board: Board) -> None:
        """Show one more source."""
        with self._boards_change:
            boards = {**self.boards, board.name: board}
            self.boards = {name: boards[name] for name in sorted(boards)}  # the first one is the default

    def remove(self, board: Board) -> None:
        """Show a source no longer."""
        with self._boards_change:
            self.boards = {name: shown for name, shown in self.boards.items() if shown is not board}

    def close(self) -> None:
        """Stop listening and let the clients go; a second call does nothing."""
        if self.closing.is_set():
            return
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._server.drop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    """Threads for a bounded number of clients; whoever does not finish its request in time is cut off."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: Address, owner: HttpServer) -> None:
        from edge.sinks.http_handler import Handler

        self.owner = owner
        self.address_family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self._slots = threading.BoundedSemaphore(MOST_CLIENTS)
        self._clients: dict[socket.socket, float] = {}  # when its request must be complete
        self._lock = threading.Lock()
        super().__init__((address.host, address.port), Handler)

    def server_bind(self) -> None:
        """Bind without the look-up of our own name, which can take seconds where there is no name server."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        """Serve in a thread where there is a slot, else say so at once."""
        if not self._slots.acquire(blocking=False):
            with contextlib.suppress(OSError):
                request.setblocking(False)
                request.send(_BUSY)
            self.shutdown_request(request)
            return
        with self._lock:
            self._clients[request] = time.monotonic() + REQUEST_WITHIN_S
        try:
            request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
            super().process_request(request, client_address)
        except BaseException:  # no thread to spare: who asks later shall find the slot free
            self._give_back(request)
            raise

    def process_request_thread(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        """As inherited, and give the slot back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._give_back(request)

    def _give_back(self, request: socket.socket) -> None:
        with self._lock:
            self._clients.pop(request, None)
        self._slots.release()

    def request_complete(self, request: socket.socket) -> None:
        """The client has sent its request: from here on every piece has a time-out of its own."""
        with self._lock:
            if request in self._clients:
                self._clients[request] = float("inf")

    def service_actions(self) -> None:
        """Cut off whoever takes too long to ask."""
        now = time.monotonic()
        with self._lock:
            late = [client for client, until in self._clients.items() if until < now]
        for client in late:
            _cut(client)

    def drop_all(self) -> None:
        """Cut off everybody."""
        with self._lock:
            clients = list(self._clients)
        for client in clients:
            _cut(client)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients come and go; that is no error of ours."""


def _cut(client: socket.socket) -> None:
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)
