import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from edge.errors import InvalidValueError, UnusableInputError
from tests.training.released import write_onnx
from training.networks.inherit import activations, inherit
from training.networks.nanodet import MEAN, STD, NanodetTrunk, ShuffleUnit
from training.networks.nanodet_head import NanodetHead, load_nanodet
from training.networks.recipes import student_spec
from training.networks.student import Student, StudentSpec
from training.networks.teacher import Teacher, TeacherSpec
from training.networks.trunk import TrunkSpec

COCO_CLASSES, BINS = 80, 32  # what each cell of the released head says: classes, and four distances of eight bins


def trunk(*strides: int, frozen_stages: int = 0) -> NanodetTrunk:
    return NanodetTrunk(TrunkSpec("nanodet_m", strides or (4, 8, 16, 32), MEAN, STD, frozen_stages))


def teacher() -> Teacher:
    torch.manual_seed(0)
    return Teacher(TeacherSpec("nanodet_m", frozen_stages=0, mean=MEAN, std=STD, head="nanodet")).eval()


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [m for m in network.modules() if isinstance(m, nn.Conv2d)]


def released_weights(network: Teacher) -> list[tuple[Tensor, Tensor]]:
    """Random weights of the released file's shapes: the trunk, then each level's tower and what it predicts."""
    torch.manual_seed(1)
    shapes = [tuple(m.weight.shape) for m in convolutions(network.trunk)]
    assert isinstance(network.head, NanodetHead)
    for level in network.head.levels:
        shapes += [tuple(m.weight.shape) for m in convolutions(level.get_submodule("classes"))]
        shapes += [(COCO_CLASSES + BINS, 96, 1, 1)]
    return [(0.1 * torch.randn(shape), torch.randn(shape[0])) for shape in shapes]


