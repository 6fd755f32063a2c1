import pytest

from edge.cpu import Int8Support
from edge.errors import InvalidValueError, ModelError
from edge.model_files import resolve, shipped_files


@pytest.fixture
def folder(tmp_path):
    for name in ("rgb-small-fp32", "rgb-small-int8", "rgb-nano-int8", "thermal-small-fp32"):
        (tmp_path / f"kestrel-{name}.onnx").touch()
    (tmp_path / "kestrel-rgb-small-fp32.md").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("model", "precision", "name"),
    [
        ("rgb", "auto", "rgb-small-int8"),
        ("rgb", "fp32", "rgb-small-fp32"),
        ("rgb", "int8", "rgb-small-int8"),
        ("rgb-nano", "auto", "rgb-nano-int8"),
        ("thermal", "auto", "thermal-small-fp32"),
    ],
)
def test_a_name_stands_for_a_shipped_file(folder, model, precision, name):
    assert resolve(model, precision, folder, Int8Support(True, "it can")).name == f"kestrel-{name}.onnx"


@pytest.mark.parametrize(
    ("support", "name", "said"),
    [
        (Int8Support(True, "this one can"), "rgb-small-int8", "precision: INT8, this one can\n"),
        (Int8Support(False, "this one cannot"), "rgb-small-fp32", "precision: FP32, this one cannot\n"),
    ],
)
def test_the_processor_decides_on_the_precision_and_one_line_says_so(folder, capsys, support, name, said):
    assert resolve("rgb", "auto", folder, support).name == f"kestrel-{name}.onnx"
    assert capsys.readouterr().err == said


def test_nothing_is_said_where_there_is_no_choice(folder, capsys):
    cannot = Int8Support(False, "it cannot")
    assert resolve("rgb-nano", "auto", folder, cannot).name == "kestrel-rgb-nano-int8.onnx"
    assert resolve("rgb", "int8", folder, cannot).name == "kestrel-rgb-small-int8.onnx"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("model", "precision"), [("thermal", "int8"), ("rgb-nano", "fp32"), ("thermal-nano", "auto")])
def test_a_model_that_is_not_shipped_is_said_to_be_missing(folder, model, precision):
    with pytest.raises(ModelError, match=f"kestrel-{model}.*is not shipped"):
        resolve(model, precision, folder)


def test_a_file_is_taken_as_it_is(folder):
    file = folder / "kestrel-rgb-small-fp32.md"
    assert resolve(str(file), "int8", folder) == file


def test_an_unknown_name_lists_the_known_ones(folder):
    with pytest.raises(InvalidValueError, match=r"model must be one of rgb, rgb-nano, thermal.*, got 'yolo'"):
        resolve("yolo", "auto", folder)


def test_shipped_models_are_listed_without_their_cards(folder, tmp_path_factory):
    assert [file.name for file in shipped_files(folder)] == [
        "kestrel-rgb-nano-int8.onnx",
        "kestrel-rgb-small-fp32.onnx",
        "kestrel-rgb-small-int8.onnx",
        "kestrel-thermal-small-fp32.onnx",
    ]
    assert shipped_files(tmp_path_factory.mktemp("nothing")) == []
