"""Several networks that teach as one."""

import dataclasses
from pathlib import Path

import pytest
import torch

from edge.errors import InvalidValueError, UnusableInputError
from tests.training.people import STUDENT, TEACHER
from training.checkpoints import Checkpoint, build_network, strip
from training.data_card import DataCard
from training.distill import make_adaptor
from training.ensembles import join
from training.history import learnt_on
from training.networks.dense import PredictedMaps
from training.networks.ensemble import Ensemble, EnsembleSpec, giver_of
from training.networks.student import Student
from training.networks.teacher import Teacher
from training.shared_maps import channels_by_stride, watched
from training.teacher_card import teacher_card
from training.teacher_files import about_checkpoint, load_network_file, read_about, write_teacher


def checkpoint(network: Student | Teacher, step: int = 7, modality: str = "rgb") -> Checkpoint:
    kind = "student" if isinstance(network, Student) else "teacher"
    settings = {"dataset": f"d{step}", "augment": {"default_long_side": 100 * step}, "step": step}
    return Checkpoint(kind, network.spec.to_json(), modality, strip(network), settings, {}, {}, {})  # type: ignore[arg-type]


@pytest.fixture
def networks() -> tuple[Teacher, Teacher, Student]:
    torch.manual_seed(0)
    built = Teacher(TEACHER), Teacher(TEACHER), Student(STUDENT)
    for network in built:
        for head in [network.head] if isinstance(network, Student) else network.heads:
            torch.nn.init.normal_(head.classify.weight, std=1.0)  # type: ignore[union-attr, arg-type]
            torch.nn.init.normal_(head.distances.weight, std=0.2)  # type: ignore[union-attr, arg-type]
        network.eval()
    return built


def ask(network: torch.nn.Module) -> dict[int, PredictedMaps]:
    images = torch.randint(0, 256, (2, 3, 64, 96), generator=torch.Generator().manual_seed(1)).float()
    with torch.inference_mode():
        said: dict[int, PredictedMaps] = network(images)
    return said


def test_chances_are_averaged_and_boxes_by_the_chance_that_each_gives(networks):
    together, alone = ask(Ensemble(networks)), [ask(network)[4] for network in networks]
    assert together.keys() == {4}  # a student of stride 4 has no other
    chances = torch.stack([said.logits.sigmoid() for said in alone])
    torch.testing.assert_close(together[4].logits.sigmoid(), chances.mean(0), atol=2e-6, rtol=1e-4)
    boxes = torch.stack([said.boxes_xyxy() for said in alone])
    weights = chances[:, :, None] / chances.sum(0)[None, :, None]
    torch.testing.assert_close(together[4].boxes_xyxy(), (weights * boxes).sum(0), atol=0.05, rtol=1e-3)


def test_one_network_alone_says_what_it_said(networks):
    one, alone = ask(Ensemble(networks[:1])), ask(networks[0])
    assert one.keys() == alone.keys() == {4, 8}
    for stride, said in alone.items():
        torch.testing.assert_close(one[stride].logits, said.logits, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(one[stride].boxes_xyxy(), said.boxes_xyxy(), atol=1e-2, rtol=1e-3)


def test_a_chance_of_nothing_or_of_all_stays_finite(networks):
    for network in networks[:2]:
        for head in network.heads:  # type: ignore[union-attr]
            torch.nn.init.constant_(head.classify.bias, 200.0)  # type: ignore[union-attr, arg-type]
    assert ask(Ensemble(networks[:2]))[4].logits.isfinite().all()


def test_it_is_built_again_from_what_it_says_of_itself(networks):
    spec = Ensemble(networks).spec.to_json()
    assert [member["kind"] for member in spec["members"]] == ["teacher", "teacher", "student"]
    assert build_network("ensemble", spec).spec.to_json() == spec
    for broken in ({}, {"members": [{"wings": 2}]}, {"members": 3}):
        with pytest.raises(UnusableInputError, match="teacher must describe its networks"):
            EnsembleSpec.from_json(broken)


def test_networks_without_a_common_stride_or_modality_are_refused(networks):
    coarse = Student(dataclasses.replace(STUDENT, stride=8))
    with pytest.raises(InvalidValueError, match=r"members must be networks with a stride in common, got 'strides \[\["):
        join([checkpoint(networks[2]), checkpoint(coarse)])
    with pytest.raises(UnusableInputError, match="--with must name networks of modality rgb, got thermal"):
        join([checkpoint(networks[0]), checkpoint(networks[1], modality="thermal")])


def test_checkpoints_join_and_an_ensemble_among_them_brings_its_networks(networks):
    alone = [checkpoint(network, step) for step, network in enumerate(networks, start=7)]
    pair = join(alone[:2])
    assert join(alone[:1]) is alone[0]
    assert (pair.kind, pair.settings["augment"]) == ("ensemble", {"default_long_side": 700})
    all_three = join([pair, alone[2]])
    for stride, said in ask(Ensemble(networks)).items():
        torch.testing.assert_close(ask(all_three.network())[stride].logits, said.logits)
    assert [settings["step"] for settings in all_three.settings["members"]] == [7, 8, 9]


def test_a_teacher_has_learnt_on_what_each_of_its_networks_has(networks):
    first, second = (checkpoint(network) for network in networks[:2])
    pair = join([first, dataclasses.replace(second, settings={**second.settings, "dataset": "mine+more"})])
    assert learnt_on(pair.settings) == {*learnt_on(first.settings), "mine", "more"}


def test_its_file_comes_back_and_its_card_tells_of_each_network(networks, tmp_path: Path):
    together = join([checkpoint(network, step) for step, network in enumerate(networks, start=7)])
    file = tmp_path / "t.safetensors"
    write_teacher(together, about_checkpoint(together, "T", {}, DataCard("Teaching.", ())), file)
    for stride, said in ask(load_network_file(file).network()).items():
        torch.testing.assert_close(said.logits, ask(Ensemble(networks))[stride].logits, atol=0.05, rtol=0.02)
    card = teacher_card(read_about(file), file.name, 0.1)
    assert "0.1 MB: 3 networks, whose chances and boxes are averaged, for rgb pictures" in card
    for number, step in ((1, 7), (2, 8), (3, 9)):
        assert f"### Network {number}\n\n- Steps 0 to {step}: labels of d{step} alone" in card
    assert card.count("| backbone | test_efficientnet |") == 3


def test_a_student_compares_its_maps_with_those_of_all_networks(networks):
    ensemble, images = Ensemble(networks[:2]), torch.zeros(1, 3, 64, 64)
    assert channels_by_stride(ensemble) == {s: 2 * c for s, c in channels_by_stride(networks[0]).items()}
    assert make_adaptor(networks[2], ensemble).out_channels == channels_by_stride(ensemble)[4]
    with watched(networks[1]) as alone, torch.inference_mode():
        networks[1](images)
    with watched(ensemble) as both, torch.inference_mode():
        ensemble(images)
    torch.testing.assert_close(both.by_stride(images)[4].chunk(2, dim=1)[1], alone.by_stride(images)[4])


def test_a_student_starts_from_the_first_network_on_its_backbone(networks):
    other = Teacher(dataclasses.replace(networks[0].spec, backbone="nanodet_m", head="nanodet"))
    ensemble = Ensemble([*networks, other])
    assert giver_of(ensemble, networks[0].spec.backbone) is networks[0]
    assert giver_of(ensemble, "nanodet_m") is other
    assert giver_of(ensemble, "efficientnet_lite2") is networks[0]
    assert giver_of(networks[1], "nanodet_m") is networks[1]
