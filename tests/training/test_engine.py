import math

import pytest
import torch
from torch import nn

from edge.errors import InvalidValueError
from tests.training.people import STUDENT
from training.engine import MovingAverage, Progress, TrainSettings, learning_rate_factor, make_optimizer
from training.networks.nanodet import MEAN, STD
from training.networks.student import Student
from training.networks.teacher import Teacher, TeacherSpec


@pytest.mark.parametrize(
    ("progress", "settings", "share"),
    [
        (Progress(0, 0.0), TrainSettings(steps=10), 0.0),
        (Progress(5, 99.0), TrainSettings(steps=10), 0.5),
        (Progress(5, 30.0), TrainSettings(minutes=1.0), 0.5),
        (Progress(5, 54.0), TrainSettings(steps=10, minutes=1.0), 0.9),  # whichever comes first
        (Progress(12, 0.0), TrainSettings(steps=10), 1.0),
    ],
)
def test_the_share_of_a_run_is_told_by_steps_or_by_time(progress, settings, share):
    assert progress.share(settings) == pytest.approx(share)


@pytest.mark.parametrize(
    ("step", "factor"),
    [
        (0, 0.1),  # warming up
        (4, 0.5),
        (40, 1.0),  # flat
        (70, 0.01 + 0.99 * (1 + math.cos(math.pi / 2)) / 2),  # half of the way down
        (100, 0.01),
    ],
)
def test_the_rate_warms_up_stays_flat_and_falls_to_a_hundredth(step, factor):
    settings = TrainSettings(steps=100, warmup_steps=10, flat_share=0.4)
    assert learning_rate_factor(Progress(step), settings) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"minutes": float("nan")}, "minutes must be finite, got nan; say how long to train"),
        ({"steps": 5, "minutes": float("inf")}, "minutes must be finite, got inf"),
        ({}, r"steps or minutes must be positive, got \(0, 0.0\); say how long to train"),
        ({"steps": 1, "batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"steps": 1, "learning_rate": 0.0}, "learning_rate must be above 0 and at most 10, got 0.0"),
        ({"steps": 1, "learning_rate": math.nan}, "learning_rate must be above 0 and at most 10, got nan"),
        ({"steps": 1, "learning_rate": math.inf}, "learning_rate must be above 0 and at most 10, got inf"),
    ],
)
def test_settings_that_cannot_train_are_refused(values, rule):
    with pytest.raises(InvalidValueError, match=rule):
        TrainSettings(**values)


def test_the_average_follows_the_weights_and_copies_the_counters():
    network = nn.BatchNorm1d(2)
    average = MovingAverage(network, decay=0.5)
    with torch.no_grad():
        network.weight.fill_(3.0)
    network(torch.randn(4, 2))
    average.update(network, step=100)
    assert average.state["weight"].tolist() == [2.0, 2.0]  # half of the way from 1 to 3
    assert average.state["num_batches_tracked"] == 1


def test_the_average_has_a_short_memory_at_the_start():
    network = nn.BatchNorm1d(1)
    average = MovingAverage(network, decay=0.999)
    with torch.no_grad():
        network.weight.fill_(11.0)
    average.update(network, step=0)
    assert average.state["weight"].item() == pytest.approx(10.0)  # nine tenths of the way


def test_the_trunk_learns_more_slowly_and_biases_and_norms_are_not_decayed():
    network = Student(STUDENT)
    optimizer = make_optimizer(network, TrainSettings(steps=1, learning_rate=0.1, trunk_factor=0.4, weight_decay=0.02))
    told = {id(p): (g["initial_lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    assert len(told) == len(list(network.parameters()))
    assert told[id(network.trunk.backbone.conv_stem.weight)] == (pytest.approx(0.04), 0.02)
    assert told[id(network.trunk.backbone.bn1.weight)] == (pytest.approx(0.04), 0.0)
    assert told[id(network.head.classify.weight)] == (pytest.approx(0.1), 0.02)
    assert told[id(network.head.classify.bias)] == (pytest.approx(0.1), 0.0)


def test_a_detector_s_head_learns_at_its_own_rate_but_for_the_boxes_which_start_anew():
    network = Teacher(TeacherSpec("nanodet_m", frozen_stages=0, mean=MEAN, std=STD, head="nanodet"))
    optimizer = make_optimizer(network, TrainSettings(steps=1, learning_rate=0.1, trunk_factor=0.2))
    told = {id(p): g["initial_lr"] for g in optimizer.param_groups for p in g["params"]}
    level = network.head.levels[0]
    rates = [told[id(layer.weight)] for layer in (level.classify, level.distances, network.head.fine)]
    assert rates == pytest.approx([0.06, 0.1, 0.1])
