import dataclasses
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from edge.contract import Calibration, ModelMetadata
from edge.errors import ModelError
from export.graph import to_onnx
from export.model_file import write_model
from tests.models import write_spot_model
from tests.training.people import draw_people
from training.checkpoints import load_checkpoint, save_checkpoint
from training.networks.recipes import student_spec
from training.networks.student import Student
from training.shipped import read_shipped, require_same
from training.start_point import read_start_point

IMAGES = [draw_people([(10, 20), (60, 40)], seed=k) for k in range(2)]


def metadata_of(file: Path) -> ModelMetadata:
    """What a model file says of itself."""
    return ModelMetadata.from_props({p.key: p.value for p in onnx.load(file).metadata_props}, file.name)


def changed(file: Path, to: Path, **changes: object) -> Path:
    """A copy of a model file with other metadata."""
    changes_made = dataclasses.replace(metadata_of(file), **changes)  # type: ignore[arg-type]
    write_model(onnx.load(file), changes_made, to)
    return to


def test_a_shipped_student_answers_as_its_checkpoint_does(shipped_model, learnt_student):
    shipped = read_shipped(shipped_model)
    original = load_checkpoint(learnt_student).network()
    images = torch.from_numpy(np.stack(IMAGES)).permute(0, 3, 1, 2)
    with torch.no_grad():
        ours, theirs = shipped.student(images)[4], original(images)[4]
    torch.testing.assert_close(ours.logits, theirs.logits, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(ours.log_distances, theirs.log_distances, atol=1e-3, rtol=1e-3)
    assert shipped.student.spec == original.spec
    assert shipped.metadata.modality == "rgb"


def test_the_file_and_the_student_from_it_agree_on_pictures(shipped_model):
    assert require_same(read_shipped(shipped_model), shipped_model, IMAGES) < 1e-3
    assert require_same(read_shipped(shipped_model), shipped_model, []) == 0


def test_a_student_that_answers_otherwise_is_refused(shipped_model):
    shipped = read_shipped(shipped_model)
    with torch.no_grad():
        shipped.student.head.classify.bias.add_(0.5)
    with pytest.raises(ModelError, match=r"must be rebuilt to the same answers, got logits that differ by 0\.5"):
        require_same(shipped, shipped_model, IMAGES)


def test_what_cannot_be_rebuilt_is_refused_with_what_to_do(shipped_model, tmp_path):
    spec = load_spec(shipped_model)
    cases = [
        (changed(shipped_model, tmp_path / "a.onnx", settings={}), "must say which architecture it has, got none"),
        (
            changed(shipped_model, tmp_path / "b.onnx", settings={"spec": {**spec, "box_depth": 2}}),
            "got none for head.box_tower.1.0.0; name the checkpoint",
        ),
        (write_spot_model(tmp_path / "c.onnx"), "must say which architecture it has"),
    ]
    for file, rule in cases:
        with pytest.raises(ModelError, match=rule):
            read_shipped(file)
    shutil.copy(Path(__file__), tmp_path / "d.onnx")
    with pytest.raises(ModelError):
        read_shipped(tmp_path / "d.onnx")


def test_channels_that_export_filled_up_are_what_they_were(shipped_model, tmp_path):
    torch.manual_seed(0)
    student = Student(student_spec("nanodet_m", "none", 4, activation="relu")).eval()
    for tensor in student.parameters():  # untrained ones have equal tensors, which a graph holds once
        tensor.data.add_(0.02 * torch.randn_like(tensor))
    model = to_onnx(student, Calibration(1.0, 0.0))
    shapes = {t.name: list(t.dims) for t in model.graph.initializer}
    assert shapes["student.trunk.backbone.stage2.0.convolved.2.weight"] == [64, 1, 3, 3]
    file = tmp_path / "nanodet.onnx"
    write_model(model, metadata_of(shipped_model), file)
    file = changed(file, file, settings={"spec": student.spec.to_json()}, input_multiple=32)
    shipped = read_shipped(file)
    images = torch.from_numpy(np.stack(IMAGES)).permute(0, 3, 1, 2)[:, :, :64, :64]
    with torch.no_grad():
        torch.testing.assert_close(shipped.student(images)[4].logits, student(images)[4].logits, atol=1e-3, rtol=1e-3)
    require_same(shipped, file, IMAGES)
    holding = onnx.load(file)
    filled = next(t for t in holding.graph.initializer if t.name.endswith("stage2.0.convolved.2.weight"))
    filled.CopyFrom(onnx.numpy_helper.from_array(np.ones(tuple(filled.dims), np.float32), filled.name))
    onnx.save(holding, file)
    with pytest.raises(ModelError, match=r"got none for trunk\.backbone\.stage2\.0\.convolved\.2"):
        read_shipped(file)


def load_spec(file: Path) -> dict[str, object]:
    return dict(read_shipped(file).metadata.settings["spec"])


def test_a_checkpoint_of_what_learnt_on_from_a_model_file_has_norms_to_hold_too(
    shipped_model, learnt_student, tmp_path
):
    checkpoint = load_checkpoint(learnt_student)
    held = dataclasses.replace(checkpoint, averaged=read_shipped(shipped_model).student.state_dict())
    save_checkpoint(held, tmp_path / "held.pt")
    assert not read_start_point(str(tmp_path / "held.pt"), IMAGES).norms_known
    assert read_start_point(str(learnt_student), IMAGES).norms_known
