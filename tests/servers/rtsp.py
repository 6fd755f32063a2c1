"""GStreamer's RTSP server, as Debian packages it, with H.264 and on demand with a password."""

import functools
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.servers.process import ServerProcess
from tests.servers.scene import Scene

_SYSTEM_PYTHON = "/usr/bin/python3"  # where Debian's python3-gi lives
_PROGRAM = Path(__file__).with_name("rtsp_program.py")


@dataclass(frozen=True, slots=True)
class Login:
    """Who may watch; `digest` asks for HTTP digest instead of basic authentication."""

    user: str
    password: str
    digest: bool = False


class RtspServer(ServerProcess):
    """`rtsp://127.0.0.1:port/live`, ready when made. Port 0 takes a free one; name it again to restart there."""

    def __init__(self, scene: Scene, port: int = 0, login: Login | None = None) -> None:
        credentials = (
            "" if login is None else f"{'digest' if login.digest else 'basic'}\n{login.user}\n{login.password}"
        )
        super().__init__([_SYSTEM_PYTHON, str(_PROGRAM), str(port), scene.gstreamer_input()], say=credentials)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()  # `timeout` ends the wait
        if not line:
            self.kill()
            raise RuntimeError("the RTSP server did not start")
        self.port = int(line)

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/live"


@functools.cache
def why_not() -> str:
    """Why there can be no such server here; empty where there can."""
    try:
        done = subprocess.run([_SYSTEM_PYTHON, str(_PROGRAM), "--check"], capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "Debian's python3 is missing"
    packages = "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly"
    return "" if done.returncode == 0 else f"GStreamer's RTSP server is missing: apt-get install {packages}"
