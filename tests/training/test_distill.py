import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from edge.errors import InvalidValueError
from tests.training.people import STUDENT, TEACHER, draw_people
from training.distill import LossSettings, distill_step
from training.networks.student import Student
from training.networks.teacher import Teacher
from training.targets import Batch, Targets

NOBODY = np.zeros((0, 4), np.float32)
PERSON = np.array([[20, 20, 32, 44]], np.float32)


def batch(*people: np.ndarray) -> Batch:
    image = torch.from_numpy(draw_people([(20, 20)])).permute(2, 0, 1)
    return Batch(torch.stack([image] * len(people)), tuple(Targets(p, NOBODY) for p in people))


def frozen_teacher() -> Teacher:
    torch.manual_seed(1)
    return Teacher(TEACHER).eval().requires_grad_(False)


def student(stride: int = 4) -> Student:
    torch.manual_seed(0)
    return Student(dataclasses.replace(STUDENT, stride=stride))


def test_the_named_losses_sum_to_the_total_of_task_and_distillation():
    losses = distill_step(student(), frozen_teacher(), batch(PERSON), LossSettings())
    assert set(losses.named) == {"heat", "box", "soft", "soft_box"}
    assert losses.total.item() == pytest.approx(sum(v.item() for v in losses.named.values()))
    assert losses.task.item() == pytest.approx((losses.named["heat"] + losses.named["box"]).item(), rel=1e-5)
    assert losses.distill.item() == pytest.approx((losses.named["soft"] + losses.named["soft_box"]).item())


def test_without_a_teacher_there_are_only_the_labels():
    losses = distill_step(student(), None, batch(PERSON), LossSettings())
    assert set(losses.named) == {"heat", "box"}
    assert losses.distill.item() == 0


def test_a_weight_of_0_leaves_a_loss_out():
    losses = distill_step(student(), frozen_teacher(), batch(PERSON), LossSettings(soft=0.0, soft_box=0.0))
    assert set(losses.named) == {"heat", "box"}


def test_a_teacher_learns_at_each_of_its_strides():
    whole = distill_step(Teacher(TEACHER).eval(), None, batch(PERSON), LossSettings())
    assert set(whole.named) == {"heat", "box"}
    assert whole.total.isfinite()


def test_only_the_student_gets_gradients():
    learner, teacher = student().train(), Teacher(TEACHER).eval()
    distill_step(learner, teacher, batch(PERSON), LossSettings()).total.backward()
    assert all(p.grad is not None for part in (learner.trunk, learner.head) for p in part.parameters())
    assert all(p.grad is None for p in teacher.parameters())


@pytest.mark.parametrize("teacher", [None, frozen_teacher()])
def test_a_batch_of_empty_pictures_has_a_finite_loss_and_no_box_to_learn(teacher):
    losses = distill_step(student(), teacher, batch(NOBODY, NOBODY), LossSettings())
    assert losses.total.isfinite()
    assert losses.named["box"].item() == 0
    losses.total.backward()


class Twin(nn.Module):
    """A teacher with the very weights of its student."""

    def __init__(self, network: Student) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> object:
        return self.network(images)


def test_a_student_that_equals_its_teacher_loses_only_against_the_labels():
    learner = student().eval()
    losses = distill_step(learner, Twin(learner), batch(PERSON), LossSettings())
    assert losses.distill.item() == pytest.approx(0, abs=1e-6)
    assert losses.task > 0


def test_a_teacher_without_a_head_at_the_student_s_stride_is_refused():
    with pytest.raises(InvalidValueError, match=r"teacher must be one with a head at stride 4, got 'strides \[8\]'"):
        distill_step(student(4), student(8), batch(PERSON), LossSettings())


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"soft": -1.0}, "soft must be at least 0, got -1.0"),
        ({"box": float("nan")}, "box must be at least 0, got nan"),
        ({"temperature": 0.0}, "temperature must be positive, got 0.0"),
        ({"feature": float("inf")}, "feature must be at least 0, got inf"),
        ({"hard": 0.5}, "hard must be 0 where soft is 0.5, got 0.5; both teach the heat map"),
    ],
)
def test_weights_that_make_no_sense_are_refused(values, rule):
    with pytest.raises(InvalidValueError, match=rule):
        LossSettings(**values)
