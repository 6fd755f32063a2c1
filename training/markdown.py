"""Pieces of Markdown that cards are made of."""

from collections.abc import Sequence


def bullets(lines: Sequence[str]) -> str:
    """A list of one item a line."""
    return "\n".join(f"- {line}" for line in lines)


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A table; bars inside of cells are kept as text."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in lines)
