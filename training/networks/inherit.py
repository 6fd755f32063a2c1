"""A student starts from its teacher: from the trunk, or from all of it where they are built alike."""

from collections.abc import Callable

from torch import Tensor, nn

from training.networks.hardswish import ScaledHardswish, fold_scale
from training.networks.narrow import is_narrower, take_strongest
from training.networks.reactivate import refit, replace_activations
from training.networks.yolox import YoloxTrunk
from training.networks.yolox_head import YoloxHead


def inherit(student: nn.Module, teacher: nn.Module, pictures: Callable[[], list[Tensor]]) -> int:
    """Copy what fits; returns the number of tensors, 0 where the trunks differ.

    Both must normalise pictures alike, or the weights are worth little. Where the student has the teacher's whole
    architecture but for the activation, all weights are copied, and where it is only narrower, those of the strongest
    channels; then they are refitted to the student on `pictures()`, batches (B, 3, H, W) as both read them.
    """
    if is_narrower(student, teacher):
        _refit_all(student, teacher, pictures(), take_strongest(student, teacher))
        return len(student.state_dict())
    theirs = teacher.state_dict()
    ours = student.state_dict()
    fitting = {name for name, tensor in ours.items() if name in theirs and theirs[name].shape == tensor.shape}
    trunk = {name for name in ours if name.startswith("trunk.")}
    if not trunk <= fitting:
        return 0
    whole = len(fitting) == len(ours) == len(theirs)
    chosen = fitting if whole else trunk
    student.load_state_dict({name: theirs[name] for name in chosen}, strict=False)
    if whole and activations(student) != activations(teacher):
        _refit_all(student, teacher, pictures())
    return len(chosen)


def _refit_all(
    student: nn.Module, teacher: nn.Module, pictures: list[Tensor], channels: dict[str, list[int]] | None = None
) -> None:
    layers = [name for name, module in student.named_modules() if isinstance(module, nn.Conv2d)]
    trunk, head = student.get_submodule("trunk"), student.get_submodule("head")
    scaled = isinstance(trunk, YoloxTrunk) and isinstance(head, YoloxHead) and "Hardswish" in activations(student)
    if scaled:
        replace_activations(student, (nn.Hardswish,), ScaledHardswish)
    refit(student, teacher, layers, pictures, channels)
    if scaled:
        assert isinstance(trunk, YoloxTrunk)
        assert isinstance(head, YoloxHead)
        fold_scale(trunk, head)


def inherit_all(student: nn.Module, teacher: nn.Module, pictures: Callable[[], list[Tensor]]) -> None:
    """As `inherit`, for two networks of one architecture, the activation and the width apart."""
    copied = inherit(student, teacher, pictures)
    assert copied == len(student.state_dict()), "only networks of one architecture come here"


def activations(network: nn.Module) -> list[str]:
    """Kinds of the activations, in the order of the modules."""
    kinds = nn.SiLU | nn.LeakyReLU | nn.Hardswish | nn.ReLU
    return [type(m).__name__ for m in network.modules() if isinstance(m, kinds)]
