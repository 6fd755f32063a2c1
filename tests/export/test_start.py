import dataclasses

import pytest
import torch

from edge.errors import UnusableInputError
from export.build import export_model
from export.start import require_told, student_of
from tests.export.conftest import export_settings
from tests.models import METADATA
from tests.training.test_checkpoints import student_checkpoint
from training.checkpoints import save_checkpoint


def test_weights_that_are_no_numbers_are_refused():
    checkpoint = student_checkpoint()
    assert student_of(checkpoint)
    averaged = {**checkpoint.averaged, "head.classify.bias": torch.tensor([float("nan")])}
    said = r"finite weights, got NaN or infinity in 1 tensors, head\.classify\.bias first; its training diverged"
    with pytest.raises(UnusableInputError, match=said):
        student_of(student_checkpoint(averaged=averaged))


@pytest.mark.parametrize(
    "settings",
    [
        {"history": "x"},
        {"history": [{"from_step": 0, "train": "x"}]},
        {"history": [{}, {}]},
        {"note": torch.zeros(1)},
        {"loss": float("nan")},
        {"note": "\x1b[2J"},
    ],
)
def test_settings_that_cannot_be_told_are_refused(settings):
    require_told(METADATA)
    with pytest.raises(UnusableInputError, match="CHECKPOINT must tell in plain values how it was trained, got"):
        require_told(dataclasses.replace(METADATA, settings=settings))


def test_a_damaged_second_look_is_refused_before_the_work(tmp_path):
    save_checkpoint(student_checkpoint(settings={"second_look": "x"}), tmp_path / "s.pt")
    with pytest.raises(UnusableInputError, match="second_look must be a finite number, got 'x'"):
        list(export_model(export_settings(tmp_path / "s.pt", tmp_path / "m.onnx")))
    assert [file.name for file in tmp_path.iterdir()] == ["s.pt"]
