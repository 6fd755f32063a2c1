"""A folder of results belongs to the settings that it was begun with: whoever goes on in it must have the same."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge.errors import UnusableInputError
from training.write_aside import write_aside


def require_as_begun(file: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """All that is set in the folder: what `file` noted there, if it is there yet, and what is new in `settings`.

    Raises:
        UnusableInputError: a setting was another.
    """
    ours: dict[str, Any] = json.loads(json.dumps(settings))
    theirs = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    for name, value in ours.items():
        if theirs.get(name, value) != value:
            raise UnusableInputError(
                f"{name} must be as the run began, {theirs[name]!r}, got {value!r}; name another folder"
            )
    return {**theirs, **ours}


def note(file: Path, settings: Mapping[str, Any]) -> None:
    """Write down what the folder was begun with."""
    write_aside(file, lambda opened: opened.write(f"{json.dumps(settings, indent=1)}\n".encode()))
