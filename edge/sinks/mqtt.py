"""MQTT: whether Kestrel is there, what it sees now, and what changes, for home automation and ground stations.

`kestrel/<id>/available` is `online` or `offline`, the latter also as the last will, so that it is said even by a board
that lost its power. `kestrel/<id>/state` is the latest state, `kestrel/<id>/events` what changed; both are JSON. With
several sources in one process theirs are `kestrel/<id>/<source>/state` and `/events`. The network has a thread of its
own: nothing here waits for the broker.
"""

import json
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from edge.errors import InvalidValueError, UnusableInputError
from edge.records import Event, Frame, FrameRecord, Header, Record, Signal, Verdict
from edge.sinks.address import Address, read_secret
from edge.sinks.board import STUCK_AFTER_S, SinkState
from edge.sinks.sink import Sink, reason, say_at_once

if TYPE_CHECKING:
    from paho.mqtt.client import Client

USER_VARIABLE, PASSWORD_VARIABLE = "KESTREL_MQTT_USER", "KESTREL_MQTT_PASSWORD"
STATE_EVERY_S = 1.0
GOODBYE_WITHIN_S = 0.8
_LOOK_EVERY_S = 1.0
_KEEPALIVE_S = 10
_RECONNECT_MOST_S = 30
_MOST_EVENTS = 256  # that wait for a broker that is away


@dataclass(frozen=True, slots=True)
class Login:
    """User name and password; the latter is in no text made of this."""

    user: str
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class MqttOptions:
    """Which broker, as whom, and how it is trusted."""

    broker: Address
    device: str
    login: Login | None = None
    tls: bool = False
    ca_file: Path | None = None  # None: the system's

    def __post_init__(self) -> None:
        if self.device != topic_word(self.device):
            raise InvalidValueError(
                "mqtt_id", "letters, digits, - _ and . alone", self.device, f"for example {topic_word(self.device)}"
            )


def topic_word(text: str) -> str:
    """`text` as one level of a topic."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-") or "kestrel"


def default_device() -> str:
    """The host's name as a word of a topic."""
    return topic_word(socket.gethostname())


def find_login(file: Path | None, environment: Mapping[str, str] = os.environ) -> Login | None:
    """From the file, first line user name, second line password; else from the environment; None where neither has it.

    Raises:
        InvalidValueError: the file cannot be read or is empty; the environment has a password without a user name.
    """
    if file is not None:
        user, _, rest = read_secret("mqtt_login_file", file).partition("\n")
        return Login(user.strip("\r"), rest.splitlines()[0] if rest else None)
    name, password = environment.get(USER_VARIABLE), environment.get(PASSWORD_VARIABLE)
    if password is not None and not name:
        raise InvalidValueError(USER_VARIABLE, f"set where {PASSWORD_VARIABLE} is", name)
    return Login(name, password) if name else None


class MqttConnection:
    """One connection for all sources of a process. It comes back by itself, for ever."""

    def __init__(self, options: MqttOptions) -> None:
        """Begin to connect; a broker that is away is no error.

        Raises:
            UnusableInputError: the package paho-mqtt is not installed, or a certificate cannot be read.
        """
        self.warnings: list[str] = []
        self.root = f"kestrel/{options.device}"
        self._options = options
        self._lock = threading.Lock()
        self._states: dict[str, str] = {}  # the latest of each topic, said anew to a broker that returns
        self._lost_events = self._waiting_events = self._failures = 0
        self._closed = False
        self._client = _make_client(options)
        self._client.will_set(self._available, "offline", qos=1, retain=True)
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        if options.login is not None and options.login.password and not (options.tls or options.broker.is_loopback):
            self._warn("MQTT: the password goes over the network unencrypted; add --mqtt-tls")
        self._client.connect_async(options.broker.host, options.broker.port, keepalive=_KEEPALIVE_S)
        self._client.loop_start()

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted us."""
        return bool(self._client.is_connected())

    @property
    def how_it_does(self) -> SinkState:
        """For page and metrics: events lost, attempts and connections that failed, and whether the broker is away."""
        return SinkState("mqtt", self._lost_events, self._failures, not self.connected)

    def state(self, topic: str, payload: str) -> None:
        """Retained; of those that come while the broker is away only the latest is said."""
        with self._lock:  # also while it is sent, or an older one could come after it
            self._states[topic] = payload
            if self.connected:
                self._client.publish(topic, payload, qos=0, retain=True)

    def event(self, topic: str, payload: str) -> None:
        """Waits for a broker that is away, together with a bounded number of others."""
        code = self._client.publish(topic, payload, qos=1).rc
        with self._lock:
            if code != _QUEUE_FULL:
                self._waiting_events += not self.connected
            else:
                self._lost_events += 1
                if self._lost_events == 1:
                    say_at_once("MQTT: the broker is away for too long; events are lost and counted")
                note = f"MQTT: {self._lost_events} events were not sent, since the broker was away for too long"
                self.warnings[:] = [*(w for w in self.warnings if "events were not sent" not in w), note]

    def close(self) -> None:
        """Say goodbye, within a bounded time; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        if self.connected:
            goodbye = self._client.publish(self._available, "offline", qos=1, retain=True)
            try:
                goodbye.wait_for_publish(GOODBYE_WITHIN_S)
            except (RuntimeError, ValueError):
                self._warn("MQTT: the broker did not hear our goodbye; its last will says it")
        elif self._waiting_events:
            say_at_once(f"MQTT: the broker is away at the end; events that it never heard of: {self._waiting_events}")
        self._client.disconnect()
        # A thread that is stuck in a connection attempt is left behind: it dies with the process.
        stopping = threading.Thread(target=self._client.loop_stop, daemon=True)
        stopping.start()
        stopping.join(GOODBYE_WITHIN_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _available(self) -> str:
        return f"{self.root}/available"

    def _on_connect(self, client: "Client", data: object, flags: object, code: Any, properties: object) -> None:  # noqa: ARG002
        """In the network's thread, after each connection."""
        if code.is_failure:
            self._failed(f"MQTT: the broker {self._options.broker} refuses us: {code}; trying again")
            return
        client.publish(self._available, "online", qos=0, retain=True)
        with self._lock:
            self._waiting_events = 0
            for topic, payload in self._states.items():
                client.publish(topic, payload, qos=0, retain=True)

    def _on_connect_fail(self, client: "Client", data: object) -> None:  # noqa: ARG002
        error = sys.exception()  # paho asks while it handles it: the handshake of TLS fails here, too
        why = f": {reason(error)}" if isinstance(error, OSError) else ""
        self._failed(f"MQTT: the broker {self._options.broker} cannot be reached{why}; trying again")

    def _on_disconnect(self, client: "Client", data: object, flags: object, code: Any, properties: object) -> None:  # noqa: ARG002
        if not self._closed and code.is_failure:
            self._failed(f"MQTT: the broker {self._options.broker} went away ({code}); trying again")

    def _failed(self, text: str) -> None:
        self._failures += 1
        self._warn(text)

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)
            say_at_once(text)


