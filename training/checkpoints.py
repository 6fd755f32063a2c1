"""Checkpoints: tensors and plain values only, so that loading one runs no code; written aside, then renamed."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import torch
from torch import nn

from edge.errors import InvalidValueError, UnusableInputError
from edge.records import Modality
from training.augment import DEFAULT_INPUT, InputRule
from training.networks.ensemble import AnyNetwork, Ensemble, EnsembleSpec
from training.networks.student import Student, StudentSpec
from training.networks.teacher import Teacher, TeacherSpec
from training.write_aside import write_aside

CHECKPOINT_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A network in the middle or at the end of its training."""

    kind: str  # student | teacher | ensemble
    spec: Mapping[str, Any]
    modality: Modality
    averaged: Mapping[str, torch.Tensor]  # exponential moving average of the weights: what is exported and what teaches
    settings: Mapping[str, Any]  # how it was trained
    progress: Mapping[str, Any]  # step, seconds; empty once finished
    current: Mapping[str, torch.Tensor]  # weights of the optimiser; empty once finished
    optimizer: Mapping[str, Any]  # empty once finished
    adaptor: Mapping[str, torch.Tensor] = field(default_factory=dict)  # of feature distillation; empty once finished

    def __post_init__(self) -> None:
        for name in ("spec", "averaged", "settings", "progress", "current", "optimizer", "adaptor"):
            if not isinstance(getattr(self, name), Mapping):
                advice = "it is damaged: train it again, or name another file"
                raise InvalidValueError(f"checkpoint's {name}", "a mapping", type(getattr(self, name)).__name__, advice)
        unnamed = next((name for name in self.averaged if not isinstance(name, str)), None)
        if unnamed is not None:
            raise InvalidValueError("checkpoint's averaged", "tensors by their names", unnamed, "train it again")

    def network(self) -> AnyNetwork:
        """The network with its averaged weights, in evaluation mode.

        Raises:
            UnusableInputError: weights and architecture do not fit.
        """
        network = build_network(self.kind, self.spec)
        try:
            network.load_state_dict(dict(self.averaged))
        except RuntimeError as error:
            first = str(error).splitlines()[-1].strip()[:200]  # of the names of all tensors
            raise UnusableInputError(f"checkpoint must hold the weights of its own architecture, got {first}") from None
        return network.eval()

    @property
    def input_rule(self) -> InputRule:
        """The size that it was trained for.

        Raises:
            UnusableInputError: it says none that is one.
        """
        size = self.settings.get("augment", {})
        try:
            return InputRule(
                int(size.get("default_long_side", DEFAULT_INPUT.default_long_side)),
                float(size.get("max_enlarge", DEFAULT_INPUT.max_enlarge)),
            )
        except (AttributeError, TypeError, ValueError, OverflowError) as error:
            raise UnusableInputError(
                f"checkpoint must say at which size it was trained, got {error}; train it again"
            ) from None

    def finished(self) -> "Checkpoint":
        """What is worth keeping once the optimiser is done; how long it took, earlier runs included, joins them."""
        before = self.settings.get("before", {})
        settings = {**self.settings, **{name: n + before.get(name, 0) for name, n in self.progress.items()}}
        return dataclasses.replace(self, settings=settings, progress={}, current={}, optimizer={}, adaptor={})


def build_network(kind: str, spec: Mapping[str, Any]) -> AnyNetwork:
    """An untrained network of that architecture.

    Raises:
        UnusableInputError: there is no such architecture.
    """
    if kind == "ensemble":
        return Ensemble([build_single(member.kind, member.spec) for member in EnsembleSpec.from_json(spec).members])
    return build_single(kind, spec)


def build_single(kind: str, spec: Mapping[str, Any]) -> Student | Teacher:
    """The same, of what can learn."""
    if kind == "student":
        return Student(StudentSpec.from_json(spec))
    if kind == "teacher":
        return Teacher(TeacherSpec.from_json(spec))
    raise UnusableInputError(f"checkpoint must be of a student or a teacher, got {kind!r}; name another file")


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write aside, then rename: a kill or a full disk leaves the previous checkpoint whole.

    Raises:
        ProcessingError: the disk is full or the folder cannot be written.
    """
    values = {f.name: getattr(checkpoint, f.name) for f in dataclasses.fields(checkpoint)}
    write_aside(path, lambda file: torch.save({"kestrel_checkpoint": CHECKPOINT_SCHEMA, **values}, file))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; nothing in it is executed.

    Raises:
        UnusableInputError: missing, not a checkpoint, or of a newer schema.
    """
    if not path.is_file():
        raise UnusableInputError(
            f"checkpoint must be an existing file, got {str(path)!r}; name the file that training wrote"
        )
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # torch raises whatever unpickling raises, from KeyError to UnpicklingError
        raise UnusableInputError(
            f"checkpoint must be a file that kestrel-train wrote, got {path.name} "
            "(something else, or with code in it, which is never run)"
        ) from None
    if not isinstance(values, dict) or "kestrel_checkpoint" not in values:
        raise UnusableInputError(
            f"checkpoint must be a file that kestrel-train wrote, got {path.name}; name another file"
        )
    schema = values.pop("kestrel_checkpoint")
    if not isinstance(schema, int) or schema != CHECKPOINT_SCHEMA:
        raise UnusableInputError(f"checkpoint must have schema {CHECKPOINT_SCHEMA}, got another; update kestrel-drone")
    try:
        checkpoint = Checkpoint(**values)
    except TypeError as error:
        raise UnusableInputError(f"checkpoint must have all its fields, got {path.name}: {error}") from None
    if checkpoint.modality not in get_args(Modality):
        raise UnusableInputError(f"checkpoint must say its modality, got {checkpoint.modality!r}; train it again")
    return checkpoint


def strip(module: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of the module's state, detached."""
    return {k: v.detach().clone() for k, v in module.state_dict().items()}
