"""Several processes that learn one network: what torchrun starts, or this process alone.

Every process draws its own batches and has its own copy of the network; gradients are averaged in one message a step.
Since a batch's loss is the mean over its pictures, the average equals the gradient of one process with the joined
batch; batch norm sees the joined batch as well, see shared_batch_norm.py.
"""

import atexit
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn

from edge.errors import UnusableInputError

LONGEST_WAIT = timedelta(days=1)  # the first process reads footage for hours while the others wait


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those that learn together."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0  # on its own machine

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and shows."""
        return self.rank == 0

    def wait(self) -> None:
        """Until all of them are here."""
        if self.count > 1:
            dist.barrier()

    def agree_on(self, network: nn.Module) -> None:
        """Give every process the parameters and buffers of the first."""
        if self.count > 1:
            for tensor in network.state_dict().values():
                dist.broadcast(tensor, src=0)

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace every gradient by its mean over the processes; parameters that no loss depends on stay without."""
        if self.count == 1:
            return
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        parts = torch.split(flat / self.count, [g.numel() for g in gradients])
        for parameter, part in zip(parameters, parts, strict=True):
            if parameter.grad is not None:
                parameter.grad = part.view_as(parameter)

    def mean(self, value: float) -> float:
        """Mean over the processes."""
        if self.count == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(shared)
        return shared.item() / self.count


def refuse_processes(command: str) -> None:
    """For what one process does alone.

    Raises:
        UnusableInputError: torchrun started several.
    """
    if _started() > 1:
        raise UnusableInputError(f"{command} must run in one process, got {_started()} of torchrun; start it without")


def join_processes() -> Processes:
    """Join those that torchrun started beside this one, until the program ends; alone otherwise."""
    if _started() == 1:
        return Processes()
    if not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, timeout=LONGEST_WAIT)
        # Once a program: gloo cannot meet again at the same place after it has parted.
        atexit.register(dist.destroy_process_group)
    return Processes(dist.get_rank(), dist.get_world_size(), int(os.environ["LOCAL_RANK"]))


def _started() -> int:
    """How many processes torchrun has started; without it, this one."""
    return int(os.environ["WORLD_SIZE"]) if dist.is_torchelastic_launched() else 1
