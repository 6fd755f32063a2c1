import dataclasses

import numpy as np
import pytest

from edge import closer_look
from edge.closer_look import LEAST_PEOPLE, SMALL_PX, SURE
from edge.errors import InvalidValueError
from edge.geometry import Placement
from edge.network import Predictions
from edge.recognizer import Recognizer, RecognizerSettings
from edge.records import Frame, Image, SizeWH
from edge.view import WholeView
from tests.models import METADATA, SPOT_PX, write_spot_model

SIDE = 128


def people(count: int, height: float, score: float = 0.9) -> list[tuple[float, ...]]:
    return [(30.0 * i, 0.0, 30.0 * i + height / 2, height, score) for i in range(count)]


def predictions(rows: list[tuple[float, ...]], presence: float = 0.5) -> Predictions:
    table = np.array(rows, np.float32).reshape(-1, 5)
    return Predictions(table[:, :4], table[:, 4], presence)


SMALL, LARGE = SMALL_PX - 1, SMALL_PX + 20


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ([], False),
        (people(LEAST_PEOPLE, SMALL), True),
        (people(LEAST_PEOPLE - 1, SMALL), False),
        (people(LEAST_PEOPLE, LARGE), False),
        (people(LEAST_PEOPLE, SMALL, SURE - 0.01), False),
        (people(LEAST_PEOPLE, SMALL) + people(LEAST_PEOPLE, LARGE), True),
        (people(LEAST_PEOPLE, SMALL) + people(4 * LEAST_PEOPLE, LARGE), False),
    ],
)
def test_a_closer_look_is_wanted_where_people_are_many_and_small(found, wanted):
    assert closer_look.is_wanted(predictions(found)) is wanted


def placed(width: int, height: int) -> Placement:
    return Placement(SizeWH(400, 200), SizeWH(width, height), SizeWH(width, height))


def test_both_answers_lie_in_the_pixels_of_the_usual_look_and_its_presence_stays():
    usual = predictions([(10, 10, 20, 30, 0.8)], presence=0.3)
    closer = predictions([(20, 20, 40, 60, 0.6), (100, 100, 110, 120, 0.9)], presence=0.99)
    both = closer_look.joined((usual, placed(64, 32)), (closer, placed(128, 64)), METADATA)
    np.testing.assert_allclose(both.boxes_xyxy, [(10, 10, 20, 30), (50, 50, 55, 60)], rtol=1e-6)
    np.testing.assert_allclose(both.scores, (0.7, 0.45))
    assert both.presence == 0.3


def spots(count: int) -> Image:
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    for i in range(count):
        y, x = divmod(i, 3)
        image[16 + 32 * y : 28 + 32 * y, 16 + 40 * x : 28 + 40 * x] = 255
    return image


def test_a_model_made_for_it_looks_closer_at_its_own_size_only(tmp_path):
    settings = RecognizerSettings(threshold=0.3)
    plain = Recognizer(write_spot_model(tmp_path / "plain.onnx"), settings)
    closer = Recognizer(write_spot_model(tmp_path / "closer.onnx", closer_look=2.0), settings)
    few, many = spots(2), spots(9)
    assert SPOT_PX < SMALL_PX
    np.testing.assert_array_equal(closer.recognise(few).boxes_xyxy, plain.recognise(few).boxes_xyxy)
    usual, found = plain.recognise(many), closer.recognise(many)
    assert len(usual.scores) == 9
    assert found.presence == usual.presence
    assert not np.array_equal(found.scores, usual.scores)
    np.testing.assert_array_equal(closer.recognise(many, closer=False).scores, usual.scores)
    exact = Recognizer(tmp_path / "closer.onnx", RecognizerSettings(threshold=0.3, input_wh=SizeWH(SIDE, SIDE)))
    np.testing.assert_array_equal(exact.recognise(many).scores, exact.recognise(many, closer=False).scores)


def test_the_closer_look_is_larger_by_its_factor_also_where_enlargement_ends(tmp_path):
    closer = Recognizer(write_spot_model(tmp_path / "closer.onnx", closer_look=2.0))
    for frame_wh in (SizeWH(40, 30), SizeWH(1920, 1080)):
        usual, large = closer.place(frame_wh).content_wh, closer.place_closer(frame_wh).content_wh
        assert large.width == pytest.approx(2 * usual.width, abs=1)
        assert large.height == pytest.approx(2 * usual.height, abs=1)
    exact = Recognizer(tmp_path / "closer.onnx", RecognizerSettings(input_wh=SizeWH(64, 64)))
    assert exact.place_closer(SizeWH(1920, 1080)) is None


def test_pictures_get_it_and_frames_of_a_video_do_not(tmp_path):
    closer = Recognizer(write_spot_model(tmp_path / "closer.onnx", closer_look=2.0), RecognizerSettings(threshold=0.3))
    view, many = WholeView(closer), spots(9)
    picture = view.look(Frame(0, many, name="a.png")).recognition
    frame = view.look(Frame(0, many, time_s=0.0)).recognition
    np.testing.assert_array_equal(picture.scores, closer.recognise(many).scores)
    np.testing.assert_array_equal(frame.scores, closer.recognise(many, closer=False).scores)


@pytest.mark.parametrize("factor", [1.0, 4.1])
def test_a_factor_that_makes_no_sense_is_refused(factor):
    with pytest.raises(InvalidValueError, match=r"closer_look must be above 1 and at most 4, got"):
        dataclasses.replace(METADATA, closer_look=factor)
