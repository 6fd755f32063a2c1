import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from edge.errors import UnusableInputError
from tests.models import write_spot_model
from tests.training.test_report import spot_folder
from training.__main__ import main
from training.candidates import open_candidate
from training.datasets import read_dataset
from training.evaluation import evaluate


def test_a_model_file_knows_what_it_was_trained_on_and_fitted_to(tmp_path: Path) -> None:
    model = write_spot_model(tmp_path / "m.onnx", settings={"dataset": "spots-train", "fitted_to": "spots-val"})
    candidate = open_candidate(str(model), threads=1)
    assert (candidate.name, candidate.modality, candidate.threshold) == ("bright-spots", "thermal", 0.6)
    assert (candidate.trained_on, candidate.fitted_to) == (("spots-train",), "spots-val")


@pytest.mark.parametrize("tta", [False, True])
def test_a_checkpoint_is_judged_like_a_model_file(learnt_student: Path, people_rgb: Path, tta: bool) -> None:
    candidate = open_candidate(str(learnt_student), threads=1, tta=tta)
    assert (candidate.name, candidate.trained_on) == ("student" + "+tta" * tta, ("people-rgb",))
    boxes = evaluate(candidate.recognise, read_dataset(people_rgb), threshold=candidate.threshold).boxes
    assert boxes.centre_ap is not None
    assert boxes.centre_ap > 0.5


def test_a_model_file_cannot_be_averaged(tmp_path: Path) -> None:
    model = write_spot_model(tmp_path / "m.onnx")
    with pytest.raises(UnusableInputError, match=r"--tta must come with a checkpoint, got .*m\.onnx"):
        open_candidate(str(model), tta=True)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> tuple[str, str]:
    """What `kestrel-train evaluate` says on both streams."""
    monkeypatch.setattr("sys.argv", ["kestrel-train", "evaluate", *map(str, arguments)])
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0, err.getvalue()
    return out.getvalue(), err.getvalue()


def test_evaluate_judges_corruptions_looks_and_near_duplicates_where_it_is_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_spot_model(tmp_path / "m.onnx", default_long_side=160, max_enlarge=1.0)
    dataset, training = spot_folder(tmp_path / "spots-val"), spot_folder(tmp_path / "spots-train")
    report, figures = tmp_path / "report", tmp_path / "figures.json"
    extra = ("--robustness", "--looks", "--train-set", training, "--report", report, "--json", figures)
    out, err = run(monkeypatch, model, dataset, "--threads", 1, *extra)
    assert "motion blur" in out
    assert "inverted" in out
    assert "warning: 4 of 4 pictures nearly repeat one of spots-train" in err
    for name in ("robustness.png", "robustness.txt", "looks.png", "looks.txt", "near_duplicates.png"):
        assert (report / name).is_file()
    told = json.loads(figures.read_text())
    assert len(told["robustness"]) == 8
    assert [row["name"] for row in told["looks"]] == ["inverted", "iron", "rainbow"]
    assert told["near_duplicates"]["near_duplicates"] == 4


def test_the_models_own_training_set_is_looked_at_where_it_lies_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"dataset": "spots-train", "fitted_to": "spots-val"}
    model = write_spot_model(tmp_path / "m.onnx", settings=settings)
    dataset = spot_folder(tmp_path / "spots-val")
    _, err = run(monkeypatch, model, dataset, "--threads", 1)
    assert "nearly repeat" not in err
    (tmp_path / "spots-train").mkdir()  # nobody named it: what is wrong with it ends nothing
    _, err = run(monkeypatch, model, dataset, "--threads", 1)
    assert "warning: did not look for pictures that nearly repeat those of training: " in err
    assert "threshold and presence of bright-spots were fitted to spots-val" in err
    spot_folder(tmp_path / "spots-train")
    _, err = run(monkeypatch, model, dataset, "--threads", 1)
    assert "4 of 4 pictures nearly repeat one of spots-train" in err


def test_of_several_training_sets_those_that_lie_beside_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chapters = [{"from_step": 0, "dataset": "spots-train"}, {"from_step": 9, "dataset": "mine+unlabelled"}]
    settings = {"dataset": "mine+unlabelled", "history": chapters}
    model = write_spot_model(tmp_path / "m.onnx", settings=settings)
    dataset = spot_folder(tmp_path / "spots-val")
    spot_folder(tmp_path / "spots-train")
    _, err = run(monkeypatch, model, dataset, "--threads", 1)
    assert "4 of 4 pictures nearly repeat one of spots-train" in err


def test_judging_by_what_was_learnt_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = write_spot_model(tmp_path / "m.onnx", settings={"dataset": "spots"})
    _, err = run(monkeypatch, model, spot_folder(tmp_path / "spots"), "--threads", 1)
    assert "warning: it has learnt on spots, so what is measured there says nothing of other pictures" in err
    assert "nearly repeat" not in err  # all of them do


def test_a_split_of_the_judged_folder_that_was_learnt_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_spot_model(tmp_path / "m.onnx", settings={"dataset": "spots-train"})
    for split in ("train", "val"):
        spot_folder(tmp_path / "spots" / split)
    _, err = run(monkeypatch, model, tmp_path / "spots", "--split", "val", "--threads", 1)
    assert "4 of 4 pictures nearly repeat one of spots-train" in err
