import dataclasses

import numpy as np
import pytest

from edge.contract import Calibration
from edge.errors import InvalidValueError
from edge.geometry import Detections, mutual_best, pairwise_iou
from edge.network import Predictions
from edge.recognizer import Recognizer, RecognizerSettings
from edge.second_look import FAINTEST, SecondLook, average
from tests.models import METADATA, write_spot_model

IDENTITY = Calibration(1.0, 0.0)


def look(*rows: tuple[float, ...]) -> Detections:
    """Rows of x0, y0, x1, y1, score."""
    table = np.array(rows, np.float32).reshape(-1, 5)
    return Detections(table[:, :4], table[:, 4])


def test_what_both_looks_see_counts_more_than_what_one_sees():
    both = (0, 0, 10, 20)
    found = average(look((*both, 0.8), (50, 50, 60, 70, 0.9)), look((*both, 0.6)), IDENTITY)
    np.testing.assert_allclose(found.scores, (0.7, 0.45))
    np.testing.assert_allclose(found.boxes_xyxy, (both, (50, 50, 60, 70)))
    assert found.presence == pytest.approx(0.7)


def test_the_box_is_the_mean_weighted_by_score():
    found = average(look((0, 0, 10, 20, 0.9)), look((1, 1, 11, 23, 0.3)), IDENTITY)
    np.testing.assert_allclose(found.boxes_xyxy, [(0.25, 0.25, 10.25, 20.75)], rtol=1e-6)


def test_what_only_the_second_look_sees_is_reported():
    found = average(look(), look((5, 5, 100, 200, 0.8)), IDENTITY)
    np.testing.assert_allclose(found.scores, [0.4])


def test_nobody_in_both_looks_is_nobody():
    found = average(look(), look(), IDENTITY)
    assert found.boxes_xyxy.shape == (0, 4)
    assert found.presence < 1e-5


def test_each_box_has_one_partner_and_that_is_its_best():
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 60, (2, 40, 2))
    first, second = np.concatenate((corner, corner + rng.uniform(5, 30, (2, 40, 2))), 2).astype(np.float32)
    iou = pairwise_iou(np.concatenate((first, second)))[:40, 40:]
    due = {(i, int(row.argmax())) for i, row in enumerate(iou) if row.max() >= 0.3}
    due &= {(int(column.argmax()), j) for j, column in enumerate(iou.T)}
    assert {tuple(pair) for pair in mutual_best(first, second, 0.3).tolist()} == due
    assert due


@pytest.mark.parametrize("calibration", [IDENTITY, Calibration(0.7, 1.3), Calibration(2.0, -3.0)])
def test_presence_is_platt_scaling_of_the_best_score(calibration):
    score = 0.3
    expected = 1 / (1 + np.exp(-(calibration.slope * np.log(score / (1 - score)) + calibration.intercept)))
    assert calibration.presence(score) == pytest.approx(expected)
    assert 0.0 <= calibration.presence(0.0) < calibration.presence(1.0) <= 1.0


def test_the_second_look_is_the_first_made_smaller_and_its_boxes_come_back():
    asked = []

    def ask(tensor):
        """Finds the bright square, at whatever size it is shown."""
        asked.append(tensor.shape)
        answers = []
        for image in tensor:
            y, x = np.nonzero(image[:, :, 0] > 200)
            box = np.array([[x.min(), y.min(), x.max() + 1, y.max() + 1]], np.float32)
            answers.append(Predictions(box, np.array([0.8], np.float32), 0.8))
        return tuple(answers)

    metadata = dataclasses.replace(METADATA, second_look=0.5, input_multiple=32, strides=(4,))
    tensor = np.zeros((2, 128, 160, 3), np.uint8)
    tensor[0, 32:64, 64:96] = 255
    tensor[1, 0:32, 0:32] = 255
    first, second = SecondLook(ask, metadata).run(tensor)
    assert asked == [(2, 128, 160, 3), (2, 64, 96, 3)]  # 80 of the 96 are picture
    np.testing.assert_allclose(first.boxes_xyxy, [(64, 32, 96, 64)], atol=1)
    np.testing.assert_allclose(second.boxes_xyxy, [(0, 0, 32, 32)], atol=1)
    np.testing.assert_allclose(first.scores, [0.8])


def test_a_model_made_for_two_looks_is_asked_twice(tmp_path):
    one = Recognizer(write_spot_model(tmp_path / "one.onnx"), RecognizerSettings(threshold=FAINTEST))
    two = Recognizer(write_spot_model(tmp_path / "two.onnx", second_look=0.5), RecognizerSettings(threshold=FAINTEST))
    image = np.zeros((256, 256, 3), np.uint8)
    image[96:128, 64:96] = 255
    seen = two.preprocess(image)
    np.testing.assert_array_equal(two.run_graph(seen.tensor)[0].scores, one.infer(one.preprocess(image)).scores)
    [shrunk] = one.run_graph(np.ascontiguousarray(seen.tensor[:, ::2, ::2]))
    best = one.recognise(image).scores.max()
    assert best / 2 <= two.recognise(image).scores.max() <= (best + shrunk.scores.max()) / 2 + 0.01


def test_a_second_look_as_large_as_the_first_is_refused():
    with pytest.raises(InvalidValueError, match=r"second_look must be in 0\.1\.\.1, below 1, got 1\.0"):
        dataclasses.replace(METADATA, second_look=1.0)


def test_padding_holds_nothing_of_the_picture_before():
    """Two sizes that are padded to one and the same: the larger first."""
    shown = []

    def ask(tensor):
        shown.append(tensor.copy())
        return tuple(Predictions(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0.0) for _ in tensor)

    metadata = dataclasses.replace(METADATA, second_look=0.5, input_multiple=32, strides=(4,))
    look = SecondLook(ask, metadata)
    for width in (192, 160):
        look.run(np.full((1, 128, width, 3), 255, np.uint8))
    assert shown[1].shape == shown[3].shape
    assert (shown[3][:, :, 80:] == metadata.pad_value).all()
