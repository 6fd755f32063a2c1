"""Where fine-tuning starts: a shipped model, a model file, or a student's checkpoint."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.contract import Calibration, TrainingData
from edge.errors import UnusableInputError
from edge.model_files import SHIPPED_NAMES, resolve
from edge.records import Image, Modality
from training.augment import InputRule
from training.networks.student import Student
from training.shipped import knows_its_norms, read_shipped, require_same
from training.teacher_files import load_network_file

PROOF_PICTURES = 3  # on which a model file and its student are compared


@dataclass(frozen=True, slots=True)
class StartPoint:
    """A student as it is before it learns on, in evaluation mode, and what is known of it."""

    name: str
    student: Student
    modality: Modality
    input_rule: InputRule
    settings: Mapping[str, Any]  # how it was trained
    norms_known: bool = True  # False: batch norms are folded into convolutions, and must be held (finetune.hold_norms)
    second_look: float | None = None  # as the model runs; training and its figures go by one look
    closer_look: float | None = None  # likewise
    threshold: float | None = None  # None: a checkpoint has none
    calibration: Calibration | None = None
    intended_use: str = ""
    data: tuple[TrainingData, ...] = ()  # that shaped its weights


def read_start_point(model: str, images: Sequence[Image]) -> StartPoint:
    """`model` is a shipped model's name, an FP32 model file or a checkpoint; `images` prove that a file was read right.

    Raises:
        UnusableInputError: none of these, or not a student's.
    """
    if model in SHIPPED_NAMES or Path(model).suffix == ".onnx":
        return _from_model_file(resolve(model, "fp32"), images)
    return _from_checkpoint(Path(model))


def _from_model_file(file: Path, images: Sequence[Image]) -> StartPoint:
    shipped = read_shipped(file)
    require_same(shipped, file, images)
    metadata = shipped.metadata
    return StartPoint(
        name=metadata.name,
        student=shipped.student,
        modality=metadata.modality,
        input_rule=InputRule(metadata.default_long_side, metadata.max_enlarge),
        settings={k: v for k, v in metadata.settings.items() if k != "spec"},
        norms_known=False,
        second_look=metadata.second_look,
        closer_look=metadata.closer_look,
        threshold=metadata.score_threshold,
        calibration=metadata.calibration,
        intended_use=metadata.intended_use,
        data=metadata.data,
    )


def _from_checkpoint(file: Path) -> StartPoint:
    checkpoint = load_network_file(file)
    if checkpoint.progress:  # of an unfinished run: how far it came is not in its settings yet
        checkpoint = checkpoint.finished()
    student = checkpoint.network()
    if not isinstance(student, Student):
        raise UnusableInputError(f"MODEL must be a student, got a {checkpoint.kind}'s checkpoint; name another file")
    return StartPoint(
        name=file.stem,
        student=student,
        modality=checkpoint.modality,
        input_rule=checkpoint.input_rule,
        settings=checkpoint.settings,
        norms_known=knows_its_norms(student),
        second_look=checkpoint.settings.get("second_look"),
        closer_look=checkpoint.settings.get("closer_look"),
    )
