import hashlib
import os

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge.errors import InvalidValueError, ModelError, UnusableInputError
from edge.recognizer import Recognizer, RecognizerSettings, usable_threads
from edge.records import SizeWH
from tests.models import METADATA, save, spot_model, write_spot_model


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    return write_spot_model(tmp_path_factory.mktemp("models") / "spots.onnx")


@pytest.fixture(scope="module")
def recognizer(model_file):
    return Recognizer(model_file, RecognizerSettings(threads=1))


def dark_with_spots(width: int, height: int, *corners: tuple[int, int], side: int = 12) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    for x, y in corners:
        image[y : y + side, x : x + side] = 255
    return image


def test_a_spot_is_found_where_it_is(recognizer):
    # 320x200 at long side 320: one to one, so a spot on the grid of cells comes back to the pixel
    recognition = recognizer.recognise(dark_with_spots(320, 200, (40, 80), (200, 20)))
    assert recognition.boxes_xyxy.tolist() == [[200, 20, 212, 32], [40, 80, 52, 92]]
    assert recognition.scores == pytest.approx([1, 1])
    assert recognition.presence == pytest.approx(1)


@pytest.mark.parametrize("enlarged", [2, 3, 4])
def test_boxes_are_in_frame_pixels_whatever_the_scale(recognizer, enlarged):
    image = dark_with_spots(320, 200, (40, 80))
    image = cv2.resize(image, None, fx=enlarged, fy=enlarged, interpolation=cv2.INTER_NEAREST)
    [box] = recognizer.recognise(image).boxes_xyxy
    assert box == pytest.approx(np.array([40, 80, 52, 92]) * enlarged, abs=0.01)


def test_a_dark_frame_has_nobody(recognizer):
    recognition = recognizer.recognise(dark_with_spots(320, 200))
    assert recognition.boxes_xyxy.shape == (0, 4)
    assert recognition.scores.shape == (0,)
    assert recognition.presence == 0


def test_every_stage_is_timed(recognizer):
    recognition = recognizer.recognise(dark_with_spots(64, 64))
    assert min(recognition.preprocess_ms, recognition.infer_ms, recognition.postprocess_ms) > 0


def test_the_same_frame_gives_the_same_answer_whatever_came_between(recognizer):
    image = np.random.default_rng(1).integers(0, 256, (190, 310, 3), np.uint8)
    first = recognizer.recognise(image)
    recognizer.recognise(dark_with_spots(300, 300, (100, 100)))
    second = recognizer.recognise(image)
    assert first.boxes_xyxy.tobytes() == second.boxes_xyxy.tobytes()
    assert first.scores.tobytes() == second.scores.tobytes()
    assert first.presence == second.presence


def test_another_thread_may_use_the_same_network_meanwhile(recognizer):
    one = recognizer.preprocess(dark_with_spots(320, 200, (40, 80)))
    other = recognizer.for_another_thread()
    assert other.recognise(dark_with_spots(320, 200, (200, 20))).boxes_xyxy.tolist() == [[200, 20, 212, 32]]
    found = recognizer.postprocess(recognizer.infer(one), one.placement)
    assert found.boxes_xyxy.tolist() == [[40, 80, 52, 92]]  # its picture was not overwritten


@pytest.mark.parametrize("size_wh", [(1, 1), (1, 700), (700, 1), (3, 2), (3840, 2160)])
def test_any_size_of_picture_works(recognizer, size_wh):
    width, height = size_wh
    recognition = recognizer.recognise(np.full((height, width, 3), 255, np.uint8))
    assert (recognition.boxes_xyxy[:, 2:] <= [width, height]).all()
    assert (recognition.boxes_xyxy >= 0).all()


def test_a_box_that_reaches_out_of_the_frame_is_cut_at_its_edge(tmp_path):
    recognizer = Recognizer(write_spot_model(tmp_path / "spots.onnx", max_enlarge=1.0), RecognizerSettings(threads=1))
    # 310 px are padded to 320; the spot's last two columns would lie in the padding
    assert recognizer.recognise(dark_with_spots(310, 200, (300, 80))).boxes_xyxy.tolist() == [[300, 80, 310, 92]]


def test_peaks_in_the_padding_are_dropped(tmp_path):
    bright_padding = write_spot_model(tmp_path / "spots.onnx", pad_value=255)
    recognizer = Recognizer(bright_padding, RecognizerSettings(threads=1))
    # 320x200 becomes 320x208: the last 8 rows are padding as bright as a spot
    image = dark_with_spots(320, 200, (40, 80))
    assert recognizer.recognise(image).boxes_xyxy.tolist() == [[40, 80, 52, 92]]


def test_the_padding_keeps_its_value_when_the_size_changes_and_comes_back(tmp_path):
    recognizer = Recognizer(write_spot_model(tmp_path / "spots.onnx", pad_value=7), RecognizerSettings(threads=1))
    for height in (200, 100, 200):
        network_input = recognizer.preprocess(np.full((height, 320, 3), 255, np.uint8))
        content = network_input.placement.content_wh
        assert (network_input.tensor[0, : content.height, : content.width] == 255).all()
        assert (network_input.tensor[0, content.height :] == 7).all()


