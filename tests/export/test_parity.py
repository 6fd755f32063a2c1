from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from edge.errors import ProcessingError
from edge.network import Predictions
from edge.recognizer import Recognizer
from edge.records import Image
from export.parity import Parity, _pair, _torch_peaks, compare
from tests.training.people import draw_people
from training.checkpoints import load_checkpoint
from training.networks.dense import PredictedMaps, decode_boxes
from training.networks.student import Student

IMAGES = [draw_people([(30, 30)]), draw_people([]), draw_people([(5, 60), (60, 10)], seed=3)[:64]]


def compared(model: Path, checkpoint: Path, images: list[Image] = IMAGES) -> Parity:
    student = load_checkpoint(checkpoint).network()
    assert isinstance(student, Student)
    metadata = Recognizer(model).metadata
    return compare(student, metadata.calibration, model, images, metadata.score_threshold)


def changed(model: Path, to: Path, shape: tuple[int, ...], factor: float) -> Path:
    """A copy in which the first weights of this shape are scaled."""
    graph = onnx.load(model)
    weights = next(i for i in graph.graph.initializer if tuple(i.dims) == shape)
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * np.float32(factor), weights.name))
    to.write_bytes(graph.SerializeToString())
    return to


def test_an_export_agrees_with_torch_on_real_frames(exported, learnt_student):
    parity = compared(exported, learnt_student)
    parity.require()
    assert parity.frames == 3
    assert parity.sizes == ("96x64", "96x96")
    assert parity.flipped == 0
    assert 0 <= parity.mean_score_difference <= parity.largest_score_difference < 1e-3
    assert parity.to_json()["flipped_decisions"] == 0


def test_no_frames_are_no_disagreement(exported, learnt_student):
    compared(exported, learnt_student, []).require()


@pytest.mark.parametrize(
    ("shape", "what"),
    [((1, 16, 1, 1), "largest_score_difference"), ((4, 16, 1, 1), "largest_box_difference_px")],
)
def test_a_model_with_tampered_weights_is_refused(exported, learnt_student, tmp_path, shape, what):
    parity = compared(changed(exported, tmp_path / "tampered.onnx", shape, 1.5), learnt_student)
    assert getattr(parity, what) > 1e-2
    with pytest.raises(ProcessingError, match=r"ONNX Runtime must agree with PyTorch, got .* no file was written"):
        parity.require()


def test_a_model_with_another_presence_is_refused(exported, learnt_student):
    student = load_checkpoint(learnt_student).network()
    calibration = Recognizer(exported).metadata.calibration
    other = type(calibration)(calibration.slope, calibration.intercept + 1)
    assert isinstance(student, Student)
    parity = compare(student, other, exported, IMAGES, 0.5)
    assert parity.largest_score_difference < 1e-3
    with pytest.raises(ProcessingError, match="must agree"):
        parity.require()


def test_torch_runs_the_student_as_it_was_trained_and_not_as_it_was_folded_for_the_file(exported, learnt_student):
    student = load_checkpoint(learnt_student).network()
    assert isinstance(student, Student)
    backbone = student.trunk.backbone
    backbone._modules = {"unused": torch.nn.Conv2d(3, 3, 1), **backbone._modules}  # first: folding would take it
    metadata = Recognizer(exported).metadata
    compare(student, metadata.calibration, exported, IMAGES, metadata.score_threshold).require()


