"""Figures as files and tables show them; None is a figure that nobody can tell."""


def rounded(value: float | None) -> float | None:
    """For JSON."""
    return None if value is None else round(value, 4)


def text_of(value: float | None, digits: int = 3) -> str:
    """For a table."""
    return "-" if value is None else f"{value:.{digits}f}"
