import pytest

from edge.errors import InvalidValueError
from edge.sources import signal
from edge.sources.signal import Link, SignalRules, Suspicion

RULES = SignalRules(stall_after_s=3.0, max_outage_s=60.0, frozen_after_s=5.0)


def silence(link: Link, *, until_s: float, asked_s: float | None = None, rules: SignalRules = RULES) -> Link:
    """What becomes of a link while nothing is heard, looked at ten times a second."""
    tenths = range(round(10 * link.since_s), round(10 * until_s) + 1)
    for tenth in tenths:
        now_s = tenth / 10
        link = signal.after_silence(link, now_s - 5 if asked_s is None else asked_s, rules, now_s, 0.0)
    return link


def test_a_new_source_is_opening_and_not_yet_lost():
    assert signal.begin(7.0) == Link("opening", since_s=7.0, heard_s=7.0)


def test_a_source_that_shows_nothing_is_lost_after_the_stall_time_but_goes_on_opening():
    link = silence(signal.begin(0.0), until_s=2.9)
    assert link.lost_since_s is None
    link = silence(signal.begin(0.0), until_s=3.1)
    assert (link.phase, link.lost_since_s, link.reason) == ("opening", 3.0, "no picture for 3.0 s")


def test_opening_is_given_up_and_tried_again_in_the_end():
    link = silence(signal.begin(0.0), until_s=20.0)
    assert (link.phase, link.failures, link.lost_since_s, link.reason) == ("waiting", 1, 3.0, "no picture within 20 s")


def test_a_stream_without_a_frame_is_lost_and_waits_for_another_attempt():
    link = signal.after_picture(signal.begin(0.0), captured_s=0.9, now_s=1.0)
    assert link == Link("streaming", since_s=1.0, heard_s=0.9)
    assert silence(link, until_s=3.8) == link
    lost = signal.after_silence(link, 1.0, RULES, 3.9, 0.0)
    assert (lost.phase, lost.lost_since_s, lost.reason) == ("waiting", 3.9, "no frame for 3.0 s")


def test_a_slow_recognizer_is_not_taken_for_a_stalled_stream():
    link = signal.after_picture(signal.begin(0.0), captured_s=1.0, now_s=1.0)
    # 9 s of recognition, then the question: its answer may take a moment
    assert signal.after_silence(link, 10.0, RULES, 10.9, 0.0) == link
    assert signal.after_silence(link, 10.0, RULES, 11.0, 0.0).phase == "waiting"


def test_pictures_in_a_row_keep_the_begin_of_the_stream():
    link = signal.after_picture(signal.begin(0.0), 1.0, 1.0)
    assert signal.after_picture(link, 2.0, 2.1) == Link("streaming", since_s=1.0, heard_s=2.0)


def test_attempts_back_off_and_a_picture_begins_anew():
    link, waits = signal.begin(0.0), []
    for _ in range(8):
        link = signal.after_failure(link, "refused", link.since_s, chance=0.5)
        waits.append(link.retry_at_s - link.since_s)
        assert signal.after_silence(link, 0.0, RULES, link.retry_at_s - 0.01, 0.5).phase == "waiting"
        link = signal.after_silence(link, 0.0, RULES, link.retry_at_s, 0.5)
        assert link.phase == "opening"
    assert waits == pytest.approx([1, 2, 4, 8, 16, 30, 30, 30])
    assert (link.lost_since_s, link.failures) == (0.0, 8)
    back = signal.after_picture(link, 200.0, 200.0)
    assert (back.failures, back.lost_since_s, back.reported_s, back.reason) == (0, None, None, "")


@pytest.mark.parametrize(
    ("failures", "chance", "delay_s"),
    [(0, 0.0, 1.0), (0, 1.0, 1.25), (2, 0.0, 3.0), (2, 1.0, 5.0), (5, 0.0, 24.0), (5, 1.0, 30.0), (10_000, 1.0, 30.0)],
)
def test_the_back_off_stays_within_1_and_30_seconds_with_some_chance_in_it(failures, chance, delay_s):
    assert signal.backoff_s(failures, chance) == delay_s


def test_no_signal_is_reported_at_once_and_then_once_a_second():
    link = signal.after_failure(signal.begin(0.0), "refused", 5.0, 0.0)
    reports = []
    for tenth in range(50, 81):
        if signal.report_is_due(link, tenth / 10):
            link = signal.after_report(link, tenth / 10)
            reports.append(tenth / 10)
    assert reports == [5.0, 6.0, 7.0, 8.0]
    assert not signal.report_is_due(signal.after_picture(link, 9.0, 9.0), 9.0)


@pytest.mark.parametrize(("now_s", "max_outage_s", "over"), [(64.9, 60, False), (65, 60, True), (1e6, None, False)])
def test_an_outage_ends_the_run_only_where_that_was_asked_for(now_s, max_outage_s, over):
    link = signal.after_failure(signal.begin(0.0), "refused", 5.0, 0.0)
    assert signal.is_given_up(link, SignalRules(max_outage_s=max_outage_s), now_s) is over
    assert not signal.is_given_up(signal.begin(0.0), SignalRules(max_outage_s=max_outage_s), now_s)


@pytest.mark.parametrize("name", ["stall_after_s", "max_outage_s", "frozen_after_s"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_rules_of_no_time_are_refused(name, value):
    with pytest.raises(InvalidValueError, match="must be above 0 s"):
        SignalRules(**{name: value})


def faults(pictures: str, fps: float = 1.0) -> str:
    """One letter a picture: what it shows (a letter; `.` is black) -> what is said of it (o k, b lack, f rozen)."""
    suspicion, last, said = Suspicion(), "", []
    for index, shown in enumerate(pictures):
        now_s = index / fps
        suspicion = signal.next_suspicion(
            suspicion, black=shown == ".", same=shown == last, last_s=max(0, index - 1) / fps, now_s=now_s
        )
        fault = signal.fault_of(suspicion, now_s, RULES)
        said.append("o" if fault is None else fault.removeprefix("the picture is ")[0])
        last = shown
    return "".join(said)


@pytest.mark.parametrize(
    ("pictures", "said"),
    [
        ("", ""),
        ("abcabc", "oooooo"),
        (".", "o"),
        ("....", "oobb"),  # 2 s after the first black one
        ("..a..", "ooooo"),  # a break begins the time anew
        ("a....a", "ooobbo"),
        ("aaaaaaa", "oooooff"),  # 5 s after the first of them was captured
        ("aaaaab", "oooooo"),
        ("aaaaaaabaaaaaaa", "oooooffooooooff"),
        ("aabbaabb", "oooooooo"),
    ],
)
def test_black_and_frozen_pictures_are_known_after_their_time(pictures, said):
    assert faults(pictures) == said


def test_the_times_do_not_depend_on_the_rate():
    assert faults("." * 40, fps=10.0) == "o" * 20 + "b" * 20
    assert faults("a" * 60, fps=10.0) == "o" * 50 + "f" * 10
