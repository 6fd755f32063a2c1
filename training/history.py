"""The history of a run: its settings at every start that changed them. Resumed runs may have had other teachers before.

A checkpoint's settings are those of the last start, plus `history`: one entry a change, each with `from_step`. A run
that learns on from a model takes over its history; `before` tells how many steps and seconds that one had learnt.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from training.loss_settings import FROM_EXTRA, FROM_TEACHER

Settings = Mapping[str, Any]


def entries(settings: Settings) -> tuple[Settings, ...]:
    """The history of a checkpoint's settings, oldest first; runs from before it was kept have one entry."""
    kept: Sequence[Settings] = settings.get("history", ())
    plain = {k: v for k, v in settings.items() if k not in ("history", "before", "step", "seconds")}
    return tuple(kept) or ({"from_step": 0, **plain},)


def with_start(previous: Settings | None, settings: Settings, step: int) -> dict[str, Any]:
    """Settings to store for a run that starts, or goes on, at its own `step`."""
    previous = previous or {}
    before = previous.get("before", {})  # of the model that it learns on from
    chapters = list(entries(previous)) if previous else []
    if not chapters or settings != {k: v for k, v in chapters[-1].items() if k != "from_step"}:
        chapters.append({"from_step": step + before.get("step", 0), **settings})
    return {**settings, **({"before": before} if before else {}), "history": chapters}


def taken_over(model: Settings) -> dict[str, Any]:
    """What a run that learns on from a model of these settings stores of it, until it starts."""
    return {"history": list(entries(model)), "before": {name: model.get(name, 0) for name in ("step", "seconds")}}


def learnt_on(settings: Settings) -> set[str]:
    """Names of the data sets that a model, or any network of a teacher, has learnt on."""
    chapters = [chapter for one in settings.get("members", (settings,)) for chapter in entries(one)]
    own = {name for chapter in chapters for name in str(chapter.get("dataset", "")).split("+")}
    mixed_in = {name for chapter in chapters for other in chapter.get("mean_with", ()) for name in _of_other(other)}
    return (own | mixed_in) - {""}


def _of_other(mean_with: Settings) -> Iterable[str]:
    """What a network had learnt on whose weights averaging.py mixed in; older files do not tell."""
    return map(str, mean_with.get("learnt_on", ()))


def learnt_warning(names: Iterable[str], judged: Iterable[str]) -> tuple[str, ...]:
    """What to say of figures on data sets that a model has learnt on, by their names."""
    both = sorted({*names} & {*judged})
    return tuple(f"it has learnt on {name}, so what is measured there says nothing of other pictures" for name in both)


def told(settings: Settings) -> tuple[str, ...]:
    """One sentence a chapter, for a card."""
    chapters = entries(settings)
    ends = [str(after["from_step"]) for _, after in pairwise(chapters)] + [str(settings.get("step", "the end"))]
    return tuple(
        f"Steps {chapter['from_step']} to {end}: {_learnt(chapter)}"
        for chapter, end in zip(chapters, ends, strict=True)
    )


def _learnt(chapter: Settings) -> str:
    train, losses = chapter.get("train", {}), chapter.get("losses", {})
    taught = [f"the teacher `{chapter['teacher']}`"] if chapter.get("teacher") else []
    taught += [f"the predictions `{chapter['extra_teacher']}`"] if chapter.get("extra_teacher") else []
    counted = ["box", *(FROM_TEACHER if chapter.get("teacher") else ())]
    counted += FROM_EXTRA if chapter.get("extra_teacher") else ()
    weights = ", ".join(f"{name} {losses[name]:g}" for name in counted if losses.get(name))
    teachers = f" and {' and '.join(taught)}" if taught else " alone"
    mistakes = f", again and again at the mistakes of `{chapter['mistakes_of']}`" if chapter.get("mistakes_of") else ""
    return (
        f"labels of {chapter.get('dataset', '?')}{teachers} (weights: {weights or 'not stated'}){mistakes}, "
        f"{train.get('batch_size', '?')} crops a batch, learning rate {train.get('learning_rate', '?')}, "
        f"seed {train.get('seed', '?')}{_mixed(chapter)}."
    )


def _mixed(chapter: Settings) -> str:
    """What averaging.py did after the chapter."""
    if "mean_share" in chapter:  # in colour's small of version 6, which was averaged before averaging.py
        return f"; of the weights, {chapter['mean_share']:g} is from after and the rest from before"
    others = [
        f"{other['share']:.2g} of the weights after {other.get('step') or '?'} steps with seed {other.get('seed', '?')}"
        for other in chapter.get("mean_with", ())
    ]
    return f"; then the mean of the rest with {' and '.join(others)}" if others else ""
