"""A file that is there whole or not at all, also where the program is killed: written beside its place, renamed."""

from contextlib import suppress
from pathlib import Path


def write_whole(path: Path, content: bytes | str) -> None:
    """Write `content`, text as UTF-8; what lay at `path` stays until all of it is written. Raises OSError."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise
