"""What every kind of source offers, and the one form of its errors."""

from collections.abc import Iterator
from types import TracebackType
from typing import Protocol, Self

from edge.errors import SourceError
from edge.records import Frame, SourceInfo


class Source(Protocol):
    """Frames in order, each once. Iterate once, from one thread; use it as a context manager.

    `warnings` grows while reading: what was odd about the source but did not stop it.
    """

    info: SourceInfo
    warnings: list[str]
    ended_early: bool = False  # a recording that is cut short or damaged; known once iteration is over

    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None:
        """Let go of the file or device; a second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def unusable(shown: str, rule: str, advice: str) -> SourceError:
    """The error for a source that cannot be opened; `shown` has its credentials redacted already."""
    return SourceError(f"source must be {rule}, got {shown!r}; {advice}")
