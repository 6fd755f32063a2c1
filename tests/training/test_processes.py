"""Two processes of torchrun must learn what one process with the joined batch learns; started once for all tests."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.training import two_processes
from tests.training.people import run_settings
from training.checkpoints import load_checkpoint
from training.processes import Processes, join_processes
from training.run import train
from training.shared_batch_norm import share_batch_norms

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def out(people_rgb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    done = subprocess.run(
        [*torchrun, "-m", "tests.training.two_processes", str(people_rgb), str(folder)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_gradients_equal_those_of_one_process_with_the_joined_batch(out, people_rgb):
    network = two_processes.new_student()
    two_processes.learn(network, two_processes.joined_batch(people_rgb))
    ours, theirs = (torch.load(out / f"step-{rank}.pt", weights_only=True) for rank in (0, 1))
    for name, parameter in network.named_parameters():
        if parameter.grad is None:  # the tiny trunk has layers after the last map that is used
            assert ours["gradients"][name] is None
            continue
        assert torch.equal(ours["gradients"][name], theirs["gradients"][name]), name
        scale = parameter.grad.abs().max().item()
        torch.testing.assert_close(
            ours["gradients"][name],
            parameter.grad,
            atol=1e-4 * scale + 1e-6,
            rtol=1e-3,
            msg=lambda m, n=name: f"{n}: {m}",
        )


def test_batch_norms_remember_the_joined_batch(out, people_rgb):
    network = two_processes.new_student()
    two_processes.learn(network, two_processes.joined_batch(people_rgb))
    ours = torch.load(out / "step-0.pt", weights_only=True)["buffers"]
    for name, buffer in network.named_buffers():
        torch.testing.assert_close(ours[name], buffer, atol=1e-4, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}")


def test_a_run_of_two_processes_leaves_one_checkpoint_and_one_line_an_epoch(out):
    finished = load_checkpoint(out / "run" / "student.pt")
    assert finished.settings["processes"] == 2
    assert finished.settings["step"] == 4
    lines = [json.loads(line) for line in (out / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4]


def test_what_two_processes_began_one_can_finish(out, people_rgb, tmp_path):
    settings = run_settings(people_rgb, out / "run", steps=5, resume=True)
    history = load_checkpoint(train(settings)).settings["history"]
    assert [(entry["from_step"], entry["processes"]) for entry in history] == [(0, 2), (4, 1)]


def test_one_process_alone_is_left_as_it_is():
    processes = join_processes()
    assert processes == Processes(rank=0, count=1)
    parameter = nn.Parameter(torch.ones(2))
    processes.average_gradients([parameter])
    assert parameter.grad is None
    assert processes.mean(3.0) == 3.0


def test_shared_statistics_are_exact_far_from_0_as_well(monkeypatch):
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 1)
    monkeypatch.setattr("torch.distributed.all_reduce", lambda tensor: None)
    features = 100 + 0.1 * torch.randn(4, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    alone, shared = (nn.Sequential(nn.BatchNorm2d(2)).train() for _ in range(2))
    share_batch_norms(shared)
    torch.testing.assert_close(shared(features), alone(features), atol=2e-3, rtol=0)
