import numpy as np
import pytest

from edge.contract import VerdictRule
from edge.errors import InvalidValueError
from edge.records import Frame, Recognition
from edge.verdict import Judge, Standing, VerdictOptions, next_standing

RULE = VerdictRule(enter=0.6, leave=0.4, enter_s=0.2, leave_s=0.5)
IMAGE = np.zeros((1, 1, 3), np.uint8)


def recognition(presence: float, coverage: float = 1.0) -> Recognition:
    return Recognition(presence, np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0, 0, 0, coverage)


def judge_all(presences, rule=RULE, step_s=0.1, coverages=None):
    """Verdicts and events of a video; None is a frame without signal."""
    coverages = coverages or [1.0] * len(presences)
    judge, verdicts, events = Judge(rule), [], []
    for seq, presence in enumerate(presences):
        lost = presence is None
        frame = Frame(seq, None if lost else IMAGE, time_s=seq * step_s, signal="no_signal" if lost else "ok")
        ruling = judge.judge(frame, None if lost else recognition(presence, coverages[seq]))
        verdicts.append(ruling.verdict)
        events += [(event.event, round(event.time_s, 3), event.detail) for event in ruling.events]
    return verdicts, events


@pytest.mark.parametrize(
    ("presences", "verdicts"),
    [
        ([], ""),
        ([0.1], "c"),
        ([0.9], "c"),  # not for long enough
        ([0.9, 0.9, 0.9], "ccp"),
        ([0.9, 0.5, 0.9, 0.9], "cccc"),  # a break begins the time anew
        ([0.5, 0.5, 0.5, 0.5], "cccc"),  # between leave and enter nothing changes
        ([0.9, 0.9, 0.9, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5], "ccppppppp"),
        ([0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1], "ccppppppc"),
        ([0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1, 0.4, 0.1, 0.1], "ccpppppppp"),
    ],
)
def test_the_verdict_has_hysteresis_in_both_directions(presences, verdicts):
    assert "".join(verdict[0] for verdict in judge_all(presences)[0]) == verdicts


def test_without_delay_the_first_frame_decides():
    verdicts, events = judge_all([0.6, 0.39], VerdictRule(enter=0.6, leave=0.4, enter_s=0, leave_s=0))
    assert verdicts == ["pedestrian", "clear"]
    assert [event[:2] for event in events] == [("appeared", 0.0), ("gone", 0.1)]


def test_events_say_when_the_sign_was_seen_and_how_late_they_are():
    _, events = judge_all([0.1, 0.9, 0.9, 0.9, *[0.0] * 6])
    assert events == [
        ("appeared", 0.3, "presence rose at 0.100 s; reported 0.200 s later"),
        ("gone", 0.9, "presence fell at 0.400 s; reported 0.500 s later"),
    ]


def test_a_dead_stream_is_never_reported_as_clear():
    verdicts, events = judge_all([0.0, None, None, 0.0])
    assert verdicts == ["clear", "unknown", "unknown", "clear"]
    assert events == [("signal_lost", 0.1, "no_signal"), ("signal_back", 0.3, "1x1, after 0.200 s")]


def test_a_verdict_outlives_a_gap_in_the_signal():
    verdicts, events = judge_all([0.9, 0.9, 0.9, None, 0.5])
    assert verdicts == ["clear", "clear", "pedestrian", "unknown", "pedestrian"]
    assert [event[0] for event in events] == ["appeared", "signal_lost", "signal_back"]


@pytest.mark.parametrize(("after", "verdict", "told"), [(0.1, "clear", ["gone"]), (0.9, "clear", ["gone", "appeared"])])
def test_who_was_there_before_a_long_gap_is_gone(after, verdict, told):
    verdicts, events = judge_all([0.9, 0.9, 0.9, *[None] * 101, after, after, after])
    assert verdicts[104:] == [verdict, verdict, "pedestrian" if after > 0.5 else "clear"]
    assert [event[0] for event in events] == ["appeared", "signal_lost", "signal_back", *told]
    assert events[3][1:] == (10.4, "at some time in 10.100 s without signal")


