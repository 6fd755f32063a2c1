"""A student starts from its teacher: from the trunk, or from all of it where they are built alike."""

from collections.abc import Callable

from torch import Tensor, nn

from training.networks.reactivate import refit


def inherit(student: nn.Module, teacher: nn.Module, pictures: Callable[[], list[Tensor]]) -> int:
    """Copy what fits; returns the number of tensors, 0 where the trunks differ.

    Both must normalise pictures alike, or the weights are worth little. Where the student has the teacher's whole
    architecture but for the activation, all weights are copied, then refitted to the student's activation on
    `pictures()`, batches (B, 3, H, W) as both read them.
    """
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
        layers = [name for name, module in student.named_modules() if isinstance(module, nn.Conv2d)]
        refit(student, teacher, layers, pictures())
    return len(chosen)


def activations(network: nn.Module) -> list[str]:
    """Kinds of the activations, in the order of the modules."""
    return [type(m).__name__ for m in network.modules() if isinstance(m, nn.SiLU | nn.ReLU)]
