import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import ProcessingError
from edge.records import Image
from tests.models import write_spot_model
from tests.training.folders import write_picture, write_text
from training.__main__ import main
from training.coco_scoring import DetectedPicture
from training.datasets import read_dataset
from training.evaluation import Evaluation, evaluate_model, judge
from training.report import SHEET_COLUMNS, TILE_PX, contact_sheet, table, worst, write_report


def spot_folder(folder: Path) -> Path:
    """Three pictures with bright spots: one labelled, one labelled without a spot, one with a spot but no label."""
    images, annotations = [], []
    for k, (spot, label) in enumerate([(True, True), (False, True), (True, False), (False, False)], start=1):
        image = np.zeros((128, 160, 3), dtype=np.uint8)
        if spot:
            image[40:52, 40:52] = 255
        path = write_picture(folder / "images" / f"{k}.png", 160, 128)
        assert cv2.imwrite(str(path), image)
        images.append({"id": k, "file_name": path.name, "width": 160, "height": 128, "source": f"source{k % 2}"})
        if label:
            annotations.append({"image_id": k, "category_id": 1, "bbox": [40, 40, 12, 12]})
    document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "pedestrian"}]}
    write_text(folder / "annotations.json", json.dumps(document))
    return folder


@pytest.fixture
def evaluation(tmp_path: Path) -> Evaluation:
    model = write_spot_model(tmp_path / "spots.onnx", default_long_side=160, max_enlarge=1.0)
    return evaluate_model(model, read_dataset(spot_folder(tmp_path / "spots-rgb")), threads=1)


def empty_evaluation(tmp_path: Path) -> Evaluation:
    """One picture without anybody, in which nothing was found."""
    (picture,) = read_dataset(spot_folder(tmp_path / "spots")).pictures[3:]
    nothing = DetectedPicture(picture, 0.0, picture.boxes_xyxy, np.zeros(0, dtype=np.float32))
    return judge([nothing], 0.5, model="m", dataset="d")


def test_the_table_says_every_figure_in_plain_text(evaluation: Evaluation) -> None:
    text = table(evaluation)
    assert "bright-spots on spots-rgb: 4 pictures, 2 pedestrians" in text
    assert "AP50 0." in text
    assert "model's threshold  0.600      0.500    0.500    0.500         0.50" in text
    assert "0 to 16                        2" in text
    assert "of 1 missed people 0 were found with a loose box (IoU below 0.5), 1 not at all" in text
    assert "of 1 false alarms 0 are loose boxes, 0 second boxes of a person, 1 about nobody" in text
    assert text.isascii()


def test_what_cannot_be_measured_is_a_dash(tmp_path: Path) -> None:
    text = table(empty_evaluation(tmp_path))
    assert "AP50 -   AP50:95 -   centre AP -   max recall -" in text
    assert "AUROC -" in text


