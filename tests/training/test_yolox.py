import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from edge.errors import InvalidValueError, UnusableInputError
from tests.training.released import write_onnx
from training.networks.trunk import Trunk, TrunkSpec
from training.networks.trunks import make_trunk, recipe_of
from training.networks.yolox import MEAN, STD, YoloxTrunk
from training.networks.yolox_weights import load_yolox


def trunk(*strides: int, frozen_stages: int = 0) -> YoloxTrunk:
    return YoloxTrunk(TrunkSpec("yolox_nano", strides or (4, 8, 16, 32), MEAN, STD, frozen_stages))


def released_weights() -> list[tuple[Tensor, Tensor]]:
    """Random weights of the released file's shapes: its stem reads four pixels as twelve channels."""
    torch.manual_seed(1)
    shapes = [m.weight.shape for m in trunk().backbone.modules() if isinstance(m, nn.Conv2d)]
    return [(torch.randn(s) * 0.05, torch.randn(s[0])) for s in ((16, 12, 3, 3), *shapes[1:])]


def test_it_gives_one_map_a_stride():
    with torch.inference_mode():
        for strides in ((4, 8, 16, 32), (4, 8), (8,)):
            network = trunk(*strides).eval()
            shapes = [tuple(m.shape[1:]) for m in network(torch.zeros(1, 3, 64, 96, dtype=torch.uint8))]
            assert shapes == [(c, 64 // s, 96 // s) for c, s in zip(network.channels, strides, strict=True)]


def test_a_stride_that_it_does_not_have_is_refused():
    with pytest.raises(InvalidValueError, match=r"strides must be among \[4, 8, 16, 32\], got \(2, 4\)"):
        trunk(2, 4)


def test_the_released_stem_reads_four_bgr_pixels_of_0_to_255_as_ours_reads_one_picture(tmp_path):
    weights = released_weights()
    network = trunk()
    load_yolox(network, None, str(write_onnx(tmp_path / "yolox_nano.onnx", weights)))
    bgr = torch.randint(0, 256, (1, 3, 32, 48)).float()
    # Space-to-depth as YOLOX defines it: top left, bottom left, top right, bottom right.
    patches = torch.cat([bgr[..., row::2, column::2] for column in (0, 1) for row in (0, 1)], 1)
    expected = functional.silu(functional.conv2d(patches, *weights[0], padding=1))
    torch.testing.assert_close(network.backbone.stem(network.normalize(bgr)), expected, atol=1e-2, rtol=1e-4)


def test_all_other_convolutions_are_taken_in_their_order(tmp_path):
    weights = released_weights()
    network = trunk()
    load_yolox(
        network, None, str(write_onnx(tmp_path / "yolox_nano.onnx", [*weights, weights[-1]]))
    )  # heads come after
    ours = [m for m in network.backbone.modules() if isinstance(m, nn.Conv2d)]
    for convolution, (weight, bias) in list(zip(ours, weights, strict=True))[1:]:
        assert torch.equal(convolution.weight, weight)
        assert convolution.bias is not None
        assert torch.equal(convolution.bias, bias)


def test_frozen_stages_do_not_learn():
    network = trunk(frozen_stages=2)
    frozen = {name.split(".")[1] for name, p in network.named_parameters() if not p.requires_grad}
    assert frozen == {"stem", "dark2"}


def test_anything_but_its_own_file_is_refused(tmp_path):
    text = tmp_path / "text.onnx"
    text.write_text("hello")
    short = write_onnx(tmp_path / "short.onnx", released_weights()[:3])
    wrong = write_onnx(tmp_path / "wrong.onnx", released_weights()[::-1])
    for weights, rule in (
        ("pip", "weights must be none or the file yolox_nano.onnx for yolox_nano, got 'pip'"),
        (str(text), r"weights must be an ONNX file, got text\.onnx"),
        (str(short), "weights must be those of yolox_nano, got a file with 3 convolutions"),
        (str(wrong), "weights must be those of yolox_nano, got convolution 0 of shape"),
    ):
        with pytest.raises(UnusableInputError, match=rule):
            load_yolox(trunk(), None, weights)


def test_a_narrower_trunk_cannot_start_from_the_released_weights(tmp_path):
    file = str(write_onnx(tmp_path / "yolox_nano.onnx", released_weights()))
    narrow = YoloxTrunk(TrunkSpec("yolox_nano", (4, 8, 16, 32), MEAN, STD, width_multiplier=0.5))
    with pytest.raises(InvalidValueError, match=r"width_multiplier must be 1 with the released weights, got 0\.5"):
        load_yolox(narrow, None, file)


def test_the_word_none_leaves_it_untrained():
    network = trunk()
    before = network.backbone.stem[0].weight.detach().clone()
    load_yolox(network, None, "none")
    assert torch.equal(network.backbone.stem[0].weight, before)


@pytest.mark.parametrize(
    ("backbone", "weights", "coarsest", "frozen_stages"),
    [
        ("yolox_nano", "yolox_nano.onnx", 32, 2),
        ("yolox_nano", "none", 32, 0),
        ("efficientnet_lite0", "pip", 16, 2),
        ("efficientnet_lite0", "none", 16, 0),
    ],
)
def test_a_backbone_and_its_weights_say_how_a_network_is_built_on_them(backbone, weights, coarsest, frozen_stages):
    recipe = recipe_of(backbone, weights)
    assert (recipe.coarsest, recipe.frozen_stages) == (coarsest, frozen_stages)
    kind = type(make_trunk(TrunkSpec(backbone, (8, 16), recipe.mean, recipe.std, frozen_stages)))
    assert kind is (YoloxTrunk if backbone == "yolox_nano" else Trunk)
