"""A real MQTT broker for the tests: Mosquitto on 127.0.0.1, and a client that listens."""

import contextlib
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.ffmpeg import free_port
from tests.servers.process import ServerProcess

PROGRAM = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


def why_not() -> str:
    """Why there can be no broker here; empty where there can."""
    return "" if PROGRAM is not None else "mosquitto is missing: apt-get install mosquitto"


@dataclass
class Broker:
    """Started, stopped, frozen at will, always on the same port."""

    folder: Path
    port: int = field(default_factory=free_port)
    settings: tuple[str, ...] = ("allow_anonymous true",)
    process: ServerProcess | None = None

    def start(self) -> None:
        """Until it listens."""
        assert PROGRAM is not None
        config = self.folder / "mosquitto.conf"
        config.write_text("\n".join(("user root", f"listener {self.port} 127.0.0.1", *self.settings, "")))
        self.process = ServerProcess([PROGRAM, "-c", str(config)], stdout=subprocess.DEVNULL)
        wait_until(self._listens)

    def stop(self) -> None:
        """At once, frozen or not."""
        if self.process is not None:
            self.process.kill()
            self.process = None

    def freeze(self) -> None:
        """Its connections stay open, and nothing comes."""
        assert self.process is not None
        self.process.freeze()

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False


@contextlib.contextmanager
def running_broker(folder: Path, *settings: str) -> Iterator[Broker]:
    broker = Broker(folder, settings=settings or ("allow_anonymous true",))
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


class Listener:
    """Everything that is said under kestrel/, in order, as `(topic, text)` pairs; `retained` are the old news."""

    def __init__(self, port: int) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.heard: list[str] = []
        self.retained: dict[str, str] = {}
        self._ready = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe("kestrel/#", qos=1)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._hear
        self._client.connect_async("127.0.0.1", port)
        self._client.loop_start()
        assert self._ready.wait(20)

    def _hear(self, client: object, data: object, message: object) -> None:
        topic, text = message.topic, message.payload.decode()  # type: ignore[attr-defined]
        if message.retain:  # type: ignore[attr-defined]
            self.retained[topic] = text
        self.heard.append(f"{topic} {text}")

    def wait_for(self, *parts: str) -> str:
        """The first message that holds all of the parts."""

        def found() -> list[str]:
            return [line for line in list(self.heard) if all(part in line for part in parts)]

        wait_until(lambda: bool(found()))
        return found()[0]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def wait_until(reached: Callable[[], bool], within_s: float = 20.0) -> None:
    ends = time.monotonic() + within_s
    while not reached():
        assert time.monotonic() < ends, "never reached"
        time.sleep(0.02)
