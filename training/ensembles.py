"""Several checkpoints as one teacher, see networks/ensemble.py."""

from collections.abc import Mapping, Sequence
from typing import Any

from edge.errors import InvalidValueError, UnusableInputError
from training.checkpoints import Checkpoint
from training.networks.ensemble import EnsembleSpec, MemberSpec

KIND = "ensemble"


def join(checkpoints: Sequence[Checkpoint]) -> Checkpoint:
    """One checkpoint whose networks are those of all; a single one stays what it is.

    How large its pictures are, and what its data is called, it has from the first.

    Raises:
        UnusableInputError: they are not of one modality.
        InvalidValueError: they have no stride in common.
    """
    first = checkpoints[0]
    if len(checkpoints) == 1:
        return first
    for other in checkpoints:
        if other.modality != first.modality:
            raise UnusableInputError(
                f"--with must name networks of modality {first.modality}, got {other.modality}; leave that one out"
            )
    members = [member for checkpoint in checkpoints for member in apart(checkpoint)]
    joined = Checkpoint(
        kind=KIND,
        spec=EnsembleSpec(tuple(MemberSpec(m.kind, m.spec) for m in members)).to_json(),
        modality=first.modality,
        averaged={f"members.{i}.{name}": t for i, m in enumerate(members) for name, t in m.averaged.items()},
        settings={
            "dataset": first.settings.get("dataset", ""),
            "augment": first.settings.get("augment", {}),
            "members": [dict(member.settings) for member in members],
        },
        progress={},
        current={},
        optimizer={},
    )
    joined.network()  # refused here, not by whoever learns from it
    return joined


def member_settings(settings: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """How each network of a teacher was trained."""
    return tuple(settings.get("members", (settings,)))


def one_of(checkpoint: Checkpoint, number: int | None) -> Checkpoint:
    """The network of that number, from 1 on, as its card counts them; None: the only one.

    Raises:
        InvalidValueError: there is no such one, or several and no number.
    """
    networks = apart(checkpoint)
    if number is None and len(networks) == 1:
        return networks[0]
    if number is None or not 1 <= number <= len(networks):
        raise InvalidValueError("network", f"in 1..{len(networks)}, one of those that teach together", number)
    return networks[number - 1]


def apart(checkpoint: Checkpoint) -> list[Checkpoint]:
    """Its networks, each as a checkpoint of its own."""
    if checkpoint.kind != KIND:
        return [checkpoint]
    specs = EnsembleSpec.from_json(checkpoint.spec).members
    told = member_settings(checkpoint.settings)
    if len(told) != len(specs):
        raise UnusableInputError(
            f"checkpoint must tell how each of its {len(specs)} networks was trained, got {len(told)}"
        )
    members = []
    for number, (member, settings) in enumerate(zip(specs, told, strict=True)):
        start = f"members.{number}."
        weights = {n.removeprefix(start): t for n, t in checkpoint.averaged.items() if n.startswith(start)}
        members.append(Checkpoint(member.kind, member.spec, checkpoint.modality, weights, settings, {}, {}, {}))
    return members
