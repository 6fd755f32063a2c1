"""A source on the HTTP server: its records go to a board, whose readers have threads of their own."""

from collections.abc import Callable, Sequence

from edge.records import Frame, Record
from edge.sinks.board import Board, SinkState
from edge.sinks.http_server import HttpServer
from edge.sinks.sink import Sink


class HttpSink(Sink):
    """Puts every record on a board of the server. It never waits, and it encodes nothing unless somebody looks."""

    def __init__(
        self,
        server: HttpServer,
        name: str,
        sinks: Callable[[], Sequence[SinkState]] = tuple,
        quiet_s: float = 0.0,
    ) -> None:
        """`name` is the source's in addresses and metrics; `sinks` is asked how the other outputs do.

        The source may be quiet for so many seconds.
        """
        self.warnings: list[str] = []
        self._server = server
        self._board = Board(name, sinks, quiet_s=quiet_s)
        server.add(self._board)

    def write(self, record: Record, frame: Frame | None) -> None:
        """Show the record."""
        self._board.observe(record, frame)

    def skip(self, frame: Frame) -> None:  # noqa: ARG002
        """The page shows frames that were judged; that others come is a sign of life."""
        self._board.skip()

    def close(self) -> None:
        """The source goes from the page, unless it was lost for good; the server goes on for the others."""
        self._board.end()
        if not self._board.lost:
            self._server.remove(self._board)
