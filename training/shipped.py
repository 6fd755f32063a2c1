"""A model file read back into a student that can learn on: what is shipped is ONNX, and nobody has the checkpoint.

Export folds the normalisation of the picture into the first convolution and every batch norm into the convolution
before it, and fills channels up to whole blocks; all of it is undone here. The function is exactly the model's:
`require_same` proves it on the user's own pictures. What cannot come back are the batch norms' statistics, so a student
from here must learn with its norms held (see finetune.py).
"""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edge.contract import ModelMetadata
from edge.errors import ModelError
from edge.recognizer import Recognizer, RecognizerSettings
from edge.records import Image
from training.networks.peaks import find_peaks
from training.networks.student import Student, StudentSpec

PREFIX = "student."  # what the exported graph calls its student
PROBE_PX = 64
COMPARED_PEAKS = 20  # of each picture
LARGEST_DIFFERENCE = 0.02  # of a logit; rounding makes 1e-4


@dataclass(frozen=True, slots=True)
class ShippedStudent:
    """The student, in evaluation mode, and what its model file says of it."""

    student: Student
    metadata: ModelMetadata


@dataclass(frozen=True, slots=True)
class _Folded:
    """A convolution as the graph holds it; the bias holds the batch norm that followed."""

    weight: Tensor
    bias: Tensor | None


def read_shipped(file: Path) -> ShippedStudent:
    """Read the weights of an FP32 model file.

    Raises:
        ModelError: no Kestrel model, an INT8 one, or of an architecture that this version cannot rebuild.
    """
    recognizer = Recognizer(file, RecognizerSettings(threads=1))
    metadata = recognizer.metadata
    if metadata.precision != "fp32":
        raise ModelError(
            f"{file.name} must be FP32 to learn on, got {metadata.precision}; name the fp32 file beside it"
        )
    if "spec" not in metadata.settings:
        raise ModelError(f"{file.name} must say which architecture it has, got none; export it again")
    student = Student(StudentSpec.from_json({**metadata.settings["spec"], "size": metadata.size})).eval()
    _fill(student, file)
    return ShippedStudent(student, metadata)


def require_same(shipped: ShippedStudent, file: Path, images: Iterable[Image]) -> float:
    """The largest difference of a logit between the file and the student, over the highest peaks of these pictures.

    Raises:
        ModelError: they differ by more than rounding explains.
    """
    recognizer = Recognizer(file)
    worst = 0.0
    for image in images:
        tensor = recognizer.preprocess(image).tensor
        scores = recognizer.run_graph(tensor)[0].scores[:COMPARED_PEAKS]
        with torch.inference_mode():
            predicted = shipped.student(torch.from_numpy(tensor).permute(0, 3, 1, 2))
        logits = find_peaks(predicted[shipped.student.spec.stride].logits).logits[0, : len(scores)]
        theirs = torch.logit(torch.from_numpy(scores[scores > 0]))
        worst = max(worst, float((theirs - logits[: len(theirs)]).abs().max()) if len(theirs) else 0.0)
    if worst > LARGEST_DIFFERENCE:
        raise ModelError(
            f"{file.name} must be rebuilt to the same answers, got logits that differ by {worst:.3g}; "
            "name the checkpoint that it was exported from"
        )
    return worst


def _fill(student: Student, file: Path) -> None:
    """Every tensor of the student from the graph, in place."""
    graph = _read_graph(file)
    norms = _norms_after(student)
    unused = _unused(student)
    filled: set[str] = set()
    names = {module: name for name, module in student.named_modules()}
    with torch.no_grad():
        for name, module in student.named_modules():
            if not isinstance(module, nn.Conv2d) or name in unused:
                continue
            stored = graph.convolutions.get(f"{PREFIX}{name}.weight")
            folded = stored and _unpadded(stored, module.weight.shape)
            if folded is None:
                raise _unknown(file, name)
            module.weight.copy_(folded.weight)
            filled.add(f"{name}.weight")
            norm = norms.get(name)
            if module.bias is not None and folded.bias is not None:
                module.bias.copy_(folded.bias)
                filled.add(f"{name}.bias")
            elif norm is not None and folded.bias is not None:
                _become_shift(norm, folded.bias)
                filled |= {f"{names[norm]}.{part}" for part in norm.state_dict()}
        _unfold_normalization(student)
        for name, tensor in student.state_dict().items():
            if name in filled or name.rpartition(".")[0] in unused:
                continue
            own = graph.tensors.get(PREFIX + name)
            if own is None or own.shape != tensor.shape:
                raise _unknown(file, name)
            tensor.copy_(own)


