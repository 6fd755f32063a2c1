import dataclasses
import json

import numpy as np
import onnx
import pytest

from edge.contract import MODEL_SCHEMA, ModelMetadata
from edge.errors import ModelError
from edge.recognizer import Recognizer
from tests.models import METADATA, save, spot_model, write_spot_model

PROPS = METADATA.to_props()


def test_metadata_come_back_as_they_were_written():
    assert ModelMetadata.from_props(PROPS, "m.onnx") == METADATA


@pytest.mark.parametrize(
    ("positives", "negatives", "share"),
    [(30, 10, 0.75), (30, 0, 0.5), (0, 10, 0.5), ("30", 10, 0.5), (True, 10, 0.5), (None, None, 0.5)],
)
def test_the_share_of_people_in_what_presence_was_calibrated_on_is_that_of_the_figures(positives, negatives, share):
    metrics = {"flights": {"presence": {"positives": positives, "negatives": negatives}}, "others": {}}
    fitted = dataclasses.replace(METADATA, metrics=metrics, settings={"fitted_to": "flights"})
    assert fitted.share_with_people == share


@pytest.mark.parametrize("settings", [{}, {"fitted_to": "elsewhere"}, {"fitted_to": "others"}, {"fitted_to": ["a"]}])
def test_without_figures_half_of_the_pictures_show_people(settings):
    fitted = dataclasses.replace(METADATA, metrics={"flights": {}, "others": {"presence": 3}}, settings=settings)
    assert fitted.share_with_people == 0.5


@pytest.mark.parametrize("name", sorted(PROPS.keys() - {"schema"}))
def test_a_missing_field_is_named(name):
    props = {key: value for key, value in PROPS.items() if key != name}
    with pytest.raises(ModelError, match=f"m.onnx must carry the metadata field '{name}'; export it again"):
        ModelMetadata.from_props(props, "m.onnx")


@pytest.mark.parametrize("schema", ["4", "0", '"1"', "nonsense", ""])
def test_another_schema_is_refused_before_its_fields_are_looked_at(schema):
    assert MODEL_SCHEMA == 3
    with pytest.raises(ModelError, match=r"must have metadata schema 1 to 3, got .*; update kestrel-drone, or export"):
        ModelMetadata.from_props({"schema": schema}, "m.onnx")


