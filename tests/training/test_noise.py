import dataclasses

import pytest
import torch

from edge.errors import InvalidValueError
from tests.training.people import STUDENT, TEACHER
from training.networks.student import Student
from training.networks.teacher import Teacher
from training.noise import NoiseSettings, add_noise

RESIDUAL = dataclasses.replace(STUDENT, backbone="mobilenetv2_035")
YOLOX = dataclasses.replace(STUDENT, backbone="yolox_nano", coarsest=32)
IMAGES = torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def logits(network: Student | Teacher) -> torch.Tensor:
    return network(IMAGES)[4].logits.detach().clone()


@pytest.mark.parametrize("noise", [NoiseSettings(dropout=0.5), NoiseSettings(stochastic_depth=0.5)])
@pytest.mark.parametrize("spec", [RESIDUAL, YOLOX])
def test_noise_disturbs_while_learning_and_at_no_other_time(spec, noise):
    torch.manual_seed(0)
    student = Student(spec)
    quiet, names = logits(student.eval()), list(student.state_dict())
    add_noise(student, noise)
    assert torch.equal(logits(student.eval()), quiet)
    student.train()
    for module in student.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()  # its own kind of noise
    assert not torch.equal(logits(student), logits(student))
    assert list(student.state_dict()) == names


def test_a_teacher_s_heads_all_get_their_dropout():
    torch.manual_seed(0)
    teacher = Teacher(TEACHER)
    add_noise(teacher, NoiseSettings(dropout=0.5))
    teacher.eval()
    teacher.heads.train()
    first, second = teacher(IMAGES), teacher(IMAGES)
    assert all(not torch.equal(first[s].logits, second[s].logits) for s in (4, 8))


def test_without_noise_nothing_is_hooked():
    student = Student(RESIDUAL)
    add_noise(student, NoiseSettings())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in student.modules())


@pytest.mark.parametrize("backbone", ["resnet10t", "convnext_atto", "vit_tiny_patch16_224"])
def test_timm_s_residual_blocks_are_known(backbone):
    torch.manual_seed(0)
    student = Student(dataclasses.replace(STUDENT, backbone=backbone))
    for module in student.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(module.weight)  # a fresh ResNet's branches count for nothing
    for name, weight in student.named_parameters():
        if name.endswith("gamma"):
            torch.nn.init.ones_(weight)  # nor do a fresh ConvNeXt's
    quiet, names = logits(student.eval()), list(student.state_dict())
    add_noise(student, NoiseSettings(stochastic_depth=0.9))
    assert torch.equal(logits(student.eval()), quiet)
    assert list(student.state_dict()) == names
    for module in student.train().modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    assert not torch.equal(logits(student), logits(student))


def test_stochastic_depth_needs_residual_blocks():
    with pytest.raises(InvalidValueError, match="stochastic_depth must be 0 for a network without residual blocks"):
        add_noise(Student(STUDENT), NoiseSettings(stochastic_depth=0.1))


@pytest.mark.parametrize("rates", [(1.0, 0.0), (0.0, -0.1)])
def test_rates_out_of_range_are_refused(rates):
    with pytest.raises(InvalidValueError, match="must be at least 0 and below 1"):
        NoiseSettings(*rates)
