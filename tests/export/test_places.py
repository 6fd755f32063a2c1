import dataclasses

import pytest

from edge.contract import OTHER_FORM
from edge.records import SizeWH
from export.build import export_model
from export.places import int8_name, remove_stale
from export.static import OtherForm
from tests.edge.spots import spots, write_pictures
from tests.export.conftest import export_settings
from tests.models import write_spot_model

FORMS = ("m-int8.onnx", "m-raw-head.onnx", "m-raw-head-96x64.onnx", "m-96x64.onnx")
BESIDE = ("m-int8.md", "m-int8.png", "m-int8-example.jpg", "m-example.jpg")


@pytest.fixture
def folder(tmp_path):
    """What an export with every option has left, and files of others whose names are like it."""
    for name in ("m.onnx", "m-night.onnx", "m-640x512.onnx", "other-int8.onnx"):  # m-640x512: a model of its own
        write_spot_model(tmp_path / name)
    write_spot_model(tmp_path / "m-int8.onnx", precision="int8")
    for form in ("raw-head", "raw-head-96x64", "96x64"):
        write_spot_model(tmp_path / f"m-{form}.onnx", settings={OTHER_FORM: form})
    for name in ("m.md", *BESIDE, "m-raw-head.md"):
        (tmp_path / name).write_text("card")
    return tmp_path


def names(folder):
    return {file.name for file in folder.iterdir()}


def test_what_an_earlier_export_left_is_removed_and_nothing_else(folder):
    before = names(folder)
    assert remove_stale(folder / "m.onnx") == tuple(sorted(FORMS))
    assert before - names(folder) == {*FORMS, *BESIDE}


def test_what_is_not_ours_stays(folder):
    (folder / "m-int8.onnx").write_text("somebody else's")
    assert remove_stale(folder / "m.onnx") == ("m-96x64.onnx", "m-raw-head-96x64.onnx", "m-raw-head.onnx")
    assert {"m-int8.onnx", "m-int8.md"} <= names(folder)
    assert remove_stale(folder / "nothing.onnx") == ()


def test_the_int8_of_another_model_stays(folder):
    """`m-fp32.onnx` is new: `m-int8.onnx` was made of `m.onnx`."""
    assert remove_stale(folder / "m-fp32.onnx") == ()
    write_spot_model(folder / "m-fp32.onnx", name="another")
    assert remove_stale(folder / "m-fp32.onnx") == ()
    assert "m-int8.onnx" in names(folder)


def test_int8_of_other_weights_does_not_survive_an_overwrite(learnt_student, tmp_path):
    out = write_spot_model(tmp_path / "m.onnx")
    write_spot_model(int8_name(out), precision="int8")
    settings = export_settings(
        learnt_student, out, other=OtherForm(SizeWH(96, 64), raw_head=False), show=(write_shown(tmp_path),)
    )
    int8_name(out).with_suffix(".md").write_text("its card")
    said = list(export_model(dataclasses.replace(settings, overwrite=True)))
    assert "removed m-int8.onnx, made of what m.onnx was before" in said
    assert names(tmp_path) == {"m.onnx", "m.md", "m-example.jpg", "m-96x64.onnx", "p"}


def write_shown(folder):
    return next(write_pictures(folder / "p", [spots((40, 40))]).iterdir())