def test_it_gives_one_map_a_stride():
    with torch.inference_mode():
        for strides in ((4, 8, 16, 32), (4, 8), (8,)):
            network = trunk(*strides).eval()
            shapes = [tuple(m.shape[1:]) for m in network(torch.zeros(1, 3, 64, 96, dtype=torch.uint8))]
            assert shapes == [(c, 64 // s, 96 // s) for c, s in zip(network.channels, strides, strict=True)]
    with pytest.raises(InvalidValueError, match=r"strides must be among \[4, 8, 16, 32\], got \(2, 4\)"):
        trunk(2, 4)


def test_a_unit_passes_half_of_the_channels_by_and_interleaves_them_with_what_it_convolves():
    unit = ShuffleUnit(8, 8, 1)
    features = torch.randn(2, 8, 5, 6)
    out = unit(features)
    assert torch.equal(out[:, ::2], features[:, :4])
    assert torch.equal(out[:, 1::2], unit.convolved(features[:, 4:]))
    assert ShuffleUnit(8, 12, 2)(torch.randn(2, 8, 6, 4)).shape == (2, 12, 3, 2)


def test_frozen_stages_do_not_learn():
    network = trunk(frozen_stages=2)
    frozen = {name.split(".")[1] for name, p in network.named_parameters() if not p.requires_grad}
    assert frozen == {"stem", "stage2"}


def test_a_teacher_predicts_at_both_strides_and_believes_in_hardly_anybody_untrained():
    with torch.inference_mode():
        said = teacher()(torch.randint(0, 256, (2, 3, 64, 96)))
    assert {s: tuple(maps.logits.shape) for s, maps in said.items()} == {4: (2, 16, 24), 8: (2, 8, 12)}
    assert said[4].logits.sigmoid().max() < 0.05


def test_the_released_stem_reads_normalised_bgr_as_ours_reads_a_picture(tmp_path):
    network = teacher()
    weights = released_weights(network)
    load_nanodet(network.trunk, network.head, str(write_onnx(tmp_path / "nanodet_m.onnx", weights)))
    bgr = torch.randint(0, 256, (1, 3, 32, 48)).float()
    mean = torch.tensor((103.53, 116.28, 123.675)).view(1, 3, 1, 1)
    normalised = (bgr - mean) / torch.tensor((57.375, 57.12, 58.395)).view(1, 3, 1, 1)
    expected = functional.conv2d(normalised, *weights[0], stride=2, padding=1)
    stem = network.trunk.backbone.stem[0]
    torch.testing.assert_close(stem(network.trunk.normalize(bgr)), expected, atol=1e-4, rtol=1e-4)


def test_the_released_tower_starts_class_and_box_and_its_person_the_logits(tmp_path):
    network = teacher()
    weights = released_weights(network)
    load_nanodet(network.trunk, network.head, str(write_onnx(tmp_path / "nanodet_m.onnx", weights)))
    assert isinstance(network.head, NanodetHead)
    for ours, (weight, _) in list(zip(convolutions(network.trunk), weights, strict=False))[1:]:
        assert torch.equal(ours.weight, weight)
    *tower, (last, bias) = weights[-5:]
    coarsest = network.head.levels[2]
    for part in ("classes", "boxes"):
        for ours, (weight, _) in zip(convolutions(coarsest.get_submodule(part)), tower, strict=True):
            assert torch.equal(ours.weight, weight)
    assert torch.equal(coarsest.classify.weight, last[:1].expand(64, -1, -1, -1))
    assert torch.equal(coarsest.classify.bias, bias[0].expand(64))


def test_anything_but_its_own_file_is_refused(tmp_path):
    network = teacher()
    weights = released_weights(network)
    for name, stored, rule in (
        ("short", weights[:-9], r"weights must be those of nanodet_m, got a file with \d+ convolutions"),
        ("empty", [], "weights must be those of nanodet_m, got a file with 0 convolutions"),
        ("wrong", weights[::-1], "weights must be those of nanodet_m, got convolution 0 of shape"),
    ):
        file = str(write_onnx(tmp_path / f"{name}.onnx", stored))
        with pytest.raises(UnusableInputError, match=rule):
            load_nanodet(network.trunk, network.head, file)
    with pytest.raises(UnusableInputError, match=r"weights must be none or the file nanodet_m\.onnx for nanodet_m"):
        load_nanodet(network.trunk, network.head, "pip")


def test_a_head_goes_with_its_own_backbone_only():
    for head, backbone in (("nanodet", "yolox_nano"), ("yolox", "nanodet_m")):
        with pytest.raises(InvalidValueError, match=f"head must be dense unless .* at stride 4, got '{head}'"):
            TeacherSpec(backbone, head=head)


def test_a_student_can_be_built_alike_and_starts_with_all_of_it():
    spec = student_spec("nanodet_m", "none", 4)
    assert (spec.head, spec.coarsest, spec.mean) == ("nanodet", 32, MEAN)
    student, started = Student(spec), Student(spec)
    assert inherit(started, student, list) == len(student.state_dict())
    dense = Student(StudentSpec(backbone="nanodet_m", stride=8, coarsest=32)).eval()
    with torch.inference_mode():
        assert dense(torch.zeros(1, 3, 64, 64))[8].logits.shape == (1, 8, 8)


@pytest.mark.parametrize("activation", ["relu", "hardswish"])
def test_a_student_may_have_another_activation_and_is_refitted_to_speak_like_its_teacher(activation):
    torch.manual_seed(0)
    released = Student(student_spec("nanodet_m", "none", 4)).eval()
    spec = student_spec("nanodet_m", "none", 4, activation=activation)
    fitted, copied = Student(spec), Student(spec).eval()
    assert set(activations(released)) == {"LeakyReLU"}
    assert set(activations(fitted)) == {"ReLU" if activation == "relu" else "Hardswish"}
    copied.load_state_dict(released.state_dict())
    seen = [torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8) for _ in range(3)]
    assert inherit(fitted, released, lambda: seen[:2]) == len(released.state_dict())
    with torch.inference_mode():
        wanted, ours, naive = (n.eval()(seen[2])[4].log_distances for n in (released, fitted, copied))
    assert (ours - wanted).square().mean() < (naive - wanted).square().mean()


def test_weights_that_the_file_computes_are_none_of_ours(tmp_path):
    file = write_onnx(tmp_path / "int8.onnx", released_weights(teacher())[:4])
    model = onnx.load(file)
    del model.graph.initializer[:]
    onnx.save(model, file)
    with pytest.raises(UnusableInputError, match="weights must be those of nanodet_m, got a file with 0 convolutions"):
        load_nanodet(trunk(), None, str(file))
