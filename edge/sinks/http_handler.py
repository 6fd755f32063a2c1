"""What the HTTP server answers: the page, the live picture, health and metrics."""

import functools
import hmac
import json
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler
from importlib.resources import files
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, urlsplit

from edge.sinks import metrics
from edge.sinks.board import Board, Second, Snapshot
from edge.sinks.http_server import CLIENT_TIMEOUT_S

if TYPE_CHECKING:
    from edge.sinks.http_server import _Server

_BOUNDARY = "kestrel-frame"
_STREAM_STEP_S = 0.1  # at most ten pictures a second
_REPEAT_S = 0.5  # a picture comes again: browsers show one once the next begins, and clients that left are noticed
_UNHEALTHY = ("no_signal", "stuck", "lost")
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
_COOKIE = "kestrel"
_POLICY = (
    "default-src 'self'; img-src 'self' data:; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "frame-ancestors 'self'"
)


class Handler(BaseHTTPRequestHandler):
    """One connection, one answer."""

    timeout = CLIENT_TIMEOUT_S
    server_version = "kestrel"
    sys_version = ""

    @property
    def _server(self) -> "_Server":
        return cast("_Server", self.server)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged: an address may carry the token."""

    def do_HEAD(self) -> None:
        """As GET, without a body."""
        self.do_GET()

    def do_GET(self) -> None:
        """Answer, unless the client is not allowed to see it."""
        self._server.request_complete(self.connection)
        try:
            url = urlsplit(self.path)
            query = parse_qs(url.query)
        except ValueError:
            self._text(400, "this is no address")
            return
        owner = self._server.owner
        if owner.local_only and owner.token is None and not self._is_for_us():
            self._text(421, "this server answers to localhost alone; --http-token-file lets others in")
        elif url.path == "/healthz":
            self._health()
        elif owner.token is not None and "token" in query and _same(query["token"][0], owner.token):
            self._let_in(owner.token)
        elif owner.token is not None and not self._has_token(owner.token):
            self._ask_for_token(url.path)
        else:
            self._route(url.path, query.get("source", [""])[0])

    def _route(self, path: str, source: str) -> None:
        if path == "/":
            self._answer(200, "text/html; charset=utf-8", page())
        elif path == "/metrics":
            snapshots = [board.snapshot() for board in self._server.owner.boards.values()]
            self._answer(200, metrics.CONTENT_TYPE, metrics.exposition(snapshots, metrics.process_state()).encode())
        elif path == "/state.json":
            state = {"sources": [state_json(board.snapshot()) for board in self._server.owner.boards.values()]}
            self._answer(200, "application/json", json.dumps(state, allow_nan=False).encode())
        elif path in ("/snapshot.jpg", "/stream.mjpg"):
            board = self._board(source)
            if board is None:
                self._text(404, "no such source")
            elif path == "/snapshot.jpg":
                self._snapshot(board)
            else:
                self._stream(board)
        else:
            self._text(404, "there are: / /stream.mjpg /snapshot.jpg /state.json /healthz /metrics")

    def _board(self, source: str) -> Board | None:
        """The source of that name; without a name the first one."""
        boards = self._server.owner.boards
        return boards.get(source) if source else next(iter(boards.values()), None)

    def _health(self) -> None:
        """503 where any source has no signal, does not come on or was lost for good; `starting` is well."""
        found = [board.snapshot() for board in self._server.owner.boards.values()]
        status = 503 if any(s.health in _UNHEALTHY for s in found) else 200
        self._text(
            status, "\n".join(s.health if len(found) == 1 else f"{s.name}: {s.health}" for s in found) or "starting"
        )

    def _snapshot(self, board: Board) -> None:
        picture = board.picture()
        status = 503 if board.snapshot().health in (*_UNHEALTHY, "starting") else 200
        if picture is None:
            self._text(503, "no picture yet")
        else:
            self._answer(status, "image/jpeg", picture.jpeg)

    def _stream(self, board: Board) -> None:
        """Pictures for as long as the client reads them, the newest one each time."""
        owner = self._server.owner
        if not owner.streams.acquire(blocking=False):
            self._text(503, "too many streams")
            return
        try:
            self._head(200, f"multipart/x-mixed-replace; boundary={_BOUNDARY}", None)
            if self.command == "HEAD":
                return
            picture = None
            while board.name in owner.boards and not owner.closing.wait(_STREAM_STEP_S):
                newer = board.picture(-1 if picture is None else picture.number, timeout_s=_REPEAT_S)
                picture = newer or picture
                if picture is not None:
                    head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture.jpeg)}\r\n\r\n"
                    self.wfile.write(head.encode() + picture.jpeg + b"\r\n")
        except OSError:  # the client went, or did not read for too long
            self.close_connection = True
        finally:
            owner.streams.release()

    def _is_for_us(self) -> bool:
        """Whether the client called us by a local name: a foreign web page that points its own name here does not."""
        host = self.headers.get("Host")
        if host is None:
            return True
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name.lower() in _LOCAL_NAMES or name == str(self._server.server_name)

    def _has_token(self, token: str) -> bool:
        kind, _, given = self.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer" and _same(given.strip(), token):
            return True
        try:
            cookie = SimpleCookie(self.headers.get("Cookie", "")).get(_COOKIE)
        except CookieError:
            return False
        return cookie is not None and _same(cookie.value, _cookie_of(token))

    def _let_in(self, token: str) -> None:
        """The token moves from the address into a cookie, so that it does not stay in sight."""
        self.send_response(303)
        self.send_header("Location", "/")
        self.send_header("Set-Cookie", f"{_COOKIE}={_cookie_of(token)}; HttpOnly; SameSite=Strict; Path=/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _ask_for_token(self, path: str) -> None:
        if path == "/":
            self._answer(401, "text/html; charset=utf-8", _LOGIN.encode())
        else:
            self._text(401, "send the token as `Authorization: Bearer TOKEN`")

    def _text(self, status: int, text: str) -> None:
        self._answer(status, "text/plain; charset=utf-8", f"{text}\n".encode())

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self._head(status, content_type, len(body))
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: int, content_type: str, length: int | None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        if length is not None:
            self.send_header("Content-Length", str(length))
        if status == 401:
            self.send_header("WWW-Authenticate", "Bearer")
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", _POLICY)
        self.end_headers()

    def handle(self) -> None:
        """A client that goes away or is too slow ends its own connection and nothing else."""
        try:
            super().handle()
        except OSError:
            self.close_connection = True


@functools.cache
def page() -> bytes:
    """The page; all that it needs is in it."""
    return files("edge.sinks").joinpath("page.html").read_bytes()


def state_json(snapshot: Snapshot) -> dict[str, Any]:
    """What the page shows of one source."""
    latest = snapshot.latest
    event = snapshot.last_event
    return {
        "name": snapshot.name,
        "title": snapshot.title,
        "health": snapshot.health,
        "verdict": snapshot.verdict,
        "verdict_for_s": _rounded(snapshot.verdict_for_s),
        "presence": None if latest is None or snapshot.verdict == "unknown" else _rounded(latest.presence, 3),
        "count": None if latest is None or snapshot.verdict == "unknown" else latest.count,
        "fps": round(snapshot.fps, 1),
        "age_ms": None if latest is None else _rounded(latest.age_ms),
        "frames": snapshot.frames,
        "dropped": snapshot.dropped,
        "reconnects": snapshot.reconnects,
        "appeared": snapshot.appeared,
        "frame_age_s": _rounded(snapshot.frame_age_s),
        "model": None if snapshot.model is None else f"{snapshot.model.name} {snapshot.model.precision}",
        "last_event": None if event is None else {"event": event.event, "at": event.captured_at or event.time_s},
        "outputs": [{"name": sink.name, "dropped": sink.dropped, "failing": sink.failing} for sink in snapshot.sinks],
        "timeline": [_second_json(second) for second in snapshot.timeline],
    }


def _second_json(second: Second | None) -> list[object] | None:
    """`[verdict's first letter, count, presence]`."""
    return None if second is None else [second.verdict[0], second.count, _rounded(second.presence, 2)]


def _rounded(value: float | None, digits: int = 1) -> float | None:
    return None if value is None else round(value, digits)


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def _cookie_of(token: str) -> str:
    """The cookie is not the token itself, so that a stolen one does not give it away."""
    return hmac.new(token.encode(), b"kestrel page", "sha256").hexdigest()


_LOGIN = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Kestrel</title><style>body{background:#10171d;color:#e8eef2;font:16px system-ui,sans-serif;display:grid;
place-items:center;min-height:90vh}input,button{font:inherit;padding:.6em .8em;border-radius:.5em;border:1px solid
#36444f;background:#18222a;color:inherit}button{background:#f2a33a;color:#10171d;border:0}</style>
<form action="/"><input name="token" type="password" placeholder="token" aria-label="token" autofocus>
<button>Open</button></form></html>
"""
