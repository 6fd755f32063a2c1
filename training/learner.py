"""What learns, and how it is stored and found again: network, optimiser, average, progress."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from edge.errors import UnusableInputError
from edge.records import Modality
from training.checkpoints import Checkpoint, build_network, build_single, load_checkpoint, strip
from training.engine import Learner, MovingAverage, Progress, TrainSettings, make_optimizer
from training.networks.student import Student
from training.networks.teacher import Teacher

Network = Student | Teacher
Change = Callable[[Network], None]  # changes a network in place


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to learn: an architecture, for a modality, on a device."""

    kind: str  # student | teacher
    spec: Mapping[str, Any]
    modality: Modality
    device: torch.device


def find_again(last: Path, plan: Plan) -> Checkpoint | None:
    """The checkpoint to go on from; None without one, since a run may be cut off before its first.

    Raises:
        UnusableInputError: it is no checkpoint, or holds another kind, architecture or modality.
    """
    if not last.exists():
        return None
    previous = load_checkpoint(last)
    same = (previous.kind, previous.modality) == (plan.kind, plan.modality)
    if not same or _whole_spec(previous.kind, previous.spec) != _whole_spec(plan.kind, plan.spec):
        raise UnusableInputError(
            f"--resume must go on with the network of {last}, got another kind, architecture or modality; "
            "name another out"
        )
    if not previous.current:
        raise UnusableInputError(f"--resume must go on from an unfinished checkpoint, got {last}; name another out")
    return previous


def _whole_spec(kind: str, spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """The architecture with every default in its place: older checkpoints were written when it had fewer fields."""
    return build_network(kind, spec).spec.to_json()


def network_of(plan: Plan, previous: Checkpoint | None, start: Change, prepare: Change | None) -> Network:
    """The network that learns, where `previous` stands or at its first weights, which `start` gives it.

    `prepare` changes how it learns; names of parameters stay.
    """
    network = build_single(plan.kind, plan.spec)
    if previous is None:
        start(network)
    else:
        network.load_state_dict(dict(previous.current))
    if prepare is not None:
        prepare(network)
    moved: Network = network.to(plan.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved


def learner_of(
    network: Network, adaptor: nn.Module | None, settings: TrainSettings, previous: Checkpoint | None
) -> Learner:
    """The network with all that belongs to its learning, where `previous` stands.

    Raises:
        UnusableInputError: the optimiser of `previous` moved other parameters.
    """
    optimizer = make_optimizer(network, settings)
    if adaptor is not None:
        parameters = list(adaptor.parameters())
        rate = settings.learning_rate
        optimizer.add_param_group({"params": parameters, "lr": 0.0, "initial_lr": rate, "weight_decay": 0.0})
    average = MovingAverage(network, settings.average_decay)
    if previous is None:
        return Learner(network, optimizer, average, Progress(), adaptor)
    if adaptor is not None and previous.adaptor:
        _require_same_maps(adaptor, previous.adaptor)
        adaptor.load_state_dict(dict(previous.adaptor))
    _restore(optimizer, previous.optimizer)
    device = next(network.parameters()).device
    average.state = {k: v.to(device) for k, v in previous.averaged.items()}
    return Learner(network, optimizer, average, Progress(**previous.progress), adaptor)


def _require_same_maps(adaptor: nn.Module, previous: Mapping[str, torch.Tensor]) -> None:
    ours = adaptor.state_dict()
    for name, tensor in previous.items():
        if ours[name].shape != tensor.shape:
            raise UnusableInputError(
                f"--resume must go on with a teacher whose maps have {len(tensor)} channels, got {len(ours[name])}; "
                "name the same teacher, leave --feature out, or begin a new run"
            )


def _restore(optimizer: Optimizer, saved: Mapping[str, Any]) -> None:
    """The optimiser's memory; its rates are today's. The group of an adaptor, the last, may have come or gone since."""
    ours = optimizer.state_dict()["param_groups"]
    groups = list(saved["param_groups"])[: len(ours)]
    merged = [{**group, "params": old["params"]} for group, old in zip(ours, groups, strict=False)]
    merged += ours[len(groups) :]
    known = {index for group in merged for index in group["params"]}
    state = {index: value for index, value in saved["state"].items() if index in known}
    try:
        optimizer.load_state_dict({"state": state, "param_groups": merged})
    except ValueError as error:  # layers that are no longer there, or that are grouped in another way today
        raise UnusableInputError(
            f"--resume must find the optimiser of this very network, got another ({error}); begin a new run"
        ) from None


def checkpoint_of(learner: Learner, plan: Plan, settings: Mapping[str, Any]) -> Checkpoint:
    """All that is needed to go on."""
    return Checkpoint(
        kind=plan.kind,
        spec=dict(plan.spec),
        modality=plan.modality,
        averaged=learner.average.state,
        settings=settings,
        progress=asdict(learner.progress),
        current=strip(learner.network),
        optimizer=learner.optimizer.state_dict(),
        adaptor={} if learner.adaptor is None else strip(learner.adaptor),
    )
