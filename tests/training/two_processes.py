"""What test_processes runs twice, with torchrun: one step on half of a batch each, then a whole short run.

Usage: torchrun two_processes.py DATASET OUT
"""

import sys
from pathlib import Path

import torch

from tests.training.people import STUDENT, run_settings
from training.augment import AugmentSettings
from training.batches import TrainingBatches
from training.datasets import read_dataset
from training.distill import LossSettings, distill_step
from training.networks.student import Student
from training.processes import join_processes
from training.run import train
from training.shared_batch_norm import share_batch_norms
from training.targets import Batch


def joined_batch(dataset: Path) -> Batch:
    """Of a seed at which no unit stands so near the kink of its activation that rounding decides its gradient."""
    return TrainingBatches(read_dataset(dataset), AugmentSettings(crop_px=64), batch_size=6, seed=6).batch(0)


def new_student() -> Student:
    torch.manual_seed(0)
    return Student(STUDENT).train()


def learn(network: Student, batch: Batch) -> None:
    distill_step(network, None, batch, LossSettings()).total.backward()


def main(dataset: Path, out: Path) -> None:
    processes = join_processes()
    network = new_student()
    if not processes.first:
        for parameter in network.parameters():
            torch.nn.init.zeros_(parameter)  # agree_on must mend it
    share_batch_norms(network)
    processes.agree_on(network)
    whole = joined_batch(dataset)
    half = slice(0, 3) if processes.first else slice(3, 6)
    learn(network, Batch(whole.images[half], whole.targets[half]))
    processes.average_gradients(list(network.parameters()))
    gradients = {name: p.grad for name, p in network.named_parameters()}
    buffers = dict(network.named_buffers())
    torch.save({"gradients": gradients, "buffers": buffers}, out / f"step-{processes.rank}.pt")
    assert processes.mean(float(processes.rank)) == 0.5
    train(run_settings(dataset, out / "run", steps=4))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
