import dataclasses
import io

import onnx
import pytest

from edge.errors import ProcessingError, UnusableInputError
from edge.recognizer import Recognizer
from export.build import export_model
from export.int8 import Int8Settings, Original, best_kept, frames_for, make_int8
from export.parity import compare
from export.places import int8_name
from export.proof import Gate
from export.quantize import calibrate, choose_ranges, prepare
from export.sensitivity import Judge, rank_layers
from tests.edge.spots import write_pictures
from tests.export.conftest import export_settings
from training.checkpoints import load_checkpoint
from training.datasets import load_image, read_dataset
from training.networks.student import Student

ANYTHING_GOES = Gate(largest_drop=1.0, largest_time_ratio=1000.0)


@pytest.fixture(scope="module")
def other_pictures(people_rgb, tmp_path_factory):
    """What the validation pictures show, upside down."""
    images = [load_image(picture)[::-1] for picture in read_dataset(people_rgb).pictures]
    return str(write_pictures(tmp_path_factory.mktemp("calibrate") / "pictures", images))


@pytest.fixture(scope="module")
def both(learnt_student, people_rgb, other_pictures, tmp_path_factory):
    settings = export_settings(
        learnt_student,
        tmp_path_factory.mktemp("both") / "m.onnx",
        validate=people_rgb,
        int8=Int8Settings(other_pictures, frames=4, gate=ANYTHING_GOES),
    )
    list(export_model(settings))
    return settings.out


def test_int8_lies_beside_fp32_with_its_own_figures(both):
    names = [f"m{precision}.{suffix}" for precision in ("-int8", "") for suffix in ("md", "onnx", "png")]
    assert sorted(p.name for p in both.parent.iterdir()) == names
    assert "## INT8 against FP32" in int8_name(both).with_suffix(".md").read_text()
    assert "## INT8 against FP32" not in both.with_suffix(".md").read_text()
    fp32, int8 = (Recognizer(file).metadata for file in (both, int8_name(both)))
    assert (fp32.precision, int8.precision) == ("fp32", "int8")
    assert int8.metrics["people-rgb"]["AP50"] > 0.5
    assert int8.calibration.error is not None
    assert dataclasses.replace(int8, precision="fp32", settings={}).name == fp32.name
    proof = int8.settings["int8"]
    assert proof["dataset"] == "people-rgb"
    assert proof["calibration"] == "percentile"
    assert proof["calibration_frames"] == 4
    assert proof["int8"]["AP50"] == int8.metrics["people-rgb"]["AP50"]
    assert proof["fp32"]["AP50"] == fp32.metrics["people-rgb"]["AP50"]
    assert proof["time_ratio"] > 0
    assert "parity" not in int8.settings


def test_int8_finds_the_people_that_fp32_finds(both, people_rgb):
    fp32, int8 = Recognizer(both), Recognizer(int8_name(both))
    for picture in read_dataset(people_rgb).pictures:
        image = load_image(picture)
        assert len(int8.recognise(image).scores) == pytest.approx(len(fp32.recognise(image).scores), abs=1)


def test_int8_that_costs_too_much_is_refused(exported, people_rgb, other_pictures, tmp_path):
    original = Original(exported, Recognizer(exported).metadata)
    settings = Int8Settings(other_pictures, frames=4, gate=Gate(largest_drop=1.0, largest_time_ratio=0.0))
    datasets = [read_dataset(people_rgb)]
    frames = frames_for(settings, exported, datasets)
    with pytest.raises(ProcessingError, match=r"INT8 must take at most 0 of FP32's time, got .*no INT8 file was"):
        list(make_int8(original, tmp_path / "draft.onnx", datasets, settings, frames))


def test_unusable_int8_settings_are_refused_before_anything_is_written(learnt_student, people_rgb, tmp_path):
    out = tmp_path / "m.onnx"
    base = export_settings(learnt_student, out, int8=Int8Settings("pictures"))
    with pytest.raises(UnusableInputError, match="--int8 must come with --validate, got none"):
        list(export_model(base))
    with pytest.raises(UnusableInputError, match=r"--calibrate must hold at least 200 frames .*, got 0 in"):
        list(
            export_model(export_settings(learnt_student, out, validate=people_rgb, int8=Int8Settings(str(people_rgb))))
        )
    assert not list(tmp_path.iterdir())
    int8_name(out).write_text("mine")
    with pytest.raises(UnusableInputError, match=r"must be new files, got .*m-int8\.onnx'"):
        list(export_model(dataclasses.replace(base, validate=people_rgb)))
    assert [p.name for p in tmp_path.iterdir()] == ["m-int8.onnx"]


def test_what_cannot_be_calibrated_on_is_refused_before_a_graph_is_made(
    learnt_student, people_rgb, monkeypatch, tmp_path
):
    monkeypatch.delattr("export.build.to_onnx")
    settings = Int8Settings(str(tmp_path / "no.mp4"))
    with pytest.raises(UnusableInputError, match=r"must be an existing file, .*no\.mp4'"):
        list(export_model(export_settings(learnt_student, tmp_path / "m.onnx", validate=people_rgb, int8=settings)))


@pytest.mark.parametrize(
    ("tried", "kept"),
    [
        ({(): 0.80}, ()),
        ({(): 0.70, ("a",): 0.80, ("a", "b"): 0.85}, ("a",)),
        ({(): 0.796, ("a",): 0.792, ("a", "b"): 0.79}, ()),  # none is good enough: more FP32 for less would be folly
        ({(): 0.70, ("a",): 0.79, ("a", "b"): 0.79}, ("a",)),
    ],
)
def test_no_more_layers_stay_fp32_than_help(tried, kept):
    assert best_kept(tried, wanted=0.80) == kept


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_long_work_tells_how_far_it_is(exported, learnt_student, people_rgb, other_pictures, monkeypatch):
    said = Terminal()
    monkeypatch.setattr("sys.stderr", said)
    frames = frames_for(Int8Settings(other_pictures, frames=4), exported, [read_dataset(people_rgb)])
    calibrate(prepare(onnx.load(exported)), frames)
    student = load_checkpoint(learnt_student).network()
    assert isinstance(student, Student)
    compare(student, Recognizer(exported).metadata.calibration, exported, frames[:1], 0.5)
    for work in ("measured pictures: ", "calibration frames: ", "calibrate: ", "parity: "):
        assert work in said.getvalue()


def test_layers_are_ranked_by_what_int8_costs_them(exported, people_rgb):
    prepared = prepare(onnx.load(exported))
    frames = [load_image(picture)[:64, :64] for picture in read_dataset(people_rgb).pictures[:2]]
    judge = Judge(prepared, frames)
    assert judge.error(prepared.model) == 0
    ranked = rank_layers(prepared, choose_ranges(calibrate(prepared, frames), "minmax"), judge)
    assert sorted(one.layer for one in ranked) == sorted(prepared.layers())
    errors = [one.error for one in ranked]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] >= 0
