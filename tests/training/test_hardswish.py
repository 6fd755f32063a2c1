import dataclasses

import torch
from torch import nn

from training.networks.hardswish import SCALE, ScaledHardswish, fold_scale
from training.networks.inherit import activations
from training.networks.reactivate import replace_activations
from training.networks.student import Student, StudentSpec
from training.networks.yolox import MEAN, STD

SPEC = StudentSpec("small", "yolox_nano", 4, 32, mean=MEAN, std=STD, head="yolox", activation="hardswish")


def test_the_scale_brings_hardswish_closer_to_silu_near_zero():
    x = torch.linspace(-2, 2, 401)
    wanted = nn.SiLU()(x)
    scaled, plain = ((f(x) - wanted).square().mean() for f in (ScaledHardswish(), nn.Hardswish()))
    assert scaled < 0.7 * plain


def test_a_folded_scale_leaves_plain_layers_and_the_same_answers():
    torch.manual_seed(0)
    student = Student(SPEC).eval()
    for module in student.modules():  # fresh ones predict next to nothing
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.bias, std=0.1)
    for last in student.head.last_convolutions():
        nn.init.normal_(last.weight, std=0.2)
    replace_activations(student, (nn.Hardswish,), ScaledHardswish)
    images = torch.randint(0, 256, (2, 3, 96, 64), dtype=torch.uint8)
    with torch.inference_mode():
        before = student(images)[4]
    fold_scale(student.trunk, student.head)
    assert set(activations(student)) == {"Hardswish"}
    assert not any(isinstance(m, ScaledHardswish) for m in student.modules())
    with torch.inference_mode():
        after = student(images)[4]
    assert before.logits.std() > 0.01
    for one, other in zip(dataclasses.astuple(before)[1:], dataclasses.astuple(after)[1:], strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    assert SCALE > 1
