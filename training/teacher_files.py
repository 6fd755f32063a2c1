"""A teacher as a file to give away: FP16 safetensors that say what they are, see teacher_card.py for the card.

Teachers are part of the product: users distil and self-train from them. `training/teachers/` holds those of this
repository; they lie in a checkout and are no part of the installed package.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from edge.contract import PEDESTRIAN, TrainingData
from edge.errors import ProcessingError, UnusableInputError
from edge.records import Modality
from training.checkpoints import Checkpoint, load_checkpoint
from training.data_card import DataCard
from training.history import learnt_on, told
from training.networks.ensemble import AnyNetwork
from training.write_aside import write_aside

SCHEMA = 1
SUFFIX = ".safetensors"
LIMIT_BYTES = 15_000_000
FOLDER = Path(__file__).parent / "teachers"
HERE = Path("training/teachers")  # of the checkout that one works in with an installed package
KEY = "kestrel_teacher"  # in the file's metadata: JSON of TeacherFile


@dataclass(frozen=True, slots=True)
class TeacherFile:
    """What a teacher's file says of itself."""

    name: str
    kind: str  # teacher | student | ensemble: any network of ours can teach, several at once too
    modality: Modality
    spec: Mapping[str, Any]
    settings: Mapping[str, Any]  # how it was trained; of an ensemble, `members` tells it of each network
    metrics: Mapping[str, Any]  # figures by data set, as `kestrel-train evaluate --json` writes them
    intended_use: str
    data: tuple[TrainingData, ...]
    classes: tuple[str, ...] = (PEDESTRIAN,)
    schema: int = SCHEMA


def shipped_name(modality: Modality) -> str:
    """What this checkout's teacher for a modality is called."""
    return f"kestrel-{modality}-teacher{SUFFIX}"


def shipped_teacher(modality: Modality) -> Path | None:
    """The teacher of this checkout for a modality; None where there is none, as away from any checkout."""
    name = shipped_name(modality)
    return next((folder / name for folder in (FOLDER, HERE) if (folder / name).is_file()), None)


def load_network_file(path: Path) -> Checkpoint:
    """A network with its averaged weights, from a checkpoint or from a teacher's file.

    Raises:
        UnusableInputError: missing, neither of both, or it contradicts itself.
    """
    checkpoint = load_checkpoint(path) if path.suffix != SUFFIX else _read_teacher(path)
    try:
        learnt_on(checkpoint.settings)
        for settings in checkpoint.settings.get("members", (checkpoint.settings,)):
            told(settings)
        checkpoint.finished()
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise UnusableInputError(
            f"checkpoint must tell in plain values how it was trained, got {path.name} ({error}); it is damaged: "
            "train it again"
        ) from None
    return checkpoint


def load_teacher(path: Path, modality: Modality) -> AnyNetwork:
    """Any network of ours can teach: a teacher, a larger student, or several of them. Frozen, in evaluation mode.

    Raises:
        UnusableInputError: no such file, or of another modality.
    """
    checkpoint = load_network_file(path)
    require_modality(checkpoint, modality)
    return checkpoint.network().requires_grad_(False)


def require_modality(teacher: Checkpoint, modality: Modality | None) -> None:
    """Raises UnusableInputError unless it is that of the pictures; None: they do not say theirs."""
    if modality not in (None, teacher.modality):
        raise UnusableInputError(f"teacher must be of modality {modality}, got {teacher.modality}; name another file")


def _read_teacher(path: Path) -> Checkpoint:
    about = read_about(path)
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    averaged = {name: t.float() if t.dtype.is_floating_point else t for name, t in tensors.items()}
    return Checkpoint(about.kind, about.spec, about.modality, averaged, about.settings, {}, {}, {})


def read_about(path: Path) -> TeacherFile:
    """What a teacher's file says of itself; its tensors are not read.

    Raises:
        UnusableInputError: missing, no teacher's file, of other classes or of a newer schema.
    """
    if not path.is_file():
        raise UnusableInputError(f"teacher must be an existing file, got {str(path)!r}; name a checkpoint or a teacher")
    try:
        with safe_open(path, "pt") as file:
            values = json.loads((file.metadata() or {})[KEY])
        schema = values.get("schema")
        if schema == SCHEMA:
            data = tuple(TrainingData(**entry) for entry in values.pop("data"))
            about = TeacherFile(**{**values, "data": data, "classes": tuple(values["classes"])})
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnusableInputError(
            f"teacher must be a file of kestrel-train export-teacher, got {path.name} ({error}); name another"
        ) from None
    if schema != SCHEMA:
        raise UnusableInputError(f"teacher must have schema {SCHEMA}, got {schema!r}; update kestrel-drone")
    if about.modality not in get_args(Modality):
        raise UnusableInputError(f"teacher must say its modality, got {about.modality!r}; export it again")
    if PEDESTRIAN not in about.classes:
        raise UnusableInputError(f"teacher must know the class {PEDESTRIAN}, got {about.classes}; name another")
    return about


def about_checkpoint(checkpoint: Checkpoint, name: str, metrics: Mapping[str, Any], card: DataCard) -> TeacherFile:
    """What a file with this checkpoint's weights is to say of itself.

    Raises:
        UnusableInputError: weights and architecture do not fit.
    """
    return TeacherFile(
        name=name,
        kind=checkpoint.kind,
        modality=checkpoint.modality,
        spec=checkpoint.network().spec.to_json(),  # with every default in its place, whatever they will be later
        settings=checkpoint.settings,
        metrics=metrics,
        intended_use=card.intended_use,
        data=card.data,
    )


def write_teacher(checkpoint: Checkpoint, about: TeacherFile, path: Path) -> int:
    """Weights as FP16, single values (biases, batch norm) as FP32: they are few, and they may be small.

    Returns:
        How many bytes were written.

    Raises:
        ProcessingError: a weight that FP16 cannot hold, more than 15 MB, or a full disk; nothing is left behind.
    """
    tensors = {name: _halved(name, tensor) for name, tensor in checkpoint.averaged.items()}
    content = save(tensors, {KEY: json.dumps(dataclasses.asdict(about), sort_keys=True)})
    if len(content) > LIMIT_BYTES:
        raise ProcessingError(
            f"teacher must have at most {LIMIT_BYTES / 1e6:.0f} MB, got {len(content) / 1e6:.1f}; train a smaller one"
        )
    write_aside(path, lambda file: file.write(content))
    return len(content)


def _halved(name: str, tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    if not tensor.dtype.is_floating_point or tensor.ndim < 2:
        return tensor
    half = tensor.to(torch.float16)
    if not half.isfinite().all():
        raise ProcessingError(f"weights must be finite in FP16, got {name} up to {tensor.abs().max().item():g}")
    return half
