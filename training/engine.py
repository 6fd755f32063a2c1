"""The training loop, top to bottom."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from tqdm import tqdm

from edge.errors import InvalidValueError, ProcessingError
from training.distill import Losses
from training.networks.levels import PRETRAINED
from training.precision import Precision, autocast, require_precision
from training.processes import Processes
from training.shared_maps import gradient_shares
from training.targets import Batch

MOST_LEARNING_RATE = 10.0


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
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        if not math.isfinite(self.minutes):
            raise InvalidValueError("minutes", "finite", self.minutes, "say how long to train")
        if self.steps <= 0 and self.minutes <= 0:
            raise InvalidValueError("steps or minutes", "positive", (self.steps, self.minutes), "say how long to train")
        if self.batch_size < 1:
            raise InvalidValueError("batch_size", "at least 1", self.batch_size)
        if not 0 < self.learning_rate <= MOST_LEARNING_RATE:
            raise InvalidValueError("learning_rate", f"above 0 and at most {MOST_LEARNING_RATE:g}", self.learning_rate)
        if not 0 <= self.seed < 2**32:
            raise InvalidValueError("seed", "in 0..4294967295", self.seed)
        require_precision(self.precision)


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


@dataclass(frozen=True, slots=True)
class Learner:
    """All that changes while a network learns; each part is updated in place."""

    network: nn.Module
    optimizer: Optimizer
    average: "MovingAverage"
    progress: Progress
    adaptor: nn.Module | None = None  # of feature distillation, see distill.py

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Everything that the optimiser moves: the network, and an adaptor that is thrown away at the end."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]


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
    """AdamW; biases and norms are not decayed, what is pre-trained learns at a fraction of the rate."""
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((_rate_factor(name, settings), parameter.ndim > 1), []).append(parameter)
    return AdamW(
        [
            {
                "params": parameters,
                "lr": 0.0,  # set before every step: initial_lr x learning_rate_factor
                "initial_lr": settings.learning_rate * factor,
                "weight_decay": settings.weight_decay if decayed else 0.0,
            }
            for (factor, decayed), parameters in groups.items()
        ]
    )


def _rate_factor(name: str, settings: TrainSettings) -> float:
    """A detector's head knows people already, but has a new task; fresh layers learn at the full rate."""
    if name.startswith("trunk."):
        return settings.trunk_factor
    taught = name.removeprefix("head.").startswith(PRETRAINED) and ".distances." not in name  # boxes start anew
    return min(1.0, 3 * settings.trunk_factor) if taught else 1.0


def train_one_epoch(
    learner: Learner,
    losses_of: Callable[[Batch], Losses],
    batches: Iterator[Batch],
    settings: TrainSettings,
    processes: Processes,
    bar: "tqdm[Any]",
) -> dict[str, float]:
    """`epoch_steps` steps, or fewer where the run ends; returns the mean of every loss, and its share of the gradient.

    With several processes the figures are those of this one's batches.

    Raises:
        ProcessingError: a loss or a gradient is not finite; the text names the batch and its pictures.
    """
    network, progress = learner.network.train(), learner.progress
    device = next(network.parameters()).device
    # Whatever the network draws (dropout, stochastic depth) is drawn again after a kill: epochs end at checkpoints.
    torch.manual_seed(settings.seed + 1_000_003 * progress.step + 7919 * processes.rank)
    sums: dict[str, float] = {}
    shares: Mapping[str, float] = {}
    steps = 0
    for steps in range(1, settings.epoch_steps + 1):
        start = time.monotonic()
        for group in learner.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * learning_rate_factor(progress, settings)
        batch = next(batches)
        batch = dataclasses.replace(batch, images=batch.images.to(device, non_blocking=True))
        with autocast(device, settings.precision):
            losses = losses_of(batch)
        parts = {k: v.detach() for k, v in losses.named.items()}
        _require_finite("loss", losses.total, parts, progress.step, batch.names)
        if steps == 1:
            shares = gradient_shares(losses.named, losses.shared)
        learner.optimizer.zero_grad(set_to_none=True)
        losses.total.backward()  # type: ignore[no-untyped-call]
        processes.average_gradients(learner.parameters)
        norm = nn.utils.clip_grad_norm_(learner.parameters, settings.clip_norm)
        _require_finite("gradient", norm, parts, progress.step, batch.names)
        learner.optimizer.step()
        learner.average.update(network, progress.step)
        progress.step += 1
        progress.seconds += processes.mean(time.monotonic() - start)  # all must agree on when their time is up
        for name, tensor in {**parts, "total": losses.total.detach(), "gradient": norm}.items():
            sums[name] = sums.get(name, 0.0) + tensor.item()
        show(bar, progress, settings, sums["total"] / steps)
        if progress.share(settings) >= 1.0:
            break
    return {n: v / steps for n, v in sums.items()} | {f"share_{name}": share for name, share in shares.items()}


def _require_finite(what: str, value: Tensor, parts: Mapping[str, Tensor], step: int, names: tuple[str, ...]) -> None:
    if value.isfinite():
        return
    told = ", ".join(f"{k} {v.item():g}" for k, v in parts.items())
    raise ProcessingError(
        f"{what} must be finite, got {value.item()} ({told}) at batch {step} ({', '.join(names)}); "
        "lower the learning rate, then begin again, or go on from the last checkpoint where there is one"
    )


def show(bar: "tqdm[Any]", progress: Progress, settings: TrainSettings, loss: float) -> None:
    """Move the bar, which counts thousandths of the run."""
    bar.n = round(1000 * progress.share(settings))
    bar.set_postfix_str(f"step {progress.step}, loss {loss:.3f}", refresh=False)
    bar.refresh()
