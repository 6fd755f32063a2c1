import dataclasses

import pytest
import torch
from torch import Tensor

from training.networks.inherit import inherit
from training.networks.student import Student, StudentSpec
from training.networks.yolox import MEAN, STD

SILU = StudentSpec("small", "yolox_nano", 4, 32, mean=MEAN, std=STD, head="yolox", activation="silu")


def pictures() -> list[Tensor]:
    torch.manual_seed(2)
    return [torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8) for _ in range(2)]


def networks(spec: StudentSpec) -> tuple[Student, Student]:
    torch.manual_seed(0)
    teacher = Student(SILU).eval()
    return Student(spec), teacher


def test_a_student_of_the_same_architecture_starts_as_its_teacher():
    student, teacher = networks(SILU)
    assert inherit(student, teacher, list) == len(teacher.state_dict())
    assert all(torch.equal(t, teacher.state_dict()[name]) for name, t in student.state_dict().items())


@pytest.mark.parametrize("activation", ["relu", "hardswish"])
def test_a_student_of_another_activation_is_refitted_to_speak_like_its_teacher(activation):
    spec = dataclasses.replace(SILU, activation=activation)
    student, teacher = networks(spec)
    copied = Student(spec).eval()
    copied.load_state_dict(teacher.state_dict())
    assert inherit(student, teacher, pictures) == len(teacher.state_dict())
    fresh = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        wanted, fitted, naive = (n.eval()(fresh)[4].log_distances for n in (teacher, student, copied))
    assert (fitted - wanted).square().mean() < (naive - wanted).square().mean()


def test_another_head_keeps_its_own_weights_and_takes_the_trunk():
    student, teacher = networks(dataclasses.replace(SILU, head="dense"))
    before = student.head.classify.weight.detach().clone()
    assert inherit(student, teacher, list) == len(student.trunk.state_dict())
    assert torch.equal(student.head.classify.weight, before)
