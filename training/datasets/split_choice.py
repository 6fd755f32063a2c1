"""Which of several splits in one folder is read, where nobody names one."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from training.datasets.records import Dataset, DatasetError


def choose_split(place: Path, there: Sequence[str], split: str | None, usual: str | None) -> str:
    """The split that is named; else the only one, or the one that is usual for what is done.

    Raises:
        DatasetError: there is no such split, or none is named and none is usual.
    """
    if split is None and len(there) == 1:
        return there[0]
    wanted = split or usual or ""
    dated = [name for name in there if wanted and name.startswith(wanted) and name.removeprefix(wanted).isdigit()]
    for name in (wanted, "valid" if wanted == "val" else wanted, *(dated if len(dated) == 1 else ())):
        if name in there:  # Roboflow writes valid, COCO train2017
            return name
    expected = ", ".join(there)
    advice = "name one with --split" if usual is None else f"let one be called {usual}"
    raise DatasetError(f"{place}: split must be one of {expected}, got {split or usual!r}; {advice}")


def with_split(dataset: Dataset, chosen: str, there: Sequence[str], *, named: bool) -> Dataset:
    """Of several splits, which one it is: in the data set's name, and said where nobody named it."""
    if len(there) == 1:
        return dataset
    note = () if named else (f"of the splits {', '.join(there)}, {chosen} is used",)
    return dataclasses.replace(dataset, name=f"{dataset.name}-{chosen}", warnings=(*dataset.warnings, *note))
