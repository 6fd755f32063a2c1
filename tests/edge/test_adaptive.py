from dataclasses import replace

import numpy as np
import pytest

from edge.adaptive import AdaptiveView
from edge.ladder import LadderRule
from edge.recognizer import Recognizer, RecognizerSettings
from edge.records import Frame, SizeWH
from tests.models import write_spot_model

IMAGE = np.zeros((360, 640, 3), np.uint8)
IMAGE[100:112, 100:112] = 255


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    return write_spot_model(tmp_path_factory.mktemp("models") / "spots.onnx", default_long_side=640)


@pytest.fixture(scope="module")
def recognizer(model_file):
    return Recognizer(model_file, RecognizerSettings(threads=1))


class FakeClock:
    """One frame a second."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1.0
        return self.now_s


def looks(view, frames, image=IMAGE):
    """Events of so many equal frames, as (seq, event, detail)."""
    said = []
    for seq in range(frames):
        look = view.look(Frame(seq, image, time_s=float(seq)))
        assert look.recognition is not None
        said += [(seq, event.event, event.detail) for event in look.events]
    return said


def test_with_time_enough_the_largest_size_is_chosen(recognizer):
    view = AdaptiveView(recognizer, LadderRule(budget_ms=1e6), choose=True, clock=FakeClock())
    [(seq, name, detail)] = looks(view, 3)
    assert (seq, name) == (0, "size_chosen")
    assert detail.startswith("input 960x544, ")  # 640 px times the model's largest enlargement of 1.5
    assert detail.endswith("ms a frame of 1000000.0 ms allowed")


def test_without_time_the_smallest_size_is_chosen(recognizer):
    view = AdaptiveView(recognizer, LadderRule(budget_ms=1e-6), choose=True, clock=FakeClock())
    said = looks(view, 20)
    assert [name for _, name, _ in said] == ["size_chosen"]
    assert said[0][2].startswith("input 320x192")


def test_overload_lowers_the_size_step_by_step_and_says_so(recognizer):
    view = AdaptiveView(recognizer, LadderRule(budget_ms=1e-6), choose=False, clock=FakeClock())
    said = looks(view, 30)
    assert [name for _, name, _ in said] == ["size_chosen", "size_changed", "size_changed", "size_changed"]
    assert said[0][2] == "input 640x368"
    assert said[1][2].startswith("input 640x368 -> 512x288: ")
    assert said[3][2].startswith("input 416x240 -> 320x192: ")


def test_heat_lowers_the_size_until_the_machine_is_cool_again(recognizer):
    clock = FakeClock()
    view = AdaptiveView(
        recognizer,
        LadderRule(max_temperature_c=80.0),
        choose=False,
        clock=clock,
        thermometer=lambda: 90.0 if clock.now_s < 10 else 60.0,
    )
    said = looks(view, 60)
    assert [detail.split(":")[0] for _, _, detail in said] == [
        "input 640x368",
        "input 640x368 -> 512x288",
        "input 512x288 -> 640x368",
    ]
    assert "90 C of 80 C allowed" in said[1][2]


def test_a_machine_without_a_sensor_says_that_the_limit_does_nothing(recognizer):
    view = AdaptiveView(recognizer, LadderRule(max_temperature_c=80.0), choose=False, thermometer=lambda: None)
    [(_, _, detail)] = looks(view, 2)
    assert "no sensor" in detail


def test_people_are_found_in_frame_pixels_at_every_size(recognizer):
    image = np.zeros((720, 1280, 3), np.uint8)
    image[200:248, 400:448] = 255
    view = AdaptiveView(recognizer, LadderRule(budget_ms=1e-6), choose=False, clock=FakeClock())
    for seq in range(8):
        [box] = view.look(Frame(seq, image, time_s=float(seq))).recognition.boxes_xyxy[:1]
        assert box[:2] == pytest.approx([400, 200], abs=24)


def test_a_new_size_of_frame_chooses_anew(recognizer):
    view = AdaptiveView(recognizer, LadderRule(budget_ms=1e6), choose=True, clock=FakeClock())
    looks(view, 2)
    [(_, name, detail)] = looks(view, 2, image=np.zeros((200, 320, 3), np.uint8))
    assert name == "size_chosen"
    assert detail.startswith("input 480x")


def test_the_size_that_the_user_set_is_the_largest(model_file):
    recognizer = Recognizer(model_file, RecognizerSettings(threads=1, input_wh=SizeWH(640, 480)))
    view = AdaptiveView(recognizer, LadderRule(budget_ms=1e-6), choose=False, clock=FakeClock())
    details = [detail.split(":")[0] for _, _, detail in looks(view, 10)]
    assert details[:2] == ["input 640x480", "input 640x480 -> 512x288"]


def test_a_frame_without_picture_is_not_looked_at(recognizer):
    view = AdaptiveView(recognizer, LadderRule(budget_ms=1.0), choose=True)
    assert view.look(Frame(0, None, time_s=0.0, signal="no_signal")).recognition is None


@pytest.mark.parametrize("budget_ms", [1e-6, 1e6])
def test_the_time_without_signal_speaks_neither_for_a_smaller_size_nor_for_a_larger_one(recognizer, budget_ms):
    clock = FakeClock()
    view = AdaptiveView(recognizer, LadderRule(budget_ms=budget_ms), choose=False, clock=clock)
    looks(view, 1)
    view._footing = replace(view._footing, rung=1)
    looks(view, 1)
    clock.now_s += 600
    view.look(Frame(2, None, time_s=600.0, signal="no_signal"))
    assert looks(view, 3) == []