class MqttSink(Sink):
    """One source's state and events on a shared connection.

    The broker keeps the latest state for whoever asks later, so a thread takes it back where nobody looks any more.
    """

    def __init__(
        self,
        connection: MqttConnection,
        source: str | None = None,
        every_s: float = STATE_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
        quiet_s: float = 0.0,
    ) -> None:
        """`source` is a level of the topic where several sources share the connection; it may be quiet for so long."""
        self._connection = connection
        self._topic = connection.root if source is None else f"{connection.root}/{topic_word(source)}"
        self._every_s = every_s
        self._clock = clock
        self._header: Header | None = None
        self._said: tuple[Signal, Verdict] | None = None
        self._said_at = 0.0
        self._alive_at = clock()
        self._stuck_after_s = STUCK_AFTER_S + quiet_s
        self._lock = threading.Lock()
        self._over = threading.Event()

    @property
    def warnings(self) -> list[str]:  # type: ignore[override]
        """Those of the connection."""
        return self._connection.warnings

    def write(self, record: Record, frame: Frame | None) -> None:  # noqa: ARG002
        """A new verdict or signal is said at once, everything else once a second."""
        if isinstance(record, Header):
            self._header = record
            self._take_back()  # what a run before this one left behind
            threading.Thread(target=self._watch, name="mqtt state", daemon=True).start()
        elif isinstance(record, Event):
            self._connection.event(f"{self._topic}/events", json.dumps(record.to_json()))
        elif isinstance(record, FrameRecord):
            with self._lock:
                self._alive_at = now = self._clock()
                if (record.signal, record.verdict) != self._said or now - self._said_at >= self._every_s:
                    self._said, self._said_at = (record.signal, record.verdict), now
                    self._say(record)

    def skip(self, frame: Frame) -> None:  # noqa: ARG002
        """A skipped frame has no state, but is a sign of life."""
        with self._lock:
            self._alive_at = self._clock()

    def close(self) -> None:
        """Nobody looks any more. The connection stays for the others."""
        if not self._over.is_set():
            self._over.set()
            self._take_back()

    def _watch(self) -> None:
        """In a thread of its own: a loop that is stuck cannot say so."""
        while not self._over.wait(_LOOK_EVERY_S):
            with self._lock:
                stuck = self._said is not None and self._clock() - self._alive_at > self._stuck_after_s
            if stuck:
                self._take_back()

    def _take_back(self) -> None:
        """What is retained must not go on saying clear."""
        with self._lock:
            self._said = None
            self._say(FrameRecord.unseen(0))

    def _say(self, record: FrameRecord) -> None:
        self._connection.state(f"{self._topic}/state", json.dumps(state_json(record, self._header)))


def state_json(record: FrameRecord, header: Header | None) -> dict[str, Any]:
    """The payload of `/state`."""
    line = record.to_json()
    kept = ("signal", "verdict", "presence", "count", "time_s", "captured_at", "age_ms", "dropped")
    return {name: line.get(name) for name in kept} | {"source": None if header is None else header.source}


_QUEUE_FULL = 15  # paho's MQTT_ERR_QUEUE_SIZE


def _make_client(options: MqttOptions) -> "Client":
    try:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion
    except ModuleNotFoundError:
        raise UnusableInputError(
            "--mqtt needs the package paho-mqtt; run `pip install 'kestrel-drone[mqtt]'`"
        ) from None
    client = Client(CallbackAPIVersion.VERSION2)
    client.reconnect_delay_set(1, _RECONNECT_MOST_S)
    client.max_queued_messages_set(_MOST_EVENTS)
    if options.login is not None:
        client.username_pw_set(options.login.user, options.login.password)
    if options.tls:
        try:
            client.tls_set(ca_certs=None if options.ca_file is None else str(options.ca_file))
        except OSError as error:  # an unreadable certificate, too: ssl.SSLError is one
            raise InvalidValueError("mqtt_ca", "a file of certificates", str(options.ca_file), reason(error)) from None
    return client
