import dataclasses

import pytest
import torch
from torch import nn

from edge.errors import InvalidValueError
from tests.training.people import STUDENT, TEACHER
from training.distill import make_adaptor
from training.networks.student import Student
from training.networks.teacher import Teacher
from training.shared_maps import channels_by_stride, gradient_shares, watched


def test_the_maps_that_the_heads_are_given_are_noted_by_stride_while_watched():
    images = torch.zeros(1, 3, 64, 96)
    network = Teacher(TEACHER).eval()
    with watched(network) as maps:
        network(images)
    assert {s: tuple(m.shape) for s, m in maps.by_stride(images).items()} == {4: (1, 16, 16, 24), 8: (1, 16, 8, 12)}
    network(images)
    assert len(maps.all) == 2  # no longer watched


def test_channels_are_told_without_moving_batch_norm_statistics():
    network = Student(STUDENT).train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    assert channels_by_stride(network) == {4: 16}
    assert network.training
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_an_adaptor_leads_from_the_student_s_channels_to_the_teacher_s():
    teacher = Teacher(dataclasses.replace(TEACHER, width=24))
    adaptor = make_adaptor(Student(dataclasses.replace(STUDENT, stride=8)), teacher)
    assert tuple(adaptor.weight.shape) == (24, 16, 1, 1)


def test_features_without_a_common_stride_are_refused():
    ours, theirs = Student(STUDENT), Student(dataclasses.replace(STUDENT, stride=8))
    with pytest.raises(
        InvalidValueError, match=r"feature must be 0 where student \(strides \[4\]\) and teacher \(\[8\]\)"
    ):
        make_adaptor(ours, theirs)


def test_shares_of_the_gradient_by_hand():
    shared = torch.tensor([1.0, 2.0], requires_grad=True)
    losses = {"a": (3 * shared).sum(), "b": shared[0], "c": torch.zeros(())}  # gradients (3, 3), (1, 0), none
    shares = gradient_shares(losses, [shared])
    whole = 18**0.5 + 1
    assert shares == {"a": pytest.approx(18**0.5 / whole), "b": pytest.approx(1 / whole)}
    assert shared.grad is None


@pytest.mark.parametrize("shared", [[], [torch.ones(2)]])
def test_without_a_shared_map_that_learns_there_are_no_shares(shared):
    weight = nn.Parameter(torch.ones(2))
    assert gradient_shares({"a": weight.sum()}, shared) == {}


def test_losses_that_are_at_rest_have_no_share():
    shared = torch.ones(2, requires_grad=True)
    assert gradient_shares({"a": 0 * shared.sum()}, [shared]) == {"a": 0.0}
