"""Streams by ffmpeg: MPEG-TS sent over UDP, MPEG-TS served over TCP, MJPEG served over HTTP."""

import contextlib
import functools
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

from tests.servers.process import ServerProcess
from tests.servers.scene import Scene

_MPEG_TS = ["-c:v", "mpeg2video", "-q:v", "2", "-g", "15", "-f", "mpegts", "-flush_packets", "1"]
_MJPEG = ["-c:v", "mjpeg", "-q:v", "3", "-f", "mpjpeg", "-boundary_tag", "frame", "-flush_packets", "1"]
_HTTP_HEAD = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"

Mangle = Callable[[bytes], bytes]


def why_not() -> str:
    """Why there can be no such server here; empty where there can."""
    return "" if shutil.which("ffmpeg") else "ffmpeg is missing: apt-get install ffmpeg"


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port of 127.0.0.1 that nobody uses."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _encoder(scene: Scene, *output: str, stdout: int = subprocess.DEVNULL) -> ServerProcess:
    quiet = ["ffmpeg", "-nostdin", "-loglevel", "quiet", "-threads", "1"]
    return ServerProcess([*quiet, *scene.ffmpeg_input(), "-threads", "1", *output], stdout=stdout)


def udp_sender(scene: Scene, port: int) -> ServerProcess:
    """Sends MPEG-TS to udp://127.0.0.1:port, whether somebody listens or not."""
    return _encoder(scene, *_MPEG_TS, f"udp://127.0.0.1:{port}?pkt_size=1316")


_H264 = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "15", "-pix_fmt", "yuv420p"]


def rtmp_server(scene: Scene, port: int) -> ServerProcess:
    """Serves one client at rtmp://127.0.0.1:port/live."""
    return _encoder(scene, *_H264, "-f", "flv", "-listen", "1", f"rtmp://127.0.0.1:{port}/live")


@contextlib.contextmanager
def hls_server(scene: Scene, folder: Path) -> Iterator[str]:
    """Serves segments of a second from the folder; the URL of their list, which is there when this begins."""
    playlist = folder / "live.m3u8"
    hls = ["-f", "hls", "-hls_time", "1", "-hls_list_size", "4", "-hls_flags", "delete_segments"]
    handler = functools.partial(_Silent, directory=str(folder))
    with (
        _encoder(scene, *_H264, *hls, str(playlist)) as encoder,
        ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
    ):
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        while not playlist.exists() and encoder.process.poll() is None:  # `timeout` ends the wait
            time.sleep(0.05)
        yield f"http://127.0.0.1:{server.server_port}/{playlist.name}"
        server.shutdown()
        thread.join(10)


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        pass


class StreamServer:
    """Serves the scene to any number of clients, each by an ffmpeg of its own; use it as a context manager.

    Another `scene` changes the picture, and its size, within the connections. `mangle` sees every piece on its way:
    what it returns is sent, and an empty return hangs up.
    """

    def __init__(self, scene: Scene, kind: str, port: int = 0) -> None:
        """`kind` is tcp (MPEG-TS) or http (MJPEG)."""
        self.scene, self.kind = scene, kind
        self.mangle: Mangle = bytes
        self.port = port
        self.connections = 0
        self._frozen = threading.Event()
        self._encoders: list[ServerProcess] = []
        self._threads: list[threading.Thread] = []
        self._clients: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self.port}" if self.kind == "tcp" else f"http://127.0.0.1:{self.port}/video"

    def start(self) -> None:
        """Listen, after a stop on the same port."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        self._spawn(self._accept, self._listener)

    def stop(self) -> None:
        """Hang up on everybody and listen no more."""
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes the accept
            self._listener.close()
            self._listener = None
        for client in self._clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for encoder in self._encoders:
            encoder.kill()
        for thread in self._threads:
            thread.join(10)
        self._encoders, self._threads, self._clients = [], [], []
        self._frozen.clear()

    def freeze(self) -> None:
        """Nothing comes any more, and every connection stays open; so do new ones."""
        self._frozen.set()
        for encoder in self._encoders:
            encoder.freeze()

    def thaw(self) -> None:
        """Go on where it was."""
        self._frozen.clear()
        for encoder in self._encoders:
            encoder.thaw()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _spawn(self, work: Callable[[socket.socket], None], on: socket.socket) -> None:
        thread = threading.Thread(target=work, args=(on,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # closed by stop
            while True:
                client, _ = listener.accept()
                self.connections += 1
                self._clients.append(client)
                self._spawn(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError, ValueError):
            if self.kind == "http":
                client.recv(65536)
                client.sendall(_HTTP_HEAD)
            while self._send_scene(client, self.scene):
                pass

    def _send_scene(self, client: socket.socket, scene: Scene) -> bool:
        """Send until the scene is another one: then True, and the next encoder goes on in the same connection."""
        output = _MPEG_TS if self.kind == "tcp" else _MJPEG
        with _encoder(scene, *output, "pipe:1", stdout=subprocess.PIPE) as encoder:
            self._encoders.append(encoder)
            if self._frozen.is_set():
                encoder.freeze()
            assert encoder.process.stdout is not None
            while piece := encoder.process.stdout.read1(65536):  # type: ignore[attr-defined]
                sent = self.mangle(piece)
                if not sent:
                    return False
                client.sendall(sent)
                if self.scene != scene:
                    return True
        return False