def test_a_graph_that_loses_peaks_below_the_threshold_is_refused(exported, learnt_student, tmp_path):
    losing, node = onnx.load(exported), onnx.helper.make_node
    (maker,) = [n for n in losing.graph.node if "scores" in n.output]
    highest = np.zeros(500, np.float32)
    highest[0] = 1
    losing.graph.initializer.append(numpy_helper.from_array(highest, "highest"))
    maker.output[:] = ["all" if name == "scores" else name for name in maker.output]
    place = list(losing.graph.node).index(maker)
    losing.graph.node.insert(place + 1, node("Mul", ["all", "highest"], ["scores"]))
    (tmp_path / "m.onnx").write_bytes(losing.SerializeToString())
    student = load_checkpoint(learnt_student).network()
    assert isinstance(student, Student)
    two = [draw_people([(6, 40), (60, 10)])]
    parity = compare(student, Recognizer(exported).metadata.calibration, tmp_path / "m.onnx", two, threshold=0.999)
    assert parity.flipped == 0
    with pytest.raises(ProcessingError, match="must agree with PyTorch"):
        parity.require()


def without_a_number(model: Path, to: Path, output: str) -> Path:
    """A copy that gives NaN for `output` wherever a picture is brighter than the grey one that a model is loaded on."""
    changed = onnx.load(model)
    graph, node = changed.graph, onnx.helper.make_node
    (maker,) = [n for n in graph.node if output in n.output]
    maker.output[:] = ["before" if name == output else name for name in maker.output]
    graph.initializer.append(numpy_helper.from_array(np.array(114.5, np.float32), "grey"))
    graph.node.extend(
        [
            node("Cast", ["image"], ["pixels"], to=onnx.TensorProto.FLOAT),
            node("ReduceMax", ["pixels"], ["brightest"], keepdims=0),
            node("Sub", ["grey", "brightest"], ["darker"]),
            node("Sqrt", ["darker"], ["root"]),
            node("Sub", ["root", "root"], ["zero"]),
            node("Add", ["before", "zero"], [output]),
        ]
    )
    to.write_bytes(changed.SerializeToString())
    return to


@pytest.mark.parametrize("output", ["presence", "boxes_xyxy"])
def test_what_is_no_number_is_refused(exported, learnt_student, tmp_path, output):
    broken = without_a_number(exported, tmp_path / "nan.onnx", output)
    with pytest.raises(ProcessingError, match=r"outputs must be finite, with presence in 0\.\.1, got others"):
        compared(broken, learnt_student, IMAGES[:1])


def test_neither_is_a_score_that_is_no_number_near_to_anything():
    one = Predictions(np.zeros((1, 4), np.float32), np.array([np.nan], np.float32), 0.0)
    nobody = Predictions(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0.0)
    assert np.isnan(_pair(one, nobody).score_differences).all()
    assert len(_pair(one, nobody).score_differences) == 1


def test_either_of_two_cells_that_tie_may_be_the_peak():
    """The boxes of neighbours differ by pixels, and nearest of all other peaks lies far away."""
    logits = torch.full((1, 4, 6), -9.0)
    logits[0, 1, 1], logits[0, 1, 2], logits[0, 3, 5] = 1.0, 1.0 + 1e-6, 0.5
    reach = torch.ones(1, 4, 4, 6)
    reach[0, :, 1, 2] = 1.5

    class Graph:
        map_stride = 4

        def student(self, _: torch.Tensor) -> dict[int, PredictedMaps]:
            return {4: PredictedMaps(4, logits, reach)}

    peaks = _torch_peaks(Graph(), np.zeros((1, 16, 24, 3), np.uint8))
    near = peaks.near
    assert (near.scores > 0.5).sum() == 3
    assert peaks.sure.scores == pytest.approx([0.6225], abs=1e-4)
    boxes = decode_boxes(reach, 4)[0, :, 1]  # (4, 6)
    for column in (1, 2):
        pairs = _pair(Predictions(boxes[:, column][None].numpy(), np.array([0.7311], np.float32), 0.7311), near)
        assert pairs.box_differences_px.max() < 1e-3
        assert pairs.score_differences.max() < 1e-3


def test_decisions_that_flip_are_refused_however_small_the_differences():
    with pytest.raises(ProcessingError, match="'flipped_decisions': 1"):
        Parity(1, ("64x64",), 1e-5, 1e-6, 0.01, 0.0, flipped=1).require()
