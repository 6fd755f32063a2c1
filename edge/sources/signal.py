"""When a live source has a signal, and when it is tried again: rules alone, no clock, no process.

    opening --picture--> streaming --no frame, or a failure--> waiting --back-off is over--> opening --> ...

A `Link` is where a source stands; every function takes one and gives the next. `lost_since_s` says since when there is
no signal; it is set at a failure, or where no frame came for `stall_after_s`, and cleared by the next picture.
All times are seconds of one monotonic clock.
"""

from dataclasses import dataclass, replace
from typing import Literal

from edge.errors import InvalidValueError

REPORT_EVERY_S = 1.0
BACKOFF_FIRST_S, BACKOFF_MOST_S = 1.0, 30.0
BLACK_AFTER_S = 2.0
OPENING_PATIENCE_S = 20.0  # connecting, probing, and waiting for the first keyframe
_ANSWER_GRACE_S = 1.0  # the capture process needs a moment to answer after a long recognition


@dataclass(frozen=True, slots=True)
class SignalRules:
    """After which time a source without a frame has no signal, a source that does not come back ends the run (None:
    never), and a picture that does not change is taken for a frozen one."""

    stall_after_s: float = 3.0
    max_outage_s: float | None = None
    frozen_after_s: float = 5.0

    def __post_init__(self) -> None:
        for name in ("stall_after_s", "max_outage_s", "frozen_after_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InvalidValueError(name.removesuffix("_s").replace("_", "-"), "above 0 s", value)


@dataclass(frozen=True, slots=True)
class Link:
    """Where a live source stands."""

    phase: Literal["opening", "streaming", "waiting"]
    since_s: float  # start of the phase
    heard_s: float  # when its newest picture was captured; at first, when watching began
    failures: int = 0  # since the last picture
    retry_at_s: float = 0.0  # while waiting
    lost_since_s: float | None = None
    reported_s: float | None = None  # the last record without signal
    reason: str = ""


def begin(now_s: float) -> Link:
    """Before the first attempt."""
    return Link("opening", now_s, now_s)


def after_picture(link: Link, captured_s: float, now_s: float) -> Link:
    """A picture came: there is a signal."""
    since_s = link.since_s if link.phase == "streaming" else now_s
    return Link("streaming", since_s, captured_s)


def after_failure(link: Link, reason: str, now_s: float, chance: float) -> Link:
    """The attempt or the stream failed: no signal, and a new attempt after a while. `chance` in 0..1 is the jitter."""
    return replace(
        link,
        phase="waiting",
        since_s=now_s,
        failures=link.failures + 1,
        retry_at_s=now_s + backoff_s(link.failures, chance),
        lost_since_s=now_s if link.lost_since_s is None else link.lost_since_s,
        reason=reason,
    )


def after_silence(link: Link, asked_s: float, rules: SignalRules, now_s: float, chance: float) -> Link:
    """Nothing was heard up to now; a question has been open since `asked_s`."""
    quiet_s = now_s - link.heard_s
    if link.phase == "waiting":
        return link if now_s < link.retry_at_s else replace(link, phase="opening", since_s=now_s)
    if link.phase == "opening":
        if now_s - link.since_s >= max(OPENING_PATIENCE_S, rules.stall_after_s):
            return after_failure(link, f"no picture within {now_s - link.since_s:.0f} s", now_s, chance)
        if link.lost_since_s is None and quiet_s >= rules.stall_after_s:
            return replace(link, lost_since_s=now_s, reason=f"no picture for {quiet_s:.1f} s")
        return link
    answer_due = now_s - asked_s >= min(rules.stall_after_s, _ANSWER_GRACE_S)
    if quiet_s >= rules.stall_after_s and answer_due:
        return after_failure(link, f"no frame for {quiet_s:.1f} s", now_s, chance)
    return link


def backoff_s(failures: int, chance: float) -> float:
    """1, 2, 4, ... 30 s, each a quarter more or less by `chance` in 0..1, so that many boards do not come at once."""
    delay_s = BACKOFF_FIRST_S * 2.0 ** min(failures, 10) * (0.75 + 0.5 * chance)
    return min(BACKOFF_MOST_S, max(BACKOFF_FIRST_S, delay_s))


def report_is_due(link: Link, now_s: float) -> bool:
    """Whether a record without signal is to be written: at once, then one a second."""
    return link.lost_since_s is not None and (link.reported_s is None or now_s - link.reported_s >= REPORT_EVERY_S)


def after_report(link: Link, now_s: float) -> Link:
    """A record without signal was written."""
    return replace(link, reported_s=now_s)


def is_given_up(link: Link, rules: SignalRules, now_s: float) -> bool:
    """Whether the outage is longer than the user allows."""
    return (
        link.lost_since_s is not None
        and rules.max_outage_s is not None
        and now_s - link.lost_since_s >= rules.max_outage_s
    )


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Since when the pictures have been black, and all the same; None where they are not."""

    black_since_s: float | None = None
    same_since_s: float | None = None


def next_suspicion(before: Suspicion, *, black: bool, same: bool, last_s: float, now_s: float) -> Suspicion:
    """The suspicion with one more picture, captured at `now_s`; `same`: as the one captured at `last_s`, to the bit."""
    black_since_s = now_s if before.black_since_s is None else before.black_since_s
    same_since_s = last_s if before.same_since_s is None else before.same_since_s
    return Suspicion(black_since_s if black else None, same_since_s if same else None)


def after_outage(before: Suspicion, seconds: float) -> Suspicion:
    """The suspicion as if the last `seconds` had not been: what a camera shows then nobody knows."""
    return Suspicion(
        None if before.black_since_s is None else before.black_since_s + seconds,
        None if before.same_since_s is None else before.same_since_s + seconds,
    )


def fault_of(suspicion: Suspicion, now_s: float, rules: SignalRules) -> str | None:
    """Why the picture at `now_s` shows nothing that can be judged; None where it does."""
    if suspicion.black_since_s is not None and now_s - suspicion.black_since_s >= BLACK_AFTER_S:
        return "the picture is black"
    if suspicion.same_since_s is not None and now_s - suspicion.same_since_s >= rules.frozen_after_s:
        return "the picture is frozen"
    return None
