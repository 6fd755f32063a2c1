import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from edge.contract import GRAPH_CONSTANTS, MAX_DETECTIONS, OUTPUT_NAMES, Calibration, ModelMetadata
from edge.onnx_wire import read_outline
from edge.records import Image
from export.graph import RecognitionGraph, calibrate_presence, fold_normalization
from tests.training.people import STUDENT, draw_people
from training.checkpoints import load_checkpoint
from training.networks.student import Student

PERSON = draw_people([(30, 30)])


@pytest.fixture(scope="module")
def session(exported: Path) -> ort.InferenceSession:
    return ort.InferenceSession(exported.read_bytes(), providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def graph(exported: Path, learnt_student: Path, session: ort.InferenceSession) -> RecognitionGraph:
    metadata = ModelMetadata.from_props(session.get_modelmeta().custom_metadata_map, "people.onnx")
    student = load_checkpoint(learnt_student).network()
    assert isinstance(student, Student)
    return RecognitionGraph(student, metadata.calibration).eval()


def run(session: ort.InferenceSession, images: Image) -> list[np.ndarray]:
    return session.run(OUTPUT_NAMES, {"image": images})


def noise(height: int, width: int, batch: int = 1) -> Image:
    return np.random.default_rng(height * width).integers(0, 256, (batch, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("mean", [(0.5, 0.5, 0.5), (0.485, 0.456, 0.406)])
def test_the_normalisation_folded_into_the_first_layer_changes_nothing(mean):
    torch.manual_seed(0)
    student = Student(dataclasses.replace(STUDENT, mean=mean, std=(0.229, 0.224, 0.225))).eval()
    before = {k: v.clone() for k, v in student.state_dict().items()}
    images = torch.randint(0, 256, (2, 3, 64, 48)).float()
    with torch.inference_mode():
        ours, theirs = fold_normalization(student)(images)[4], student(images)[4]
    torch.testing.assert_close(ours.logits, theirs.logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours.log_distances, theirs.log_distances, atol=1e-4, rtol=1e-4)
    assert all(torch.equal(v, before[k]) for k, v in student.state_dict().items())  # the student itself is untouched


def test_a_first_layer_that_standardises_its_weights_keeps_the_normalisation():
    torch.manual_seed(0)
    student = Student(dataclasses.replace(STUDENT, backbone="test_nfnet")).eval()
    images = torch.randint(0, 256, (1, 3, 64, 48)).float()
    with torch.inference_mode():
        torch.testing.assert_close(fold_normalization(student)(images)[4].logits, student(images)[4].logits)


@pytest.mark.parametrize("shape_hw", [(16, 16), (16, 64), (48, 32), (96, 96), (240, 320)])
def test_the_onnx_graph_says_what_torch_says_at_any_size(session, graph, shape_hw):
    images = noise(*shape_hw)
    with torch.inference_mode():
        expected = [o.numpy() for o in graph(torch.from_numpy(images))]
    boxes, scores, presence = run(session, images)
    assert (boxes.shape, scores.shape, presence.shape) == ((1, MAX_DETECTIONS, 4), (1, MAX_DETECTIONS), (1,))
    np.testing.assert_allclose(scores, expected[1], atol=1e-4)
    np.testing.assert_allclose(presence, expected[2], atol=1e-4)
    np.testing.assert_allclose(boxes[0, 0], expected[0][0, 0], atol=0.1)


def test_a_batch_is_what_its_pictures_are_one_by_one(session):
    pair = np.stack([PERSON, draw_people([])])
    together = run(session, pair)
    for k in (0, 1):
        for whole, single in zip(together, run(session, pair[k : k + 1]), strict=True):
            np.testing.assert_allclose(whole[k], single[0], atol=1e-4)


@pytest.mark.parametrize("images", [PERSON[None], noise(16, 16), np.zeros((1, 32, 32, 3), np.uint8)])
def test_rows_past_the_last_peak_are_zero_and_scores_fall(session, images):
    boxes, scores, presence = run(session, images)
    assert (np.diff(scores[0]) <= 0).all()
    real = scores[0] > 0
    assert 1 <= real.sum() < MAX_DETECTIONS
    assert (boxes[0, ~real] == 0).all()
    assert (boxes[0, real, 2:] > boxes[0, real, :2]).all()
    assert 0 <= presence[0] <= 1


def test_presence_is_the_calibrated_best_score(session, graph):
    _, scores, presence = run(session, PERSON[None])
    best = torch.logit(torch.tensor(scores[0, 0])).item()
    expected = 1 / (1 + np.exp(-(float(graph.presence_slope) * best + float(graph.presence_intercept))))
    assert presence[0] == pytest.approx(expected, abs=1e-4)


def test_a_graph_that_is_calibrated_anew_says_what_one_of_that_calibration_says(exported, learnt_student):
    model = onnx.load(exported)
    calibrate_presence(model, Calibration(1.0, 0.0))
    _, scores, presence = run(ort.InferenceSession(model.SerializeToString()), PERSON[None])
    assert presence[0] == pytest.approx(scores[0, 0], abs=1e-6)
    calibrate_presence(model, Calibration(0.5, -2.0))
    student = load_checkpoint(learnt_student).network()
    assert isinstance(student, Student)
    with torch.inference_mode():
        expected = RecognitionGraph(student, Calibration(0.5, -2.0)).eval()(torch.from_numpy(PERSON[None]))
    found = run(ort.InferenceSession(model.SerializeToString()), PERSON[None])
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-4)


def test_the_calibration_moves_presence_alone():
    torch.manual_seed(0)
    student = Student(STUDENT).eval()
    image = torch.from_numpy(PERSON[None])
    with torch.inference_mode():
        one, other = (RecognitionGraph(student, c)(image) for c in (Calibration(1.0, 0.0), Calibration(2.0, 9.0)))
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])
    assert one[2] != other[2]


def test_the_graph_names_the_stride_and_the_calibration_that_it_computes_with(exported, graph):
    outline = read_outline(exported.read_bytes(), exported.name)
    metadata = ModelMetadata.from_props(outline.metadata, exported.name)
    assert metadata.strides == (graph.map_stride,)
    assert outline.constants == pytest.approx(metadata.constants)
    assert outline.constants.keys() == set(GRAPH_CONSTANTS)
