import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.__main__ import main
from edge.errors import ModelError, ProcessingError, UnusableInputError
from edge.model_files import shipped_files
from edge.records import Recognition
from edge.verification import (
    MANIFEST,
    Expected,
    read_manifest,
    reference_file,
    require_all,
    require_same_decisions,
    verify_model,
    write_manifest,
)
from export.ship import make_verifiable
from tests.edge.spots import spots
from tests.models import METADATA, write_spot_model


@pytest.fixture
def shipped(tmp_path):
    """A folder with a model, two reference frames, stored outputs and checksums."""
    cv2.imwrite(str(tmp_path / "reference-thermal-1.png"), spots((40, 80), (200, 20)))
    cv2.imwrite(str(tmp_path / "reference-thermal-2.png"), spots())
    model = write_spot_model(tmp_path / "spots.onnx")
    make_verifiable(tmp_path)
    return model


def rewrite(shipped, change):
    """Change the stored outputs, and the checksums with them."""
    file = reference_file(shipped)
    stored = json.loads(file.read_text())
    change(stored["frames"])
    file.write_text(json.dumps(stored))
    write_manifest(shipped.parent, [p for p in shipped.parent.iterdir() if p.name != MANIFEST])


def test_what_was_shipped_passes_and_says_where_it_ran(shipped):
    verified = verify_model(shipped, threads=1)
    assert verified.frames == 2
    assert verified.largest_score_difference < 1e-5
    assert "spots.onnx: as shipped; the same decisions on 2 reference frames (CPUExecutionProvider" in str(verified)


def test_pictures_in_which_nobody_is_found_prove_nothing(tmp_path):
    cv2.imwrite(str(tmp_path / "reference-thermal-1.png"), spots())
    write_spot_model(tmp_path / "spots.onnx")
    with pytest.raises(
        UnusableInputError,
        match=r"reference pictures of spots\.onnx must show somebody with a score of at least 0\.601",
    ):
        make_verifiable(tmp_path)
    assert not list(tmp_path.glob("*.json"))


def test_checksums_that_are_cut_off_leave_the_old_ones_whole(shipped, monkeypatch):
    before = (shipped.parent / MANIFEST).read_bytes()

    def cut(path: Path, target: Path) -> Path:
        raise OSError(5, "cut off", str(path))

    monkeypatch.setattr(Path, "replace", cut)
    with pytest.raises(OSError, match="cut off"):
        write_manifest(shipped.parent, [shipped])
    assert (shipped.parent / MANIFEST).read_bytes() == before


@pytest.mark.parametrize("expected", [0.9, 0.0])
def test_a_presence_that_is_no_number_is_another_verdict(expected):
    frame = Expected("f.png", expected, np.zeros((0, 4), np.float32), ())
    found = Recognition(float("nan"), np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0.0, 0.0, 0.0)
    with pytest.raises(ProcessingError, match=r"the verdict another on f\.png"):
        require_same_decisions(METADATA, found, frame, "spots.onnx")


def test_a_presence_that_falls_just_below_the_verdict_is_another_verdict():
    enter = METADATA.verdict.enter
    frame = Expected("f.png", 0.999, np.zeros((0, 4), np.float32), ())
    found = Recognition(enter - 1e-4, np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0.0, 0.0, 0.0)
    with pytest.raises(ProcessingError, match=r"the verdict another on f\.png"):
        require_same_decisions(METADATA, found, frame, "spots.onnx")


def test_sha256sum_could_check_the_manifest(shipped):
    sums = read_manifest(shipped.parent / MANIFEST)
    assert sorted(sums) == [
        "reference-thermal-1.png",
        "reference-thermal-2.png",
        "spots.onnx",
        "spots.reference.json",
    ]
    first = (shipped.parent / MANIFEST).read_text().splitlines()[0]
    assert first[64:] == "  reference-thermal-1.png"


@pytest.mark.parametrize("name", ["spots.onnx", "spots.reference.json", "reference-thermal-1.png"])
def test_a_byte_that_differs_is_found(shipped, name):
    file = shipped.parent / name
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(ProcessingError, match=rf"{name} must have the sha256 .*; install kestrel-drone again"):
        verify_model(shipped)