@pytest.mark.parametrize(
    ("presences", "coverages", "verdicts", "events"),
    [
        ([0.1, 0.1, 0.1], [0.5, 0.9, 1.0], "uuc", []),
        ([0.9, 0.9, 0.9], [0.5, 0.9, 0.9], "uup", ["appeared"]),  # a person seen is enough, wherever
        ([0.9] * 3 + [0.1] * 8, [1.0] * 3 + [0.9] * 6 + [1.0] * 2, "ccp" + "pppppu" + "cc", ["appeared", "gone"]),
        ([0.9] * 3 + [0.1] * 7 + [0.9], [1.0] * 3 + [0.9] * 8, "ccp" + "pppppuu" + "p", ["appeared"]),
    ],
)
def test_a_frame_that_was_not_looked_at_everywhere_is_never_clear(presences, coverages, verdicts, events):
    found, said = judge_all(presences, coverages=coverages)
    assert "".join(verdict[0] for verdict in found) == verdicts
    assert [event[0] for event in said] == events


def test_a_picture_without_people_that_was_seen_in_part_is_unknown():
    judge = Judge(RULE)
    frame = Frame(0, IMAGE, name="0.png")
    assert judge.judge(frame, recognition(0.1, coverage=0.99)).verdict == "unknown"
    assert judge.judge(frame, recognition(0.9, coverage=0.99)).verdict == "pedestrian"


def test_delays_are_seconds_of_the_source_not_frames():
    frames_until = {
        step_s: judge_all([0.9] * 40, step_s=step_s)[0].index("pedestrian") for step_s in (0.01, 0.05, 0.1, 1.0)
    }
    assert frames_until == {0.01: 20, 0.05: 4, 0.1: 2, 1.0: 1}


def test_a_picture_is_judged_alone():
    judge = Judge(RULE)
    rulings = [judge.judge(Frame(i, IMAGE, name=f"{i}.png"), recognition(p)) for i, p in enumerate((0.6, 0.59, 0.9))]
    assert [ruling.verdict for ruling in rulings] == ["pedestrian", "clear", "pedestrian"]
    assert not any(ruling.events for ruling in rulings)
    broken = judge.judge(Frame(3, None, name="3.png", signal="bad_frame"), None)
    assert (broken.verdict, broken.events) == ("unknown", ())


def test_the_next_standing_does_not_touch_the_one_before():
    before = Standing()
    assert next_standing(before, 0.9, 1.0, RULE) == Standing("clear", 1.0)
    assert before == Standing("clear", None)


def test_a_doubt_begins_anew_after_a_gap_in_the_signal():
    verdicts, events = judge_all([0.9, 0.9, 0.9, 0.1, *[None] * 20, *[0.1] * 6])
    assert "".join(verdict[0] for verdict in verdicts) == "ccpp" + "u" * 20 + "pppppc"
    assert events[-1] == ("gone", 2.9, "presence fell at 2.400 s; reported 0.500 s later")


def test_a_loss_says_why_once_however_it_changes():
    judge, events = Judge(RULE), []
    for seq, (signal, reason) in enumerate(
        [("no_signal", "refused"), ("no_signal", "timed out"), ("bad_frame", "black")]
    ):
        events += judge.judge(Frame(seq, None, time_s=seq, signal=signal, reason=reason), None).events
    assert [(event.event, event.detail) for event in events] == [("signal_lost", "no_signal: refused")]


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({}, RULE),
        ({"enter": 0.9}, VerdictRule(0.9, 0.4, 0.2, 0.5)),
        ({"enter": 0.3}, VerdictRule(0.3, 0.3, 0.2, 0.5)),
        ({"leave": 0.0, "enter_s": 0.0}, VerdictRule(0.6, 0.0, 0.0, 0.5)),
        ({"enter": 0.2, "leave": 0.1, "enter_s": 1.0, "leave_s": 9.0}, VerdictRule(0.2, 0.1, 1.0, 9.0)),
    ],
)
def test_options_win_over_the_rule_of_the_model(options, rule):
    assert VerdictOptions(**options).applied_to(RULE) == rule


@pytest.mark.parametrize("options", [{"enter": 0.3, "leave": 0.4}, {"leave": 0.7}, {"enter": 1.5}, {"leave_s": -1.0}])
def test_options_that_contradict_the_rest_of_the_rule_are_refused(options):
    with pytest.raises(InvalidValueError, match="verdict"):
        VerdictOptions(**options).applied_to(RULE)
