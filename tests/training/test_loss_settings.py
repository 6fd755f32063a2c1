import pytest

from edge.errors import InvalidValueError
from training.loss_settings import AskedLosses, LossSettings, distilled_share, require_something_to_learn, settle


@pytest.mark.parametrize(
    ("asked", "teacher", "extra", "settings"),
    [
        (AskedLosses(), True, True, LossSettings()),
        (AskedLosses(), False, False, LossSettings()),
        (AskedLosses(hard=1.0), True, False, LossSettings(soft=0.0, hard=1.0)),  # hard replaces soft
        (
            AskedLosses(soft=0.0, soft_box=0.0, feature=3.0),
            True,
            False,
            LossSettings(soft=0.0, soft_box=0.0, feature=3.0),
        ),
        (AskedLosses(temperature=4.0), True, False, LossSettings(temperature=4.0)),
        (AskedLosses(extra=0.1), False, True, LossSettings(extra=0.1)),
        (AskedLosses(soft=0.0), False, False, LossSettings(soft=0.0)),  # nothing is asked of a teacher who is not there
    ],
)
def test_what_was_not_said_has_its_default(asked, teacher, extra, settings):
    assert settle(asked, teacher=teacher, extra=extra) == settings


@pytest.mark.parametrize(
    ("asked", "teacher", "extra", "rule"),
    [
        (AskedLosses(soft=0.5), False, True, "--soft must be left out without --teacher, got 0.5"),
        (AskedLosses(feature=0.5), False, True, "--feature must be left out without --teacher"),
        (AskedLosses(temperature=3.0), False, False, "--temperature must be left out without --teacher"),
        (AskedLosses(extra=0.5), True, False, "--extra must be left out without --extra-teacher"),
        (AskedLosses(extra_box=0.5), True, False, "--extra-box must be left out without --extra-teacher"),
        (AskedLosses(soft=0.5, hard=0.5), True, False, "hard must be 0 where soft is 0.5, got 0.5; both teach"),
        (AskedLosses(hard=0.5, temperature=2.0), True, False, "--temperature must be left out without soft targets"),
        (AskedLosses(soft=0.0, soft_box=0.0), True, False, "soft, hard, soft-box, feature must be positive, one at"),
        (AskedLosses(extra=0.0, extra_box=0.0), True, True, "extra, extra-box must be positive, one at least, with"),
    ],
)
def test_contradictions_are_refused_with_the_reason(asked, teacher, extra, rule):
    with pytest.raises(InvalidValueError, match=rule):
        settle(asked, teacher=teacher, extra=extra)


@pytest.mark.parametrize(
    ("means", "share"),
    [
        ({}, 0.0),
        ({"share_heat": 0.6, "share_box": 0.4, "heat": 9.0}, 0.0),
        ({"share_heat": 0.1, "share_soft": 0.5, "share_extra_box": 0.25, "soft": 9.0}, 0.75),
    ],
)
def test_what_is_distilled_of_the_gradient_is_all_that_is_no_label(means, share):
    assert distilled_share(means) == pytest.approx(share)


def test_nothing_need_be_learnt_of_who_is_not_there():
    require_something_to_learn(LossSettings(soft=0, soft_box=0, extra=0, extra_box=0), teacher=False, extra=False)
