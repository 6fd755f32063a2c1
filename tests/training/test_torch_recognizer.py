import numpy as np
import pytest
import torch

from tests.training.people import STUDENT, TEACHER, draw_people
from training.augment import InputRule
from training.checkpoints import load_checkpoint
from training.datasets import read_dataset
from training.evaluation import SCORE_FLOOR, evaluate
from training.networks.student import Student
from training.networks.teacher import Teacher
from training.torch_recognizer import TorchRecognizer


def test_a_checkpoint_is_judged_like_a_model_file(learnt_student, people_rgb):
    recognizer = TorchRecognizer(load_checkpoint(learnt_student).network(), 4, InputRule(96, 1.0))
    evaluation = evaluate(recognizer.recognise, read_dataset(people_rgb))
    assert evaluation.boxes.ap50 is not None
    assert evaluation.boxes.ap50 > 0.5
    assert evaluation.presence.auroc == 1.0


@pytest.mark.parametrize("stride", [4, 8])
def test_a_teacher_recognises_with_the_head_that_is_asked_for(stride):
    torch.manual_seed(0)
    network = Teacher(TEACHER).eval()
    with torch.no_grad():  # an untrained head believes in nobody
        network.heads[(4, 8).index(stride)].classify.bias.fill_(0.0)
    image = draw_people([(30, 30)])[:70]
    found = TorchRecognizer(network, stride, InputRule(128, 2.0)).recognise(image)
    assert len(found.scores) > 0
    assert (found.scores >= SCORE_FLOOR).all()
    assert (np.diff(found.scores) <= 0).all()
    assert (found.boxes_xyxy >= 0).all()
    assert (found.boxes_xyxy <= np.array([96, 70, 96, 70])).all()
    assert 0.4 < found.presence < 0.6


def test_a_network_that_believes_in_nobody_finds_nobody():
    network = Student(STUDENT).eval()
    with torch.no_grad():
        network.head.classify.bias.fill_(-20.0)
        network.head.classify.weight.zero_()
    found = TorchRecognizer(network, 4, InputRule(64, 1.0)).recognise(draw_people([]))
    assert found.boxes_xyxy.shape == (0, 4)
    assert found.presence < 1e-6