def test_a_file_from_before_the_second_look_has_one_look():
    newer = ("second_look", "closer_look")
    old = {key: value for key, value in PROPS.items() if key not in newer} | {"schema": "1"}
    read = ModelMetadata.from_props(old, "m.onnx")
    assert (read.schema, read.second_look) == (1, None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"modality": "radar"}, "modality must be one of rgb, thermal, got 'radar'"),
        ({"precision": "fp16"}, "precision must be one of fp32, int8"),
        ({"classes": ["car"]}, "classes must be a list with 'pedestrian'"),
        ({"strides": []}, "strides must be one divisor of input_multiple 16"),
        ({"strides": [5]}, "strides must be one divisor of input_multiple 16"),
        ({"strides": [4, 8]}, "strides must be one divisor of input_multiple 16"),
        ({"score_threshold": 0}, "score_threshold must be above 0 and at most 1"),
        (
            {"closer_look": 4, "default_long_side": 4096},
            "closer_look must be at most 8192 px of long side, 2 here, got 4",
        ),
        ({"pad_value": 300}, "pad_value must be a whole number in 0..255"),
        ({"calibration": {"slope": -1, "intercept": 0, "error": None}}, "calibration.slope must be positive"),
        ({"calibration": {"slope": 1}}, "unusable metadata"),
        ({"verdict": {"enter": 0.2, "leave": 0.8}}, "verdict must be 0 <= leave <= enter <= 1"),
        ({"max_enlarge": 0.5}, "max_enlarge must be at least 1"),
    ],
)
def test_values_out_of_their_range_are_refused(changes, said):
    props = {**PROPS, **{name: json.dumps(value) for name, value in changes.items()}}
    with pytest.raises(ModelError, match=f"m.onnx has unusable metadata: .*{said}|{said}"):
        ModelMetadata.from_props(props, "m.onnx")


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("name", "[1]", r"name must be a text, got \[1\]"),
        ("name", r'"\u001b]0;x\u0007"', "a text with control characters"),
        ("name", r'"\ud800"', "a text with control characters"),
        ("intended_use", "null", "intended_use must be a text, got None"),
        ("modality", '["rgb"]', "modality must be one of"),
        ("classes", '"pedestrian"', "classes must be a list"),
        ("classes", '{"pedestrian": 1}', "classes must be a list"),
        ("classes", '["pedestrian", 1]', "classes must be a text, got 1"),
        ("strides", "[4.0]", "strides must be a whole number"),
        ("strides", "[true]", "strides must be a whole number"),
        ("strides", "[0]", "strides must be a whole number"),
        ("input_multiple", "0", "input_multiple must be a whole number in 1..64"),
        ("input_multiple", "128", "input_multiple must be a whole number in 1..64"),
        ("input_multiple", "16.0", "input_multiple must be a whole number"),
        ("pad_value", "114.5", "pad_value must be a whole number"),
        ("pad_value", '"114"', "pad_value must be a whole number"),
        ("pad_value", "true", "pad_value must be a whole number"),
        ("default_long_side", "448.5", r"default_long_side must be a whole number in 32\.\.8192, got 448\.5"),
        ("default_long_side", "100000000", "default_long_side must be a whole number"),
        ("default_long_side", "1" * 5000, r"as JSON \({field}: a whole number of 5000 digits\)"),
        ("score_threshold", '"0.5"', "score_threshold must be a finite number"),
        ("max_enlarge", "NaN", r"as JSON \({field}: NaN is no number\)"),
        ("max_enlarge", "-Infinity", r"as JSON \({field}: -Infinity is no number\)"),
        ("max_enlarge", "1e999", r"as JSON \({field}: a number beyond all bounds\)"),
        ("max_enlarge", "1e9", "max_enlarge must be at least 1 and at most 100"),
        ("second_look", '"0.5"', "second_look must be a finite number"),
        ("calibration", '{"slope": 1.0, "intercept": "x"}', r"calibration\.intercept must be a finite number"),
        ("calibration", '{"slope": 1.0, "intercept": 0, "error": []}', r"calibration\.error must be a finite number"),
        ("calibration", "[1, 2]", "unusable metadata: .*mapping"),
        ("verdict", '{"enter": "x", "leave": 0.5}', r"verdict\.enter must be a finite number"),
        ("data", "[null]", "unusable metadata: .*mapping"),
        ("data", '[{"name": 1, "licence": null}]', r"data\.name must be a text"),
        ("data", "7", "data must be a list"),
        ("metrics", "[1, 2]", "metrics must be an object"),
        ("settings", "null", "settings must be an object"),
        ("settings", "[" * 200_000, "nested more than 32 deep"),
        ("settings", "[" * 40 + "]" * 40, "nested more than 32 deep"),
        ("metrics", r'{"\u009b2J": 1}', "a text with control characters"),
    ],
)
def test_values_of_the_wrong_kind_are_refused_in_one_short_line(field, text, said):
    with pytest.raises(ModelError, match=said.format(field=field)) as refused:
        ModelMetadata.from_props({**PROPS, field: text}, "m.onnx")
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


def test_metadata_that_are_no_json_are_refused():
    with pytest.raises(ModelError, match="must carry metadata as JSON"):
        ModelMetadata.from_props({**PROPS, "name": "bare words"}, "m.onnx")


def test_metadata_that_contradict_the_graph_are_refused(tmp_path):
    with pytest.raises(ModelError, match="says that it is int8, but is not quantised; export it again"):
        Recognizer(write_spot_model(tmp_path / "int8.onnx", precision="int8"))
    model = spot_model()
    model.graph.node[0].input[0] = "rows_of_100"
    model.graph.node.insert(0, onnx.helper.make_node("Reshape", ["image", "as_rows_of_100"], ["rows_of_100"]))
    shape = np.array([0, 100, -1, 3], np.int64)
    model.graph.initializer.append(onnx.numpy_helper.from_array(shape, "as_rows_of_100"))
    with pytest.raises(ModelError, match="must take sides of 16 as its metadata say, got"):
        Recognizer(save(tmp_path / "rows.onnx", model, METADATA))


def test_outputs_of_another_shape_than_they_say_are_refused(tmp_path):
    model = spot_model()
    for name in ("top", "no_score"):  # 400 peaks instead of 500, though the graph declares 500
        constant = next(tensor for tensor in model.graph.initializer if tensor.name == name)
        del constant.dims[:]
        if name == "top":
            constant.dims.append(1)
            constant.raw_data = (400).to_bytes(8, "little")
        else:
            constant.dims.append(400)
            constant.raw_data = bytes(1600)
    for output in model.graph.output[:2]:
        output.type.tensor_type.shape.dim[1].ClearField("dim_value")
    with pytest.raises(ModelError, match=r"must give finite outputs of shapes \[\(1, 500, 4\).*got \[\(1, 400, 4\)"):
        Recognizer(save(tmp_path / "few.onnx", model, METADATA))
