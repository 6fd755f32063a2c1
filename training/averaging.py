"""One network whose weights are the mean of several that learnt on from one start; as fast as each, and steadier.

What each run learnt by chance differs and falls out of the mean, so it holds up better on other places: model soups
(Wortsman et al., arXiv 2203.05482), and the mean of before and after learning on (arXiv 2109.01903).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from edge.errors import InvalidValueError, UnusableInputError
from training.checkpoints import Checkpoint
from training.history import entries, learnt_on


def average(checkpoints: Sequence[Checkpoint], last_share: float | None = None) -> Checkpoint:
    """The mean of networks of one architecture; it is called, and was trained, as the last of them.

    Args:
        checkpoints: Of one kind, architecture and modality.
        last_share: Of the last one, in 0 to 1; the others share the rest equally. None: all have the same share.

    Raises:
        UnusableInputError: fewer than two, or they are not of one architecture and modality.
        InvalidValueError: `last_share` is out of range.
    """
    checkpoints = [one.finished() if one.progress else one for one in checkpoints]
    if len(checkpoints) < 2:
        raise UnusableInputError(f"CHECKPOINT must be given at least twice, got {len(checkpoints)}; name another run's")
    last_share = 1 / len(checkpoints) if last_share is None else last_share
    if not 0 < last_share < 1:
        raise InvalidValueError("share", "between 0 and 1", last_share)
    *others, last = checkpoints
    _refuse_strangers(last, others)
    share = (1 - last_share) / len(others)
    return dataclasses.replace(
        last,
        averaged={
            name: _mean([other.averaged[name] for other in others], share, weight, last_share)
            for name, weight in last.averaged.items()
        },
        settings={**last.settings, "history": _history(last.settings, [other.settings for other in others], share)},
        progress={},
        current={},
        optimizer={},
        adaptor={},
    )


def _refuse_strangers(last: Checkpoint, others: Sequence[Checkpoint]) -> None:
    spec = last.network().spec.to_json()  # with every default in its place, and the weights are known to fit
    for number, other in enumerate(others, start=1):
        if (other.kind, other.modality) != (last.kind, last.modality) or other.network().spec.to_json() != spec:
            raise UnusableInputError(
                f"CHECKPOINT must be networks of one architecture and modality, got number {number} "
                f"({other.kind}, {other.modality}) unlike the last ({last.kind}, {last.modality}); leave it out"
            )


def _mean(others: Sequence[Tensor], share: float, last: Tensor, last_share: float) -> Tensor:
    """Counters, as of batch norm, have no mean: the last one's stays."""
    if not last.dtype.is_floating_point:
        return last
    return sum((share * other for other in others), last_share * last)


def _history(last: Mapping[str, Any], others: Sequence[Mapping[str, Any]], share: float) -> list[Mapping[str, Any]]:
    *before, chapter = entries(last)
    with_others = [
        {
            "share": share,
            "step": other.get("step"),
            "seed": other.get("train", {}).get("seed"),
            "learnt_on": sorted(learnt_on(other)),
        }
        for other in others
    ]
    return [*before, {**chapter, "mean_with": with_others}]