def test_a_report_holds_the_table_four_charts_and_three_contact_sheets(evaluation: Evaluation, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    folder.mkdir()
    files = write_report(evaluation, folder)
    assert sorted(file.name for file in files) == [
        "ap50_by_height.png",
        "by_source.png",
        "false_alarms.png",
        "figures.txt",
        "loose_boxes.png",
        "misses.png",
        "precision_recall.png",
        "reliability.png",
    ]
    for file in files:
        if file.suffix == ".png":
            image = cv2.imread(str(file))
            assert image is not None
            assert image.std() > 1, f"{file.name} is blank"


def test_a_report_on_nothing_found_is_written_all_the_same(tmp_path: Path) -> None:
    assert len(write_report(empty_evaluation(tmp_path), tmp_path)) == 8


def test_a_report_that_cannot_be_written_says_so(evaluation: Evaluation, tmp_path: Path) -> None:
    with pytest.raises(ProcessingError, match=r"figures.txt cannot be written"):
        write_report(evaluation, tmp_path / "gone")


def test_misses_and_false_alarms_are_told_apart(evaluation: Evaluation) -> None:
    (miss,), (alarm,) = worst(evaluation, ["unseen"]), worst(evaluation, ["nobody"])
    assert (miss.judged.detected.picture.path.name, miss.score) == ("2.png", 0.0)
    assert alarm.judged.detected.picture.path.name == "3.png"
    assert alarm.score > 0.9
    np.testing.assert_allclose(alarm.box_xyxy, [40, 40, 52, 52], atol=2)


def test_the_surest_mistakes_come_first_and_the_sheet_is_cut_at_its_count(evaluation: Evaluation) -> None:
    assert worst(evaluation, ["unseen"], count=0) == ()
    scores = [alarm.score for alarm in worst(evaluation, ["nobody", "double", "loose"])]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(("copies", "rows"), [(0, 1), (1, 1), (6, 1), (7, 2)])
def test_a_contact_sheet_has_six_crops_in_a_row(copies: int, rows: int, evaluation: Evaluation) -> None:
    sheet: Image = contact_sheet(worst(evaluation, ["nobody"]) * copies, "title", 0.5)
    assert sheet.shape == (48 + rows * TILE_PX, SHEET_COLUMNS * TILE_PX, 3)


def test_a_crop_shows_the_mistake_in_its_middle(evaluation: Evaluation) -> None:
    tile = contact_sheet(worst(evaluation, ["nobody"]), "title", 0.5)[48:, :TILE_PX]
    middle = tile[TILE_PX // 2 - 8 : TILE_PX // 2 + 8, TILE_PX // 2 - 8 : TILE_PX // 2 + 8]
    assert middle.min() == 255


# The command itself, in a process of its own.


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "training", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env=os.environ | environment
    )


def test_kestrel_train_evaluate_prints_the_table_and_writes_json_and_report(tmp_path: Path) -> None:
    model = write_spot_model(tmp_path / "spots.onnx", modality="thermal")
    dataset = spot_folder(tmp_path / "spots-rgb")
    report, figures = tmp_path / "new" / "report", tmp_path / "figures.json"
    done = run("evaluate", model, dataset, "--report", report, "--json", figures, "--threads", 1, "--limit", 3)
    assert done.returncode == 0, done.stderr
    assert "bright-spots on spots-rgb: 3 pictures, 2 pedestrians" in done.stdout
    assert "warning: spots-rgb is rgb footage, the model is for thermal" in done.stderr
    assert "%|" not in done.stderr  # no progress bar when piped
    assert json.loads(figures.read_text())["pictures"] == 3
    assert (report / "misses.png").is_file()


def test_figures_can_go_to_standard_output_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, dataset = write_spot_model(tmp_path / "spots.onnx"), spot_folder(tmp_path / "spots")
    monkeypatch.setattr(sys, "argv", ["kestrel-train", "evaluate", str(model), str(dataset), "--json", "-"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out)["dataset"] == "spots"


@pytest.mark.parametrize(
    ("model", "dataset", "options", "message"),
    [
        ("spots.onnx", "gone", [], "dataset must be a folder that exists"),
        ("spots.onnx", ".", [], "must be a labelled folder, got no known layout"),
        ("gone.onnx", "spots", [], "model must be one of"),
        ("spots/annotations.json", "spots", [], "must be an ONNX model"),
        ("spots.onnx", "spots", ["--report", "spots.onnx"], "--report must be a folder that can be made"),
        ("spots.onnx", "spots", ["--json", "gone/figures.json"], "--json must be a file in a folder that exists"),
        ("spots.onnx", "spots", ["--limit", "0"], "--limit"),
    ],
)
def test_unusable_input_ends_with_a_line_and_exit_code_2(
    model: str,
    dataset: str,
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_spot_model(tmp_path / "spots.onnx")
    spot_folder(tmp_path / "spots")
    places = [option if option.startswith("--") or option == "0" else str(tmp_path / option) for option in options]
    monkeypatch.setattr(
        sys, "argv", ["kestrel-train", "evaluate", str(tmp_path / model), str(tmp_path / dataset), *places]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    output = capsys.readouterr()
    assert ended.value.code == 2
    assert message in output.err
    assert output.out == ""


def test_a_missing_extra_names_the_pip_command(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden" / "faster_coco_eval.py"
    write_text(hidden, "raise ModuleNotFoundError('no module', name='faster_coco_eval')\n")
    done = run("evaluate", "rgb", spot_folder(tmp_path / "spots"), PYTHONPATH=str(hidden.parent))
    assert done.returncode == 2
    assert done.stderr == (
        "kestrel-train: this command needs faster_coco_eval; run `pip install 'kestrel-drone[train]'`\n"
    )
