import dataclasses

import numpy as np
import pytest
import torch

from edge.errors import InvalidValueError
from edge.records import Recognition
from tests.training.people import draw_people
from training.augment import InputRule
from training.checkpoints import load_checkpoint
from training.networks.ensemble import Ensemble
from training.torch_recognizer import TorchRecognizer
from training.tta import AveragedRecognizer, fuse, mirror


def view(*rows: tuple[float, ...], presence: float = 0.5) -> Recognition:
    table = np.array(rows, np.float32).reshape(-1, 5)
    return Recognition(presence, table[:, :4], table[:, 4], 1.0, 2.0, 3.0)


def told(recognition: Recognition) -> list[list[float]]:
    rows = np.concatenate((recognition.boxes_xyxy, recognition.scores[:, None]), 1)
    return [[round(float(v), 4) for v in row] for row in rows]


@pytest.mark.parametrize(
    ("views", "expected"),
    [
        ([view(), view()], []),
        ([view((0, 0, 10, 20, 0.8))], [[0, 0, 10, 20, 0.8]]),
        # the mean box leans towards the surer view, the score is the mean
        ([view((0, 0, 10, 20, 0.9)), view((0, 0, 10, 16, 0.3))], [[0, 0, 10, 19, 0.6]]),
        # who was seen by one view of two is half as sure, and ranks behind
        ([view((0, 0, 9, 9, 0.6)), view((50, 0, 59, 9, 0.8))], [[50, 0, 59, 9, 0.4], [0, 0, 9, 9, 0.3]]),
        # seen twice by one view: the higher score
        ([view((0, 0, 10, 10, 0.8), (0, 0, 10, 10, 0.4)), view()], [[0, 0, 10, 10, 0.4]]),
    ],
)
def test_views_are_fused_into_one_answer(views, expected):
    assert told(fuse(views, 0.5)) == [pytest.approx(row, abs=1e-4) for row in expected]


def test_presence_is_the_best_score_after_averaging_and_times_add_up():
    one, other = view((0, 0, 10, 20, 0.8), (40, 0, 50, 20, 0.9)), view((0, 0, 10, 20, 0.6))
    fused = fuse([one, other], 0.5)
    assert fused.presence == pytest.approx(0.7)  # not the 0.9 that one view alone said
    assert (fused.preprocess_ms, fused.infer_ms, fused.postprocess_ms) == (2.0, 4.0, 6.0)


def test_mirrored_boxes_are_those_of_the_mirrored_picture():
    boxes = np.array([[10, 5, 30, 50]], np.float32)
    assert mirror(boxes, 100).tolist() == [[70, 5, 90, 50]]
    assert mirror(mirror(boxes, 100), 100).tolist() == boxes.tolist()
    assert mirror(np.zeros((0, 4), np.float32), 100).shape == (0, 4)


def test_a_mirrored_picture_gets_the_mirrored_answer(learnt_student):
    recognizer = TorchRecognizer(load_checkpoint(learnt_student).network(), 4, InputRule(96, 1.0))
    averaged = AveragedRecognizer(recognizer, scales=(1.0, 1.34))
    image = draw_people([(20, 30)])
    plain, flipped = averaged.recognise(image), averaged.recognise(np.ascontiguousarray(image[:, ::-1]))
    assert plain.scores[0] > 0.1
    np.testing.assert_allclose(mirror(plain.boxes_xyxy[:1], 96), flipped.boxes_xyxy[:1], atol=1.0)
    np.testing.assert_allclose(plain.scores[:1], flipped.scores[:1], atol=0.02)


@pytest.mark.parametrize("scales", [(), (0.0,), (1.0, 99.0)])
def test_scales_that_make_no_sense_are_refused(learnt_student, scales):
    recognizer = TorchRecognizer(load_checkpoint(learnt_student).network(), 4, InputRule(96, 1.0))
    with pytest.raises(InvalidValueError, match="scales must be one at least"):
        AveragedRecognizer(recognizer, scales=scales)


def test_each_network_of_an_ensemble_is_a_view_of_its_own(learnt_student):
    sure, unsure = load_checkpoint(learnt_student).network(), load_checkpoint(learnt_student).network()
    with torch.no_grad():
        unsure.head.classify.bias.sub_(2.0)
    together = TorchRecognizer(Ensemble([sure, unsure]).eval(), 4, InputRule(96, 1.0))
    image = draw_people([(20, 30)])
    averaged = AveragedRecognizer(together, scales=(1.0,), flip=False).recognise(image)
    views = [dataclasses.replace(together, network=one).recognise(image) for one in (sure, unsure)]
    assert told(averaged) == told(fuse(views, 0.5))
    assert averaged.presence == pytest.approx(np.mean([view.scores[0] for view in views]))
