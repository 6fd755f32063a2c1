"""What an export starts from: a checkpoint that is sound enough to be shipped, found out before hours are spent."""

from edge.contract import ModelMetadata
from edge.errors import ModelError, UnusableInputError
from training.checkpoints import Checkpoint
from training.history import learnt_on, told
from training.networks.student import Student


def student_of(checkpoint: Checkpoint) -> Student:
    """Its network, in evaluation mode.

    Raises:
        UnusableInputError: not a student's, contradictory, or with weights that are no numbers.
    """
    student = checkpoint.network()
    if not isinstance(student, Student):
        raise UnusableInputError(f"CHECKPOINT must be a student's, got a {checkpoint.kind}'s; distil one first")
    wrong = [name for name, tensor in student.state_dict().items() if not tensor.isfinite().all()]
    if wrong:
        raise UnusableInputError(
            f"CHECKPOINT must have finite weights, got NaN or infinity in {len(wrong)} tensors, {wrong[0]} first; "
            "its training diverged: take an earlier checkpoint, or train with a lower learning rate"
        )
    return student


def require_told(metadata: ModelMetadata) -> None:
    """Raises UnusableInputError where the file could not be read back, or its card not be written."""
    try:
        learnt_on(metadata.settings)
        told(metadata.settings)
        ModelMetadata.from_props(metadata.to_props(), "its metadata")
    except (ModelError, AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise UnusableInputError(
            f"CHECKPOINT must tell in plain values how it was trained, got {error}; it is damaged: train it again"
        ) from None
