"""Which losses a step consists of, and at which weight; what a user asked for, checked against what there is to ask."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from edge.errors import InvalidValueError

FROM_TEACHER = ("soft", "hard", "soft_box", "feature")
FROM_EXTRA = ("extra", "extra_box")
MOST_DISTILLED = 0.5  # of the gradient; more, and the labels are no longer what is learnt


@dataclass(frozen=True, slots=True)
class LossSettings:
    """Weights of the losses; 0 leaves one out. Distillation should not outweigh the labels.

    Those of a teacher, or of an extra teacher, count only where there is one.
    """

    box: float = 5.0
    soft: float = 0.5
    soft_box: float = 2.0
    temperature: float = 2.0  # of the soft targets
    hard: float = 0.0
    feature: float = 0.0
    extra: float = 0.5  # heat of an extra teacher's scored boxes
    extra_box: float = 1.0

    def __post_init__(self) -> None:
        for name in ("box", *FROM_TEACHER, *FROM_EXTRA):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidValueError(name, "at least 0", getattr(self, name))
        if not 0 < self.temperature < math.inf:
            raise InvalidValueError("temperature", "positive", self.temperature)
        if self.soft and self.hard:
            raise InvalidValueError(
                "hard",
                f"0 where soft is {self.soft:g}",
                self.hard,
                "both teach the heat map, one the teacher's belief, the other its decision; choose one",
            )

    def of(self, names: tuple[str, ...]) -> dict[str, float]:
        """The weights of those losses."""
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class AskedLosses:
    """What the user said; None where nothing was said."""

    soft: float | None = None
    hard: float | None = None
    soft_box: float | None = None
    feature: float | None = None
    temperature: float | None = None
    extra: float | None = None
    extra_box: float | None = None

    def of(self, names: tuple[str, ...]) -> dict[str, float]:
        """Those of `names` that were given."""
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


def settle(asked: AskedLosses, *, teacher: bool, extra: bool) -> LossSettings:
    """The losses of a run with or without a teacher, with or without an extra teacher.

    Raises:
        InvalidValueError: a loss without what it learns from, a teacher that teaches nothing, or two losses that
            contradict each other.
    """
    from_teacher, from_extra = asked.of((*FROM_TEACHER, "temperature")), asked.of(FROM_EXTRA)
    for given, there, option in ((from_teacher, teacher, "--teacher"), (from_extra, extra, "--extra-teacher")):
        useless = next((name for name, value in given.items() if value), None)
        if useless and not there:
            reason = "a loss (or its temperature) that needs somebody to learn from"
            raise InvalidValueError(f"--{_dashed(useless)}", f"left out without {option}", given[useless], reason)
    if from_teacher.get("hard") and "soft" not in from_teacher:
        from_teacher["soft"] = 0.0
    settings = LossSettings(**from_teacher, **from_extra)
    if "temperature" in from_teacher and not settings.soft:
        raise InvalidValueError(
            "--temperature", "left out without soft targets", settings.temperature, "it smooths nothing else"
        )
    require_something_to_learn(settings, teacher=teacher, extra=extra)
    return settings


def require_something_to_learn(settings: LossSettings, *, teacher: bool, extra: bool) -> None:
    """A teacher that is asked at every step must teach.

    Raises:
        InvalidValueError: all losses of a teacher, or of an extra teacher, have the weight 0.
    """
    for there, names, who in ((teacher, FROM_TEACHER, "a teacher"), (extra, FROM_EXTRA, "an extra teacher")):
        if there and not any(settings.of(names).values()):
            raise InvalidValueError(
                ", ".join(map(_dashed, names)),
                f"positive, one at least, with {who}",
                tuple(settings.of(names).values()),
                "leave the teacher out, or let it teach",
            )


def distilled_share(means: Mapping[str, float]) -> float:
    """What all that is no label has of the gradient, 0..1, from an epoch's means with their `share_` of each loss."""
    names = (*FROM_TEACHER, *FROM_EXTRA)
    return sum(means.get(f"share_{name}", 0.0) for name in names)


def _dashed(name: str) -> str:
    return name.replace("_", "-")
