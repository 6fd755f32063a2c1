"""The verdict: hysteresis over the presence of a video's frames; a picture is judged alone."""

from dataclasses import dataclass, replace

from edge.contract import VerdictRule
from edge.records import Event, Frame, Recognition, Verdict

_TIME_STEP_S = 1e-6  # time stamps carry rounding: 0.3 - 0.2 < 0.1
_OUTLIVED_S = 10.0  # a gap in the signal that a verdict outlives, at most
_RULE_FIELDS = ("enter", "leave", "enter_s", "leave_s")


@dataclass(frozen=True, slots=True)
class Ruling:
    """What is said of one frame, and what changed with it."""

    verdict: Verdict
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """The verdict that stands, and since when presence has spoken against it without a break."""

    verdict: Verdict = "clear"
    doubted_since_s: float | None = None


def next_standing(standing: Standing, presence: float, time_s: float, rule: VerdictRule) -> Standing:
    """The standing after one more frame, by the model's rule.

    A verdict falls once presence has spoken against it for the rule's time, at every frame; one frame that does not is
    enough to keep it. A video begins as clear.
    """
    is_clear = standing.verdict == "clear"
    if not (presence >= rule.enter if is_clear else presence < rule.leave):
        return Standing(standing.verdict)
    since_s = time_s if standing.doubted_since_s is None else standing.doubted_since_s
    if time_s - since_s + _TIME_STEP_S >= (rule.enter_s if is_clear else rule.leave_s):
        return Standing("pedestrian" if is_clear else "clear")
    return Standing(standing.verdict, since_s)


@dataclass(frozen=True, slots=True)
class VerdictOptions:
    """What the user sets of the rule; None follows the model."""

    enter: float | None = None
    leave: float | None = None
    enter_s: float | None = None
    leave_s: float | None = None

    def applied_to(self, rule: VerdictRule) -> VerdictRule:
        """The model's rule with the user's values; an `enter` below the model's `leave` takes that down with it.

        Raises:
            InvalidValueError: both do not go together, for example a `leave` above the model's `enter`.
        """
        given = {name: value for name in _RULE_FIELDS if (value := getattr(self, name)) is not None}
        if self.enter is not None and self.leave is None:
            given["leave"] = min(rule.leave, self.enter)
        return replace(rule, **given) if given else rule


class Judge:
    """Judges the frames of one source in their order.

    Without signal the verdict is unknown. The standing outlives a short gap: that is evidence neither for nor against,
    and a doubt begins anew after it. After a long one whoever was there is gone, or has appeared anew.
    Where it would be clear, but a part of the frame was not looked at, the verdict is unknown, too.
    """

    def __init__(self, rule: VerdictRule) -> None:
        self._rule = rule
        self._standing = Standing()
        self._lost_since_s: float | None = None

    def judge(self, frame: Frame, recognition: Recognition | None) -> Ruling:
        """Judge the next frame; `recognition` is None exactly where there is no picture."""
        if frame.name is not None or frame.time_s is None:  # pictures have no order in time
            return Ruling(_judge_alone(recognition, self._rule))
        events = (*self._signal_events(frame, frame.time_s), *self._forget(frame, frame.time_s))
        if recognition is None:
            self._standing = Standing(self._standing.verdict)
            return Ruling("unknown", events)
        before = self._standing
        self._standing = next_standing(before, recognition.presence, frame.time_s, self._rule)
        if self._standing.verdict == "clear" and recognition.coverage < 1:
            if before.verdict == "pedestrian":  # neither confirmed nor gone: nobody knows what is in the rest
                self._standing = before
            return Ruling("unknown", events)
        if self._standing.verdict == before.verdict:
            return Ruling(self._standing.verdict, events)
        return Ruling(self._standing.verdict, (*events, _turn(frame, frame.time_s, before)))

    def _signal_events(self, frame: Frame, time_s: float) -> tuple[Event, ...]:
        """That the signal was lost, with the reason, or is back, with the time that it was away."""
        lost_since_s = self._lost_since_s
        if frame.image is None:
            self._lost_since_s = time_s if lost_since_s is None else lost_since_s
            reason = frame.signal if frame.reason is None else f"{frame.signal}: {frame.reason}"
            return () if lost_since_s is not None else (Event.at(frame, "signal_lost", reason),)
        if lost_since_s is None:
            return ()
        return (Event.at(frame, "signal_back", f"{frame.size_wh}, after {time_s - lost_since_s:.3f} s"),)

    def _forget(self, frame: Frame, time_s: float) -> tuple[Event, ...]:
        """The first picture after a gap; that whoever stood before a long one is gone."""
        if frame.image is None or self._lost_since_s is None:
            return ()
        gap_s, self._lost_since_s = time_s - self._lost_since_s, None
        if gap_s <= _OUTLIVED_S or self._standing.verdict == "clear":
            return ()
        self._standing = Standing()
        detail = f"at some time in {gap_s:.3f} s without signal"
        return (Event.at(frame, "gone", detail),)


def _judge_alone(recognition: Recognition | None, rule: VerdictRule) -> Verdict:
    if recognition is None:
        return "unknown"
    if recognition.presence >= rule.enter:
        return "pedestrian"
    return "clear" if recognition.coverage == 1 else "unknown"


def _turn(frame: Frame, time_s: float, before: Standing) -> Event:
    """The event of a verdict that changed; `before` is what stood until then."""
    since_s = time_s if before.doubted_since_s is None else before.doubted_since_s
    detail = f"at {since_s:.3f} s; reported {time_s - since_s:.3f} s later"
    if before.verdict == "clear":
        return Event.at(frame, "appeared", f"presence rose {detail}")
    return Event.at(frame, "gone", f"presence fell {detail}")
