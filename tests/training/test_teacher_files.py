import dataclasses
import json
import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import training.teacher_files
from edge.contract import TrainingData
from edge.errors import ProcessingError, UnusableInputError
from tests.training.people import TEACHER
from training.checkpoints import Checkpoint, strip
from training.data_card import DataCard
from training.networks.teacher import Teacher
from training.teacher_card import teacher_card
from training.teacher_files import (
    KEY,
    about_checkpoint,
    load_network_file,
    read_about,
    shipped_teacher,
    write_teacher,
)

CARD = DataCard("Teaching students.", (TrainingData("A", "CC0", "B et al."),))
SETTINGS = {"dataset": "d", "train": {"batch_size": 8, "learning_rate": 0.001, "seed": 0}, "losses": {}, "step": 7}


@pytest.fixture
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    network = Teacher(TEACHER)
    return Checkpoint("teacher", TEACHER.to_json(), "thermal", strip(network), SETTINGS, {}, {}, {})


def write(checkpoint: Checkpoint, file: Path) -> Path:
    write_teacher(checkpoint, about_checkpoint(checkpoint, "T", {"val": {"AP50": 0.5, "pictures": 3}}, CARD), file)
    return file


def test_a_teacher_s_file_comes_back_as_the_same_network_up_to_rounding(checkpoint, tmp_path):
    file = write(checkpoint, tmp_path / "t.safetensors")
    back = load_network_file(file)
    assert (back.kind, back.modality, back.settings) == ("teacher", "thermal", SETTINGS)
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        ours, theirs = checkpoint.network()(images), back.network()(images)
    for stride in (4, 8):
        torch.testing.assert_close(ours[stride].logits, theirs[stride].logits, atol=0.02, rtol=0.01)
    assert all(t.dtype != torch.float16 for t in back.averaged.values())


def test_weights_are_stored_in_half_precision_and_single_values_in_full(checkpoint, tmp_path):
    with safe_open(write(checkpoint, tmp_path / "t.safetensors"), "pt") as file:
        kinds = {(file.get_tensor(n).ndim > 1, file.get_tensor(n).dtype) for n in file.keys()}  # noqa: SIM118
    assert kinds == {(True, torch.float16), (False, torch.float32), (False, torch.int64)}


def test_the_card_says_what_the_file_says(checkpoint, tmp_path):
    card = teacher_card(read_about(write(checkpoint, tmp_path / "t.safetensors")), "t.safetensors", 0.3)
    for line in (
        "# T\n",
        "`t.safetensors`, 0.3 MB: a teacher network for thermal pictures",
        "Teaching students.",
        "| A | CC0 | B et al. |",
        "| backbone | test_efficientnet |",
        "- Steps 0 to 7: labels of d alone",
        "### val: 3 pictures, ? pedestrians",
        "| AP50 | 0.500 |",
        "| centre AP | - |",
    ):
        assert line in card
    assert "Not measured." in teacher_card(about_checkpoint(checkpoint, "T", {}, CARD), "t", 1.0)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        (None, r"teacher must be a file of kestrel-train export-teacher, got t\.safetensors"),
        ({"schema": 2}, "teacher must have schema 1, got 2; update kestrel-drone"),
        ({"modality": "sonar"}, "teacher must say its modality, got 'sonar'"),
        ({"classes": ["car"]}, r"teacher must know the class pedestrian, got \('car',\)"),
        ({"wings": 2}, "teacher must be a file of kestrel-train export-teacher, .*wings"),
        ({"spec": {"width": 16}}, "must describe a Kestrel teacher"),
        ({"spec": {**TEACHER.to_json(), "width": 24}}, "must hold the weights of its own architecture"),
        ({"kind": "uncle"}, "must be of a student or a teacher, got 'uncle'"),
    ],
)
def test_a_file_that_is_no_teacher_s_or_contradicts_itself_is_refused(checkpoint, tmp_path, changes, rule):
    about = dataclasses.asdict(about_checkpoint(checkpoint, "T", {}, CARD))
    metadata = None if changes is None else {KEY: json.dumps({**about, **changes})}
    save_file(dict(checkpoint.averaged), tmp_path / "t.safetensors", metadata)
    with pytest.raises(UnusableInputError, match=rule):
        load_network_file(tmp_path / "t.safetensors").network()


@pytest.mark.parametrize("content", [None, b"", b"hello, this is no safetensors file at all"])
def test_anything_else_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "t.safetensors").write_bytes(content)
    with pytest.raises(UnusableInputError, match="teacher must be"):
        load_network_file(tmp_path / "t.safetensors")


def test_a_weight_that_half_precision_cannot_hold_is_refused_by_name(checkpoint, tmp_path):
    name = "heads.0.classify.weight"
    loud = dataclasses.replace(checkpoint, averaged={**checkpoint.averaged, name: checkpoint.averaged[name] + 1e6})
    with pytest.raises(ProcessingError, match=rf"finite in FP16, got {re.escape(name)} up to 1e\+06"):
        write(loud, tmp_path / "t.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_teacher_that_is_too_large_to_give_away_is_refused(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(training.teacher_files, "LIMIT_BYTES", 1000)
    with pytest.raises(ProcessingError, match=r"teacher must have at most 0 MB, got 0\.\d; train a smaller one"):
        write(checkpoint, tmp_path / "t.safetensors")


def test_a_checkout_s_teacher_is_found_by_modality(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(training.teacher_files, "FOLDER", tmp_path)
    assert shipped_teacher("thermal") is None
    file = write(checkpoint, tmp_path / "kestrel-thermal-teacher.safetensors")
    assert shipped_teacher("thermal") == file
    assert shipped_teacher("rgb") is None
    monkeypatch.setattr(training.teacher_files, "FOLDER", tmp_path / "site-packages" / "teachers")
    assert shipped_teacher("thermal") is None
    monkeypatch.setattr(training.teacher_files, "HERE", Path("training/teachers"))
    monkeypatch.chdir(tmp_path)
    here = write(checkpoint, tmp_path / "training" / "teachers" / file.name)
    assert shipped_teacher("thermal").resolve() == here  # installed elsewhere, but used in a checkout


def test_no_teacher_is_part_of_the_installed_package():
    import tomllib

    project = tomllib.loads((Path(training.teacher_files.__file__).parents[1] / "pyproject.toml").read_text())
    packaging = project["tool"]["setuptools"]
    assert packaging["include-package-data"] is False
    assert set(packaging["package-data"]) <= {"edge", "export"}
