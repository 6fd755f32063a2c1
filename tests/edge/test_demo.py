import json

import pytest

from edge.demo import find_clips, run_demo
from edge.errors import ModelError, UnusableInputError
from edge.interruption import Stop
from edge.recognizer import RecognizerSettings
from tests.edge.spots import crossing, write_video
from tests.models import write_spot_model

SETTINGS = RecognizerSettings(threads=1)


@pytest.fixture
def clips(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("colour-lot.mp4", "thermal-field.mp4"):
        write_video(folder / name, crossing(4))
    (folder / "README.md").write_text("who filmed this")
    return folder


@pytest.fixture
def models(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    for modality in ("rgb", "thermal"):
        write_spot_model(folder / f"kestrel-{modality}-small-fp32.onnx", modality=modality, name=modality)
    return folder


def test_each_clip_is_watched_with_its_own_model_and_the_demo_can_be_run_again(tmp_path, clips, models, capsys):
    out = tmp_path / "demo"
    for _ in range(2):
        run_demo(out, "auto", SETTINGS, Stop(), clips, models)
    last_line = capsys.readouterr().out.splitlines()[-1]
    for clip, model in (("colour-lot", "rgb"), ("thermal-field", "thermal")):
        assert (out / clip / "annotated.mp4").exists()
        header = json.loads((out / clip / "records.jsonl").read_text().splitlines()[0])
        assert header["model"]["name"] == model
        assert f"{out / clip}/" in last_line


def test_a_demo_that_is_stopped_does_not_begin_the_next_clip(tmp_path, clips, models):
    stop = Stop()
    stop.request()
    run_demo(tmp_path / "demo", "auto", SETTINGS, stop, clips, models)
    assert [path.name for path in (tmp_path / "demo").iterdir()] == ["colour-lot"]


def test_missing_clips_and_models_are_said_to_be_missing(tmp_path, clips):
    with pytest.raises(UnusableInputError, match="no clips in"):
        find_clips(tmp_path)
    with pytest.raises(ModelError, match=r"kestrel-rgb-small-fp32.onnx is not shipped"):
        run_demo(tmp_path / "demo", "fp32", SETTINGS, Stop(), clips, tmp_path)