def test_a_file_that_is_gone_or_not_listed_is_named(shipped):
    (shipped.parent / "reference-thermal-2.png").unlink()
    with pytest.raises(ProcessingError, match=r"reference-thermal-2\.png must be readable"):
        verify_model(shipped)
    other = write_spot_model(shipped.parent / "other.onnx")
    with pytest.raises(ProcessingError, match=r"other\.onnx must be listed in SHA256SUMS, got no entry"):
        verify_model(other)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda frames: frames[1].update(boxes_xyxy=[[10, 10, 22, 22]], scores=[0.9]), "1 detections lost, 0 new"),
        (lambda frames: frames[0].update(boxes_xyxy=[], scores=[]), "0 detections lost, 2 new"),
        (lambda frames: frames[0].update(scores=[0.2, 0.2]), "0 detections lost, 2 new"),
        (lambda frames: frames[0].update(boxes_xyxy=[[0, 0, 9, 9]] * 2), "2 detections lost, 2 new"),
        (lambda frames: frames[1].update(presence=0.9), "the verdict another on reference-thermal-2.png"),
    ],
)
def test_a_decision_that_flips_is_refused(shipped, change, said):
    rewrite(shipped, change)
    with pytest.raises(ProcessingError, match=rf"must decide as it did when it was shipped, got .*{said}"):
        verify_model(shipped)


@pytest.mark.parametrize(
    "change",
    [
        lambda frames: frames[0].update(presence=frames[0]["presence"] - 1e-4),
        lambda frames: frames[1].update(presence=0.1),  # farther off, but the same decision
        lambda frames: frames[0]["boxes_xyxy"][0].__setitem__(0, frames[0]["boxes_xyxy"][0][0] + 1),
        lambda frames: frames[0]["boxes_xyxy"].reverse(),
    ],
)
def test_what_changes_no_decision_passes(shipped, change):
    rewrite(shipped, change)
    verify_model(shipped)


def test_a_folder_without_checksums_cannot_be_verified(tmp_path):
    with pytest.raises(ModelError, match=r"must hold SHA256SUMS .*python -m export\.ship FOLDER"):
        verify_model(write_spot_model(tmp_path / "m.onnx"))


@pytest.mark.parametrize("text", ["{}", "[" * 100_000, "no json", '{"frames": []}', '{"frames": [{"frame": "x.png"}]}'])
def test_damaged_references_are_refused(shipped, text):
    reference_file(shipped).write_text(text)
    write_manifest(shipped.parent, [p for p in shipped.parent.iterdir() if p.name != MANIFEST])
    with pytest.raises(ModelError, match=r"spots\.reference\.json must hold"):
        verify_model(shipped)


def test_a_damaged_manifest_is_refused(shipped):
    (shipped.parent / MANIFEST).write_text("hello")
    with pytest.raises(ModelError, match="must hold lines of a sha256 and a file name"):
        verify_model(shipped)


def test_a_manifest_that_is_no_text_is_refused(shipped):
    (shipped.parent / MANIFEST).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="SHA256SUMS must be text in UTF-8; write it again"):
        verify_model(shipped)


def test_a_name_with_spaces_is_read_as_sha256sum_writes_it(tmp_path):
    (tmp_path / "my own model.onnx").write_bytes(b"x")
    (tmp_path / "binary.onnx").write_bytes(b"x")
    manifest = write_manifest(tmp_path, [tmp_path / "my own model.onnx"])
    with manifest.open("a") as file:
        file.write(f"{'0' * 64} *binary.onnx\n")
    assert sorted(read_manifest(manifest)) == ["binary.onnx", "my own model.onnx"]


def test_a_listed_model_that_is_gone_is_missed(shipped):
    require_all(shipped.parent)
    shipped.unlink()
    with pytest.raises(
        ProcessingError, match=r"must hold every model that SHA256SUMS lists, got none named spots\.onnx"
    ):
        require_all(shipped.parent)


def test_the_command_misses_a_shipped_model_that_is_gone(shipped, monkeypatch, capsys):
    monkeypatch.setattr("edge.model_files.MODELS_FOLDER", shipped.parent)
    monkeypatch.setattr("edge.model_files.shipped_files", lambda: [shipped.with_name("another.onnx")])
    monkeypatch.setattr("sys.argv", ["kestrel", "models", "--verify"])
    shipped.unlink()
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "got none named spots.onnx; install kestrel-drone again" in capsys.readouterr().err


def test_it_is_verified_on_the_provider_that_flies(shipped):
    assert verify_model(shipped, provider="CPU").provider == "CPUExecutionProvider"
    with pytest.raises(UnusableInputError, match=r"provider must be one of .*got 'abacus'"):
        verify_model(shipped, provider="abacus")


def test_a_provider_is_of_use_to_verify_alone(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["kestrel", "models", "--provider", "cpu"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "--provider must come with --verify, got it alone; add --verify" in capsys.readouterr().err


@pytest.mark.parametrize("model", shipped_files(), ids=lambda file: file.stem)
def test_shipped_models_decide_here_as_where_they_were_made(model):
    # Fails after a model was replaced? Then run: python -m export.ship edge/models
    assert verify_model(model).frames == 3


def test_the_command_verifies_all_shipped_models(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["kestrel", "models", "--verify"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert len(capsys.readouterr().out.splitlines()) == len(shipped_files())
