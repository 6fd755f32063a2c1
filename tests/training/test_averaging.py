"""The mean of several networks' weights."""

import dataclasses

import pytest
import torch

from edge.errors import InvalidValueError, UnusableInputError
from tests.training.people import STUDENT, TEACHER
from training.averaging import average
from training.checkpoints import Checkpoint, strip
from training.history import learnt_on, told
from training.networks.student import Student
from training.networks.teacher import Teacher


def learnt(seed: int, step: int = 7) -> Checkpoint:
    torch.manual_seed(seed)
    network = Student(STUDENT)
    settings = {"dataset": "d", "train": {"seed": seed}, "step": step, "seconds": 1.0}
    return Checkpoint("student", STUDENT.to_json(), "rgb", strip(network), settings, {}, {}, {})


def test_every_weight_is_the_mean_of_those_of_all():
    networks = [learnt(seed) for seed in range(3)]
    mean = average(networks)
    for name, weight in mean.averaged.items():
        every = torch.stack([network.averaged[name] for network in networks])
        if weight.dtype.is_floating_point:
            torch.testing.assert_close(weight, every.mean(0))
        else:
            assert weight == networks[-1].averaged[name]
    mean.network()  # it is a network of theirs


def test_the_last_may_have_a_larger_share_and_the_card_tells_it():
    before, other, after = learnt(1, 5), learnt(2, 6), learnt(3, 9)
    mean = average([before, other, after], 0.5)
    name = next(iter(mean.averaged))
    expected = 0.25 * before.averaged[name] + 0.25 * other.averaged[name] + 0.5 * after.averaged[name]
    torch.testing.assert_close(mean.averaged[name], expected)
    assert mean.settings["step"] == 9
    assert told(mean.settings)[-1].endswith(
        "seed 3; then the mean of the rest with 0.25 of the weights after 5 steps with seed 1 and 0.25 of the weights "
        "after 6 steps with seed 2."
    )


def test_what_each_has_learnt_on_is_known_and_how_far_an_unfinished_one_came():
    first, last = learnt(1), learnt(2)
    first = dataclasses.replace(first, settings={**first.settings, "dataset": "a+b"})
    middle = average([dataclasses.replace(first, progress={"step": 4, "seconds": 2.0}), last])
    assert learnt_on(middle.settings) == {"a", "b", "d"}
    assert middle.settings["history"][-1]["mean_with"][0]["step"] == 4
    other = learnt(3)
    other = dataclasses.replace(other, settings={**other.settings, "dataset": "c"})
    assert learnt_on(average([middle, other]).settings) == {"a", "b", "c", "d"}


@pytest.mark.parametrize("share", [0.0, 1.0, float("nan"), -1.0])
def test_a_share_that_leaves_one_out_is_refused(share):
    with pytest.raises(InvalidValueError, match="share must be between 0 and 1"):
        average([learnt(1), learnt(2)], share)


def test_strangers_are_refused():
    student = learnt(1)
    teacher = Checkpoint("teacher", TEACHER.to_json(), "rgb", strip(Teacher(TEACHER)), {}, {}, {}, {})
    slim = dataclasses.replace(STUDENT, stride=8)
    other = dataclasses.replace(student, spec=slim.to_json(), averaged=strip(Student(slim)))
    for stranger in (teacher, other, dataclasses.replace(student, modality="thermal")):
        with pytest.raises(UnusableInputError, match="must be networks of one architecture and modality, got number 2"):
            average([student, stranger, student])
    with pytest.raises(UnusableInputError, match="at least twice, got 1"):
        average([student])
