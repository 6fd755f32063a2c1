"""The training loop, top to bottom."""

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Optimizer
from tqdm import tqdm

from edge.errors import InvalidValueError, ProcessingError
from training.distill import Losses
from training.targets import Batch


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How long and how fast. Training ends after `steps` or after `minutes`, whichever comes first."""

    steps: int = 0  # 0: no limit
    minutes: float = 0.0  # 0: no limit
    batch_size: int = 8
    learning_rate: float = 1e-3
    trunk_factor: float = 0.1  # the pre-trained trunk learns more slowly than the fresh head
    weight_decay: float = 0.02
    warmup_steps: int = 100
    flat_share: float = 0.4  # share of the run at the full rate, then cosine to 1 %
    clip_norm: float = 10.0
    average_decay: float = 0.998
    epoch_steps: int = 100  # a checkpoint and a line of metrics every so many steps
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps <= 0 and self.minutes <= 0:
            raise InvalidValueError("steps or minutes", "positive", (self.steps, self.minutes), "say how long to train")
        if self.batch_size < 1:
            raise InvalidValueError("batch_size", "at least 1", self.batch_size)
        if not self.learning_rate > 0:
            raise InvalidValueError("learning_rate", "positive", self.learning_rate)


@dataclass(slots=True)
class Progress:
    """Where a run stands; stored in its checkpoints."""

    step: int = 0
    seconds: float = 0.0  # of training, without what lay between a kill and a resume

    def share(self, settings: TrainSettings) -> float:
        """0 at the start, 1 when done."""
        by_step = self.step / settings.steps if settings.steps else 0.0
        by_time = self.seconds / (60 * settings.minutes) if settings.minutes else 0.0
        return min(max(by_step, by_time), 1.0)


def learning_rate_factor(progress: Progress, settings: TrainSettings) -> float:
    """Linear warm-up, flat, then cosine down to 1 % (flat-then-cosine as in RTMDet, arXiv 2212.07784)."""
    warm = min(1.0, (progress.step + 1) / max(settings.warmup_steps, 1))
    late = max(0.0, progress.share(settings) - settings.flat_share) / max(1 - settings.flat_share, 1e-9)
    return warm * (0.01 + 0.99 * (1 + math.cos(math.pi * late)) / 2)


class MovingAverage:
    """Exponential moving average of the weights (Polyak & Juditsky 1992), with a short memory at the start."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {k: v.detach().clone() for k, v in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move towards the network's weights; buffers that are not floating point are copied."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in network.state_dict().items():
            if value.dtype.is_floating_point:
                self.state[name].lerp_(value, 1 - decay)
            else:
                self.state[name].copy_(value)


def make_optimizer(network: nn.Module, settings: TrainSettings) -> AdamW:
    """AdamW; biases and norms are not decayed, the trunk learns at a fraction of the rate."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name.startswith("trunk."), parameter.ndim > 1), []).append(parameter)
    return AdamW(
        [
            {
                "params": parameters,
                "lr": 0.0,  # set before every step: initial_lr x learning_rate_factor
                "initial_lr": settings.learning_rate * (settings.trunk_factor if trunk else 1.0),
                "weight_decay": settings.weight_decay if decayed else 0.0,
            }
            for (trunk, decayed), parameters in groups.items()
        ]
    )


def train_one_epoch(
    network: nn.Module,
    losses_of: Callable[[Batch], Losses],
    batches: Iterator[Batch],
    optimizer: Optimizer,
    average: MovingAverage,
    progress: Progress,
    settings: TrainSettings,
    bar: "tqdm[Any]",
) -> dict[str, float]:
    """`epoch_steps` steps, or fewer where the run ends; returns the mean of every loss.

    Raises:
        ProcessingError: a loss or a gradient is not finite; the text names the step.
    """
    network.train()
    device = next(network.parameters()).device
    sums: dict[str, float] = {}
    steps = 0
    for steps in range(1, settings.epoch_steps + 1):
        start = time.monotonic()
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * learning_rate_factor(progress, settings)
        batch = next(batches)
        batch = Batch(batch.images.to(device, non_blocking=True), batch.targets)
        with torch.autocast(device.type, torch.bfloat16):
            losses = losses_of(batch)
        if not losses.total.isfinite():
            parts = {k: v.item() for k, v in losses.named.items()}
            raise ProcessingError(f"loss must be finite, got {parts} at batch {progress.step}; lower the learning rate")
        optimizer.zero_grad(set_to_none=True)
        losses.total.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
        if not norm.isfinite():
            raise ProcessingError(
                f"gradient must be finite, got {norm} at batch {progress.step}; lower the learning rate"
            )
        optimizer.step()
        average.update(network, progress.step)
        progress.step += 1
        progress.seconds += time.monotonic() - start
        for name, value in {**losses.named, "total": losses.total, "gradient": norm}.items():
            sums[name] = sums.get(name, 0.0) + value.item()
        show(bar, progress, settings, sums["total"] / steps)
        if progress.share(settings) >= 1.0:
            break
    return {name: value / steps for name, value in sums.items()}


def show(bar: "tqdm[Any]", progress: Progress, settings: TrainSettings, loss: float) -> None:
    """Move the bar, which counts thousandths of the run."""
    bar.n = round(1000 * progress.share(settings))
    bar.set_postfix_str(f"step {progress.step}, loss {loss:.3f}", refresh=False)
    bar.refresh()


def append_metrics(path: Path, progress: Progress, means: dict[str, float]) -> None:
    """One line of JSON an epoch.

    Raises:
        ProcessingError: the disk is full or the folder cannot be written.
    """
    line = {"step": progress.step, "seconds": round(progress.seconds, 1), **{k: round(v, 5) for k, v in means.items()}}
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    except OSError as error:
        raise ProcessingError(f"{path} must be writable, got {error}; free some space, then resume") from None
