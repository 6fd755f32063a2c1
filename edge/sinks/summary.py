"""`summary.json`: how the run ended, with its source and model, written once the run is over."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edge.records import Frame, Header, Record, Summary
from edge.sinks.sink import Sink, broken_off, unwritable
from edge.whole_file import write_whole

Asked = Mapping[str, Any]  # option -> value, as JSON takes it
NOTHING: Asked = MappingProxyType({})


class SummarySink(Sink):
    """Writes the summary together with the header's facts. The file exists only where a run came to its summary."""

    def __init__(
        self, path: Path, source_bytes: int | None = None, clips: Path | None = None, asked: Asked = NOTHING
    ) -> None:
        """`source_bytes`: the recording's size; `clips`: the folder of its clips, None where none are made; `asked`:
        how frames were to be looked at.

        Raises:
            InvalidValueError: the folder cannot be created.
        """
        self.warnings: list[str] = []
        self._path = path
        self._source_bytes = source_bytes
        self._clips = clips
        self._asked = asked
        self._header: Header | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(path, error) from None

    def write(self, record: Record, frame: Frame | None) -> None:  # noqa: ARG002
        """Keep the header, write the summary: whole or not at all."""
        if isinstance(record, Header):
            self._header = record
        if isinstance(record, Summary):
            content = summary_json(self._header, record, self._asked, self._source_bytes, self._clips)
            try:
                write_whole(self._path, json.dumps(content, indent=2) + "\n")
            except OSError as error:
                raise broken_off(self._path, error) from None

    def close(self) -> None:
        """Nothing stays open."""


def summary_json(
    header: Header | None,
    summary: Summary,
    asked: Asked = NOTHING,
    source_bytes: int | None = None,
    clips: Path | None = None,
) -> dict[str, Any]:
    """The summary's fields, then the header's that stay true of the whole run; `source_fps` is the header's `fps`,
    since the summary's own is the speed of the run. The warnings are those of both, each once. What a later run wants
    to know: `asked`, how frames were to be looked at; of recordings `source_bytes`, whether it has the same one before
    it, and `clips`, whether there are such: a recording on which nobody appears leaves none."""
    whole = summary.to_json() | ({"asked": dict(asked)} if asked else {})
    if header is not None:
        facts = header.to_json()
        kept = ("schema", "source", "started_at", "size_wh", "model", "input_wh", "threshold", "threads")
        whole |= {name: facts[name] for name in kept} | {"source_fps": facts["fps"]}
        whole["warnings"] = list(dict.fromkeys((*header.warnings, *summary.warnings)))
    if source_bytes is not None:
        whole["source_bytes"] = source_bytes
    if clips is not None:
        whole["clips"] = str(clips)
    return whole
