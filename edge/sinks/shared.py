"""What all sources of one process share: the HTTP server and the MQTT connection, opened before anything else."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge.records import Summary
from edge.sinks.address import Address
from edge.sinks.board import SinkState
from edge.sinks.sink import Sink

if TYPE_CHECKING:  # a server and TLS are 6 MB: whoever wants neither is spared them
    from edge.sinks.http_server import HttpServer
    from edge.sinks.mqtt import MqttConnection, MqttOptions


@dataclass(frozen=True, slots=True)
class SharedOptions:
    """What the user asked for; None: no such output."""

    http: Address | None = None
    http_token_file: Path | None = None
    mqtt: "MqttOptions | None" = None


@dataclass(frozen=True, slots=True)
class SharedOutputs:
    """The open ones."""

    http: "HttpServer | None" = None
    mqtt: "MqttConnection | None" = None
    sources: int = 1  # how many share them: where several do, each has a topic of its own
    quiet_s: float = 0.0  # how long a live source may give no record before its signal counts as lost

    def sinks(self, source: str, others: Callable[[], Sequence[SinkState]]) -> list[Sink]:
        """One source's part of them; `others` is asked how its other outputs do."""
        sinks: list[Sink] = []
        if self.http is not None:
            from edge.sinks.http import HttpSink

            sinks.append(HttpSink(self.http, source, lambda: [*others(), *self._states()], self.quiet_s))
        if self.mqtt is not None:
            from edge.sinks.mqtt import MqttSink

            sinks.append(MqttSink(self.mqtt, source if self.sources > 1 else None, quiet_s=self.quiet_s))
        return sinks

    def _states(self) -> list[SinkState]:
        return [] if self.mqtt is None else [self.mqtt.how_it_does]

    def tell_lost(self, source: str, failure: Summary) -> None:
        """Show a source that could not even begin as lost, like one that failed later."""
        if self.http is not None and source not in self.http.boards:
            from edge.sinks.http import HttpSink

            with HttpSink(self.http, source) as sink:
                sink.write(failure, None)
        if self.mqtt is not None:
            from edge.sinks.mqtt import MqttSink

            MqttSink(self.mqtt, source).close()  # a state of an earlier run does not stand any longer


@contextmanager
def open_shared(options: SharedOptions, *, sources: int = 1, quiet_s: float = 0.0) -> Iterator[SharedOutputs]:
    """Listen and connect for that many sources, and say goodbye at the end.

    Raises:
        UnusableInputError: the address cannot be taken, or the package for MQTT is missing.
        ProcessingError: this machine does not have the address, at boot perhaps not yet.
    """
    with ExitStack() as stack:
        http = mqtt = None
        if options.http is not None:
            from edge.sinks.http_server import HttpServer

            http = stack.enter_context(HttpServer(options.http, options.http_token_file))
            place = Address(options.http.host, http.port)
            print(f"page: http://{place}/", file=sys.stderr, flush=True)  # standard output may be for records
        if options.mqtt is not None:
            from edge.sinks.mqtt import MqttConnection

            mqtt = stack.enter_context(MqttConnection(options.mqtt))
        yield SharedOutputs(http, mqtt, sources, quiet_s)