def _unpadded(folded: _Folded, shape: torch.Size) -> _Folded | None:
    """Without the zeros that filled its channels up (export.blocks); None: what is left is not of that shape."""
    outputs, inputs = shape[:2]
    kept = folded.weight[:outputs, :inputs]
    if kept.shape != shape or kept.count_nonzero() != folded.weight.count_nonzero():
        return None
    return _Folded(kept, None if folded.bias is None else folded.bias[:outputs])


def _become_shift(norm: nn.BatchNorm2d, bias: Tensor) -> None:
    """A batch norm that adds `bias` and does nothing else, as long as its statistics are held."""
    state = norm.state_dict()
    state["running_mean"].zero_()
    state["running_var"].fill_(1.0)
    norm.weight.fill_((1.0 + norm.eps) ** 0.5)
    norm.bias.copy_(bias)


def knows_its_norms(student: Student) -> bool:
    """False where a batch norm only adds, as `read_shipped` makes it: held ever since, it has no statistics yet."""
    norms = [m.state_dict() for m in student.modules() if isinstance(m, nn.BatchNorm2d)]
    return not any((n["running_mean"] == 0).all() and (n["running_var"] == 1).all() for n in norms)


def _unfold_normalization(student: Student) -> None:
    """The stem reads normalised RGB again, not BGR of 0..255 (see export.graph.fold_normalization)."""
    stem = next(m for m in student.trunk.backbone.modules() if isinstance(m, nn.Conv2d))
    stem.weight.copy_(stem.weight.flip(1) / student.trunk.normalize.get_buffer("scale"))


def _norms_after(student: Student) -> dict[str, nn.BatchNorm2d]:
    """Name of a convolution -> the batch norm that reads its output, seen by running the network once."""
    made_by: dict[int, str] = {}
    kept: list[Tensor] = []  # keeps the tensors alive, so that no id is used twice
    norms: dict[str, nn.BatchNorm2d] = {}

    def after_convolution(name: str) -> Any:
        def note(_: nn.Module, __: Any, output: Tensor) -> None:
            made_by[id(output)] = name
            kept.append(output)

        return note

    def before_norm(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        name = made_by.get(id(args[0]))
        if name is not None and isinstance(module, nn.BatchNorm2d):
            norms[name] = module

    hooks = []
    for name, module in student.named_modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(after_convolution(name)))
        elif isinstance(module, nn.BatchNorm2d):
            hooks.append(module.register_forward_pre_hook(before_norm))
    with torch.no_grad():
        student(torch.zeros(1, 3, PROBE_PX, PROBE_PX))
    for hook in hooks:
        hook.remove()
    return norms


def _unused(student: Student) -> frozenset[str]:
    """Modules that no answer depends on, as the pyramid's coarser maps.

    Export leaves them out, and training never moves them.
    """
    copied = copy.deepcopy(student).requires_grad_(True)
    predictions = copied(torch.zeros(1, 3, PROBE_PX, PROBE_PX)).values()
    sum(p.logits.sum() + p.log_distances.sum() for p in predictions).backward()
    used = {name.rpartition(".")[0] for name, parameter in copied.named_parameters() if parameter.grad is not None}
    return frozenset({name.rpartition(".")[0] for name, _ in copied.named_parameters()} - used)


@dataclass(frozen=True, slots=True)
class _Graph:
    convolutions: Mapping[str, _Folded]  # by the name of their weight
    tensors: Mapping[str, Tensor]  # every initialiser by its name


def _read_graph(file: Path) -> _Graph:
    import onnx

    graph = onnx.load(file).graph
    tensors = {t.name: torch.from_numpy(np.array(onnx.numpy_helper.to_array(t))) for t in graph.initializer}
    convolutions = {
        node.input[1]: _Folded(tensors[node.input[1]], tensors[node.input[2]] if len(node.input) > 2 else None)
        for node in graph.node
        if node.op_type == "Conv" and all(name in tensors for name in node.input[1:])
    }
    return _Graph(convolutions, tensors)


def _unknown(file: Path, name: str) -> ModelError:
    return ModelError(
        f"{file.name} must hold every weight of its architecture under its own name, got none for {name}; "
        "name the checkpoint that it was exported from"
    )
