from dataclasses import replace

import numpy as np
import pytest
from onnx import helper, numpy_helper

from edge.contract import Calibration
from edge.errors import ModelError, ProcessingError, UnusableInputError
from edge.geometry import Placement
from edge.ladder import shape_on_ladder
from edge.network import available_providers, choose_provider, session_options
from edge.recognizer import Recognizer, RecognizerSettings
from edge.records import PROCESSOR, SizeWH
from tests.models import METADATA, save, spot_model, write_spot_model

OFFERED = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    return write_spot_model(tmp_path_factory.mktemp("models") / "spots.onnx")


def test_threads_are_bounded_and_sleep_between_two_frames():
    options = session_options(3)
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.get_session_config_entry("session.inter_op.allow_spinning") == "0"
    assert options.get_session_config_entry("session.force_spinning_stop") == "1"


def test_memory_is_not_kept_in_patterns_for_every_shape():
    assert not session_options(1).enable_mem_pattern


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (None, "CPUExecutionProvider"),  # never the fastest by itself: whoever wants a GPU says so
        ("cpu", "CPUExecutionProvider"),
        ("CUDA", "CUDAExecutionProvider"),
        ("cudaexecutionprovider", "CUDAExecutionProvider"),
        ("TensorrtExecutionProvider", "TensorrtExecutionProvider"),
    ],
)
def test_a_provider_is_named_with_or_without_its_suffix(asked, name):
    assert choose_provider(asked, OFFERED) == name


@pytest.mark.parametrize("asked", ["vulkan", "", "CPUExecutionProviderX"])
def test_a_provider_that_is_not_offered_is_refused_with_those_that_are(asked):
    with pytest.raises(UnusableInputError, match="provider must be one of Tensorrt, CUDA, CPU, got"):
        choose_provider(asked, OFFERED)


def test_outputs_that_are_no_numbers_are_an_error_and_never_clear(tmp_path):
    model = spot_model()
    for node in model.graph.node:
        for place, name in enumerate(node.output):
            if name == "presence":
                node.output[place] = "likely"
    model.graph.initializer.append(numpy_helper.from_array(np.array(0.9, np.float32), "most"))
    model.graph.node.append(helper.make_node("Sub", ["most", "likely"], ["rest"]))
    model.graph.node.append(helper.make_node("Sqrt", ["rest"], ["presence"]))  # NaN where someone is
    recognizer = Recognizer(save(tmp_path / "nan.onnx", model, METADATA), RecognizerSettings(threads=1))
    assert recognizer.recognise(np.zeros((64, 64, 3), np.uint8)).presence > 0.9
    with pytest.raises(ProcessingError, match=r"outputs must be finite, with presence in 0\.\.1, .* by CPUExecutionP"):
        recognizer.recognise(np.full((64, 64, 3), 255, np.uint8))


def test_the_provider_in_use_is_said(model_file):
    assert Recognizer(model_file, RecognizerSettings(threads=1)).provider == PROCESSOR
    assert Recognizer(model_file, RecognizerSettings(threads=1, provider="cpu")).provider == PROCESSOR


@pytest.mark.parametrize("provider", [name for name in available_providers() if name != PROCESSOR])
def test_a_provider_that_leaves_the_work_to_the_processor_is_refused(model_file, provider):
    # Here ONNX Runtime offers Azure's, which runs no ordinary node. On a machine with a GPU its provider may work.
    try:
        recognizer = Recognizer(model_file, RecognizerSettings(threads=1, provider=provider))
    except UnusableInputError as error:
        assert provider in str(error)  # noqa: PT017  # both ends are right, a silent fall-back is not
        assert "--provider cpu" in str(error)  # noqa: PT017
    else:
        assert recognizer.provider == provider


def test_a_batch_gives_what_its_pictures_give_alone(model_file):
    recognizer = Recognizer(model_file, RecognizerSettings(threads=1))
    tensor = np.random.default_rng(0).integers(0, 256, (recognizer.most_in_a_batch, 64, 96, 3), np.uint8)
    together = recognizer.infer_batch(tensor)
    assert len(together) == len(tensor)
    for k, one in enumerate(together):
        [alone] = recognizer.infer_batch(tensor[k : k + 1])
        assert one.scores == pytest.approx(alone.scores, abs=1e-6)
        assert one.presence == pytest.approx(alone.presence, abs=1e-6)


def test_a_shape_from_the_ladder_changes_the_padding_alone(model_file):
    recognizer = Recognizer(model_file, RecognizerSettings(threads=1))
    placement = recognizer.place(SizeWH(100, 70))
    on_ladder = Placement(placement.frame_wh, placement.content_wh, shape_on_ladder(placement.content_wh, 16))
    image = np.zeros((70, 100, 3), np.uint8)
    image[20:32, 40:52] = 255
    found = recognizer.recognise(image)
    tensor = np.zeros((1, on_ladder.input_wh.height, on_ladder.input_wh.width, 3), np.uint8)
    content = recognizer.preprocess(image).tensor[0, : placement.content_wh.height, : placement.content_wh.width]
    tensor[0, : content.shape[0], : content.shape[1]] = content
    padded = recognizer.postprocess(recognizer.infer_batch(tensor)[0], on_ladder)
    assert padded.boxes_xyxy.tolist() == found.boxes_xyxy.tolist()


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ({"strides": (8,)}, "stride 4, got 8; export it again"),
        ({"calibration": Calibration(2.0, -0.5)}, "presence_slope 3, got 2; export it again"),
        ({"calibration": Calibration(3.0, 0.5)}, r"presence_intercept -0\.5, got 0\.5; export it again"),
    ],
)
def test_metadata_that_contradict_the_constants_of_the_graph_are_refused(tmp_path, claim, message):
    model = spot_model()
    honest = replace(METADATA, calibration=Calibration(3.0, -0.5))
    for name, value in honest.calibration.constants.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
    assert Recognizer(save(tmp_path / "honest.onnx", model, honest)).metadata == honest
    with pytest.raises(ModelError, match=message):
        Recognizer(save(tmp_path / "contradicting.onnx", model, replace(honest, **claim)))