def test_the_threshold_of_the_user_wins_over_the_models(model_file):
    image = dark_with_spots(320, 200, (40, 80))
    image[20:32, 200:212] = 50
    found = [
        len(Recognizer(model_file, RecognizerSettings(threads=1, threshold=threshold)).recognise(image).scores)
        for threshold in (None, 0.9)
    ]
    assert found == [1, 1]
    faint = Recognizer(model_file, RecognizerSettings(threads=1, threshold=0.15)).recognise(image)
    assert [200, 20, 212, 32] in faint.boxes_xyxy.tolist()


def test_five_hundred_people_in_one_frame(model_file):
    recognizer = Recognizer(model_file, RecognizerSettings(threads=1, threshold=0.02, input_wh=SizeWH(800, 640)))
    corners = [(x, y) for y in range(4, 600, 24) for x in range(4, 760, 24)]
    assert len(corners) > 500
    recognition = recognizer.recognise(dark_with_spots(800, 640, *corners))
    assert len(recognition.scores) == 500
    assert (np.diff(recognition.scores) <= 0).all()


def test_an_exact_size_is_rounded_up_to_the_stride(model_file):
    recognizer = Recognizer(model_file, RecognizerSettings(threads=1, input_wh=SizeWH(500, 300)))
    assert recognizer.exact_input_wh == SizeWH(512, 304)
    assert recognizer.place(SizeWH(1000, 500)).content_wh == SizeWH(512, 256)


def test_the_model_is_named_with_the_hash_of_its_file(recognizer, model_file):
    assert recognizer.info.sha256 == hashlib.sha256(model_file.read_bytes()).hexdigest()
    assert (recognizer.info.name, recognizer.info.modality) == ("bright-spots", "thermal")


def test_threads_are_the_usable_cores_and_at_most_four():
    assert 1 <= usable_threads() <= 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threads": 0}, "threads must be at least 1 and at most 256, got 0"),
        ({"threads": 257}, "threads must be at least 1 and at most 256, got 257"),
        ({"threshold": 0.0}, "threshold must be above 0 and at most 1, got 0.0"),
        ({"threshold": 1.5}, "threshold must be above 0 and at most 1, got 1.5"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(InvalidValueError, match=message):
        RecognizerSettings(**settings)


def test_files_that_are_no_models_of_ours_are_refused(tmp_path):
    (tmp_path / "text.onnx").write_text("hello")
    (tmp_path / "empty.onnx").write_bytes(b"")
    save(tmp_path / "bare.onnx", spot_model(), None)
    save(tmp_path / "float.onnx", float_model(), METADATA)
    save(tmp_path / "fixed.onnx", spot_model(input_shape=(1, 64, 64, 3)), METADATA)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.onnx")
    with (tmp_path / "huge.onnx").open("wb") as file:
        file.truncate(12_000_000_000)  # sparse: nothing on the disk
    renamed = spot_model()
    renamed.graph.output.pop()
    save(tmp_path / "no_presence.onnx", renamed, METADATA)
    messages = {
        "missing.onnx": "must be an existing file",
        ".": "must be an existing file",
        "pipe.onnx": "must be an existing file",
        "huge.onnx": "at most 200 MB large",
        "text.onnx": "must be an ONNX model",
        "empty.onnx": "must be an ONNX model",
        "bare.onnx": "must carry Kestrel's metadata",
        "float.onnx": "must have the one input 'image' of uint8",
        "fixed.onnx": "with B, H and W dynamic",
        "no_presence.onnx": "must have an output 'presence'",
    }
    for name, message in messages.items():
        with pytest.raises(ModelError, match=message) as caught:
            Recognizer(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert issubclass(caught.type, UnusableInputError)


def test_a_network_cannot_take_all_memory_of_the_machine(tmp_path):
    model = spot_model()
    for told in model.graph.node:
        told.output[:] = ["little" if name == "presence" else name for name in told.output]
    model.graph.initializer.append(helper.make_tensor("x_flat", TensorProto.INT64, [1], [-1]))
    model.graph.initializer.append(helper.make_tensor("x_first", TensorProto.INT64, [1], [0]))
    for operator, inputs, output in (
        ("Shape", ["image"], "x_sides"),
        ("Mul", ["x_sides", "x_sides"], "x_squares"),
        ("Mul", ["x_squares", "x_squares"], "x_asked"),
        ("ConstantOfShape", ["x_asked"], "x_much"),
        ("Reshape", ["x_much", "x_flat"], "x_list"),
        ("Gather", ["x_list", "x_first"], "x_zero"),
        ("Add", ["little", "x_zero"], "presence"),
    ):
        model.graph.node.append(helper.make_node(operator, inputs, [output]))
    save(tmp_path / "much.onnx", model, METADATA)
    with pytest.raises(ModelError, match="must take sides of"):
        Recognizer(tmp_path / "much.onnx")


def float_model() -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["image"], ["scores"])],
        "identity",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ("B", 3, "H", "W"))],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ("B", 3, "H", "W"))],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
