import dataclasses

import pytest
import torch
from torch import Tensor

from training.networks.inherit import inherit
from training.networks.narrow import is_narrower, take_strongest
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


@pytest.mark.parametrize("activation", ["silu", "relu"])
def test_a_narrower_student_says_more_of_what_its_teacher_says_than_an_untrained_one(activation):
    spec = dataclasses.replace(SILU, activation=activation, width_multiplier=0.5)
    student, teacher = networks(spec)
    for layer in teacher.head.last_convolutions():  # an untrained one predicts next to nothing
        torch.nn.init.normal_(layer.weight, std=0.2)
    untrained = Student(spec).eval()
    assert inherit(student, teacher, pictures) == len(student.state_dict())
    fresh = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        wanted, fitted, naive = (n.eval()(fresh)[4].logits for n in (teacher, student, untrained))
    assert (fitted - wanted).square().mean() < 0.5 * (naive - wanted).square().mean()


def test_the_strongest_channels_stay():
    student, teacher = networks(dataclasses.replace(SILU, width_multiplier=0.5))
    stem = teacher.trunk.backbone.stem[0]
    with torch.no_grad():
        stem.weight.mul_(0.01)
        stem.weight[[1, 3, 4, 7, 9, 11, 12, 15]] *= 1000
    assert is_narrower(student, teacher)
    assert not is_narrower(teacher, student)
    assert not is_narrower(teacher, teacher)
    kept = take_strongest(student, teacher)
    assert kept["trunk.backbone.stem.0"] == [1, 3, 4, 7, 9, 11, 12, 15]
    assert kept["trunk.backbone.dark2.0.0"] == kept["trunk.backbone.stem.0"]  # depthwise: it follows
    assert torch.equal(student.trunk.backbone.stem[0].weight, stem.weight[kept["trunk.backbone.stem.0"]])
    assert {name: len(channels) for name, channels in kept.items()} == {
        name: module.out_channels for name, module in student.named_modules() if isinstance(module, torch.nn.Conv2d)
    }


def test_a_narrower_dense_student_takes_nothing():
    wide = Student(dataclasses.replace(SILU, head="dense"))
    narrow = Student(dataclasses.replace(SILU, head="dense", width_multiplier=0.5))
    assert inherit(narrow, wide, list) == 0
