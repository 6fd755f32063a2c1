import dataclasses
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch

from edge.contract import OTHER_FORM, Calibration, ModelMetadata
from edge.errors import InvalidValueError, ModelError, ProcessingError, UnusableInputError
from edge.listing import describe_model
from edge.onnx_wire import read_outline
from edge.raw_head import decode_raw_head
from edge.recognizer import Recognizer
from edge.records import SizeWH
from export.build import export_model
from export.graph import RecognitionGraph
from export.parity import compare
from export.static import RAW_INPUT, RAW_OUTPUTS, OtherForm, other_form, run_other
from tests.export.conftest import export_settings
from tests.models import METADATA, write_spot_model
from tests.training.people import STUDENT
from training.networks.student import Student

CALIBRATED = dataclasses.replace(METADATA, calibration=Calibration(1.7, 0.4))
SIZE = SizeWH(96, 64)


@pytest.fixture(scope="module")
def student():
    torch.manual_seed(0)
    return Student(STUDENT).eval()


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (1, SIZE.height, SIZE.width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def full(student, image):
    """boxes_xyxy, scores and presence of the full graph."""
    with torch.inference_mode():
        return [t.numpy() for t in RecognitionGraph(student, CALIBRATED.calibration).eval()(torch.from_numpy(image))]


def run(model, inputs):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session, session.run(None, inputs)


def test_the_raw_head_decodes_to_what_the_full_graph_says(student, image, full):
    model = other_form(student, CALIBRATED, OtherForm(SIZE, raw_head=True))
    session, (logits, log_distances) = run(model, {RAW_INPUT: image.transpose(0, 3, 1, 2).astype(np.float32)})
    assert session.get_inputs()[0].shape == [1, 3, 64, 96]
    assert tuple(output.name for output in session.get_outputs()) == RAW_OUTPUTS
    decoded = decode_raw_head(logits[0, 0], log_distances[0], student.spec.stride, CALIBRATED.calibration)
    assert decoded.scores == pytest.approx(full[1][0], abs=1e-5)
    assert decoded.presence == pytest.approx(full[2][0], abs=1e-5)
    assert np.abs(np.sort(decoded.boxes_xyxy, 0) - np.sort(full[0][0], 0)).max() < 1e-2


def test_a_fixed_size_gives_the_same_answer(student, image, full):
    model = other_form(student, CALIBRATED, OtherForm(SIZE, raw_head=False))
    session, found = run(model, {"image": image})
    assert session.get_inputs()[0].shape == [1, 64, 96, 3]
    assert found[1] == pytest.approx(full[1], abs=1e-5)
    assert found[2] == pytest.approx(full[2], abs=1e-5)


def test_other_forms_lie_beside_the_model_and_carry_its_metadata(learnt_student, tmp_path):
    form = OtherForm(SIZE, raw_head=True)
    settings = export_settings(learnt_student, tmp_path / "m.onnx", other=form, second_look=0.5)
    said = list(export_model(settings))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m-raw-head-96x64.onnx", "m.md", "m.onnx"]
    assert any("m-raw-head-96x64.onnx, for other compilers: kestrel itself runs m.onnx" in line for line in said)
    outline = read_outline((tmp_path / "m-raw-head-96x64.onnx").read_bytes(), "m")
    metadata = ModelMetadata.from_props(outline.metadata, "m")
    assert metadata.name == "people"
    assert metadata.settings["parity"]["sizes"] == ["96x64"]  # its own, not that of m.onnx
    assert any(line.startswith("parity of m-raw-head-96x64.onnx with PyTorch") for line in said)
    assert any(line.startswith("warning: m-raw-head-96x64.onnx looks once, while its threshold") for line in said)
    said = r"got one for other compilers \(raw-head-96x64\); name the file without -raw-head-96x64"
    for load in (Recognizer, describe_model):
        with pytest.raises(ModelError, match=said):
            load(tmp_path / "m-raw-head-96x64.onnx")
    with pytest.raises(UnusableInputError, match=r"must be new files, got .*m-raw-head-96x64\.onnx"):
        list(export_model(settings))


@pytest.mark.parametrize("raw_head", [False, True])
def test_each_form_is_compared_with_torch(student, exported, image, raw_head):
    form = OtherForm(SIZE, raw_head)
    model = other_form(student, CALIBRATED, form)
    parity = compare(
        student, CALIBRATED.calibration, exported, [image[0]], 0.5, SIZE, run_other(model, CALIBRATED, form)
    )
    parity.require()
    assert parity.sizes == ("96x64",)
    wrong = dataclasses.replace(CALIBRATED, calibration=Calibration(1.7, 3.0))
    with pytest.raises(ProcessingError, match="must agree with PyTorch"):
        compare(
            student, wrong.calibration, exported, [image[0]], 0.5, SIZE, run_other(model, CALIBRATED, form)
        ).require()


def test_no_new_model_lies_beside_an_old_form_however_the_new_form_ends(learnt_student, tmp_path):
    before = ("m.onnx", "m-96x64.onnx")
    write_spot_model(tmp_path / "m.onnx")
    write_spot_model(tmp_path / "m-96x64.onnx", settings={OTHER_FORM: "96x64"})
    contents = [(tmp_path / name).read_bytes() for name in before]
    settings = export_settings(learnt_student, tmp_path / "m.onnx", overwrite=True, other=OtherForm(SIZE, False))
    running = export_model(settings)
    assert any(line.startswith("parity of m-96x64.onnx") for line in running)
    with pytest.raises(KeyboardInterrupt):
        running.throw(KeyboardInterrupt)
    assert [(tmp_path / name).read_bytes() for name in before] == contents


@pytest.mark.parametrize(
    ("form", "name"),
    [
        (OtherForm(SIZE, raw_head=False), "m-96x64.onnx"),
        (OtherForm(None, raw_head=True), "m-raw-head.onnx"),
        (OtherForm(SIZE, raw_head=True), "m-raw-head-96x64.onnx"),
    ],
)
def test_the_name_says_the_form(form, name):
    assert form.name(Path("m.onnx")) == Path(name)


def test_a_size_that_the_strides_do_not_divide_is_refused(student):
    with pytest.raises(
        InvalidValueError,
        match="--static must be WxH with sides that are multiples of 16, got '100x64'; for example 112x64",
    ):
        other_form(student, METADATA, OtherForm(SizeWH(100, 64), raw_head=False))
