from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from edge.errors import InvalidValueError
from tests.training.released import write_onnx
from training.networks.inherit import activations
from training.networks.student import Student, StudentSpec
from training.networks.yolox import MEAN, STD
from training.networks.yolox_head import Level, YoloxHead
from training.networks.yolox_weights import load_yolox

COCO_CLASSES = 80


def student(activation: str = "silu") -> Student:
    torch.manual_seed(0)
    return Student(StudentSpec("small", "yolox_nano", 4, 32, mean=MEAN, std=STD, head="yolox", activation=activation))


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [m for m in network.modules() if isinstance(m, nn.Conv2d)]


def released_shapes(network: Student) -> list[tuple[int, ...]]:
    """Of all convolutions of the released file, in its order."""
    trunk = [tuple(m.weight.shape) for m in convolutions(network.trunk)]
    assert isinstance(network.head, YoloxHead)
    shapes = [(16, 12, 3, 3), *trunk[1:], *(tuple(m.weight.shape) for m in convolutions(network.head.bottom_up))]
    for level in network.head.levels:
        assert isinstance(level, Level)
        stem, classes, boxes = (
            [tuple(m.weight.shape) for m in convolutions(part)] for part in (level.stem, level.classes, level.boxes)
        )
        shapes += [*stem, *classes, (COCO_CLASSES, 64, 1, 1), *boxes, (4, 64, 1, 1), (1, 64, 1, 1)]
    return shapes


def write_released(file: Path, network: Student) -> list[tuple[Tensor, Tensor]]:
    torch.manual_seed(1)
    weights = [(0.05 * torch.randn(shape), torch.randn(shape[0])) for shape in released_shapes(network)]
    write_onnx(file, weights)
    return weights


def test_it_predicts_at_stride_4_whatever_the_size():
    network = student().eval()
    with torch.inference_mode():
        for height, width in ((32, 32), (64, 96), (160, 32)):
            (predictions,) = network(torch.zeros(2, 3, height, width, dtype=torch.uint8)).values()
            assert predictions.logits.shape == (2, height // 4, width // 4)
            assert predictions.log_distances.shape == (2, 4, height // 4, width // 4)


def test_an_untrained_head_believes_in_hardly_anybody():
    with torch.inference_mode():
        (predictions,) = student().eval()(torch.randint(0, 256, (1, 3, 64, 64))).values()
    assert predictions.logits.sigmoid().max() < 0.05


def test_the_level_that_is_surest_decides():
    head = student().eval().head
    assert isinstance(head, YoloxHead)
    with torch.no_grad():
        for bias, level in zip((-3.0, 2.0, -1.0), head.levels, strict=True):
            level.classify.weight.zero_()
            level.objects.weight.zero_()
            level.classify.bias.fill_(bias)
        maps = [torch.rand(1, c, 64 // s, 64 // s) for s, c in ((4, 32), (8, 64), (16, 64), (32, 128))]
        assert torch.equal(head(maps).logits, torch.full((1, 16, 16), 2.0))


def test_each_cell_of_a_level_speaks_for_its_own_cells_of_stride_4():
    head = student().eval().head
    assert isinstance(head, YoloxHead)
    level = head.levels[1]  # stride 16: 4 x 4 cells
    with torch.no_grad():
        level.classify.weight.zero_()
        level.objects.weight.zero_()
        level.classify.bias.copy_(torch.arange(16.0))
        logits = level(torch.rand(1, 128, 2, 3), None).logits
    assert torch.equal(logits[0, 0, 4:, 8:], torch.arange(16.0).reshape(4, 4))


def test_the_released_weights_fill_trunk_and_towers_and_their_person_starts_the_logits(tmp_path):
    network = student()
    weights = write_released(tmp_path / "yolox_nano.onnx", network)
    load_yolox(network.trunk, network.head, str(tmp_path / "yolox_nano.onnx"))
    assert isinstance(network.head, YoloxHead)
    *_, class_pair, _, _, _, box_tower_end, _, object_pair = (
        weights  # a level: ..., classes, four of the box tower, ...
    )
    coarsest = network.head.levels[2]
    class_weight, class_bias = class_pair
    assert class_weight.shape[0] == COCO_CLASSES
    assert torch.equal(coarsest.classify.weight, class_weight[:1].expand(64, -1, -1, -1))
    assert torch.equal(coarsest.classify.bias, class_bias[0].expand(64))
    assert torch.equal(coarsest.objects.weight, object_pair[0].expand(64, -1, -1, -1))
    assert torch.equal(convolutions(coarsest.boxes)[-1].weight, box_tower_end[0])


@pytest.mark.parametrize("activation", ["silu", "hardswish", "relu"])
def test_the_activation_is_everywhere_the_same(activation):
    kinds = set(activations(student(activation)))
    assert kinds == {{"silu": "SiLU", "hardswish": "Hardswish", "relu": "ReLU"}[activation]}


def test_what_cannot_be_built_is_refused():
    with pytest.raises(InvalidValueError, match="activation must be one of silu, hardswish, relu, got 'tanh'"):
        student("tanh")
    with pytest.raises(InvalidValueError, match="head must be dense, yolox or nanodet, got 'other'"):
        StudentSpec(head="other")
    with pytest.raises(InvalidValueError, match="head must be dense unless yolox_nano is used at stride 4"):
        StudentSpec(head="yolox")
