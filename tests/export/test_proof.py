import dataclasses

import numpy as np
import pytest

from edge.errors import InvalidValueError, ProcessingError
from edge.recognizer import Recognizer, RecognizerSettings
from export.proof import Figures, Gate, Proof, Speed, race
from tests.models import write_spot_model

FP32 = Figures(ap50=0.80, auroc=0.95, calibration_error=0.02, infer_ms=20.0)
PROOF = Proof(
    dataset="val",
    fp32=FP32,
    int8=Figures(ap50=0.795, auroc=0.94, calibration_error=0.03, infer_ms=9.0),
    speed=Speed(fp32_ms=20.0, int8_ms=9.0, ratio=0.45, input_wh="960x544", threads=2),
    gate=Gate(),
    calibration="percentile",
    calibration_frames=200,
    kept_fp32=("stem",),
    machine="a board",
)


def with_figures(ap50: float, ratio: float, gate: Gate | None = None) -> Proof:
    return dataclasses.replace(
        PROOF,
        int8=dataclasses.replace(PROOF.int8, ap50=ap50),
        speed=dataclasses.replace(PROOF.speed, ratio=ratio),
        gate=gate or Gate(),
    )


@pytest.mark.parametrize(
    ("ap50", "ratio", "gate"),
    [
        (0.795, 0.45, Gate()),
        (0.85, 0.75, Gate()),
        (0.79, 0.45, Gate()),  # 0.8 - 0.79 is a little more than 0.01 in binary
        (0.70, 0.45, Gate(largest_drop=0.11)),
        (0.80, 1.30, Gate(largest_time_ratio=1.5)),
    ],
)
def test_what_is_good_enough_passes(ap50, ratio, gate):
    with_figures(ap50, ratio, gate).require()


@pytest.mark.parametrize(
    ("ap50", "ratio", "said"),
    [
        (0.7, 0.45, r"INT8 must lose at most 0\.01 AP50, got 0\.1000 \(--allow-drop 0\.10\d lets it\); the FP32 file"),
        (0.8, 0.9, r"INT8 must take at most 0\.75 of FP32's time, got 0\.900 \(--allow-slower 0\.91 lets it\); the"),
        (0.7, 0.9, r"lose at most .* and take at most .*; the FP32 file is kept, no INT8 file was written"),
        (float("nan"), 0.4, "lose at most"),
    ],
)
def test_what_failed_is_said_with_the_option_that_lets_it(ap50, ratio, said):
    with pytest.raises(ProcessingError, match=said):
        with_figures(ap50, ratio).require()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"largest_drop": float("nan")}, "--allow-drop must be at least 0 and at most 1, got nan; 0.01 suits"),
        ({"largest_time_ratio": float("nan")}, "--allow-slower must be a number of at least 0, got nan; 0.75 suits"),
        ({"largest_time_ratio": float("inf")}, "--allow-slower must be a number of at least 0, got inf; 0.75 suits"),
    ],
)
def test_limits_that_are_no_numbers_are_refused_before_the_work(values, said):
    with pytest.raises(InvalidValueError, match=said):
        Gate(**values)


def test_the_proof_is_stored_with_machine_limits_and_layers():
    stored = PROOF.to_json()
    assert stored["AP50_drop"] == 0.005
    assert stored["time_ratio"] == 0.45
    assert stored["fp32"] == {"AP50": 0.8, "AUROC": 0.95, "ECE": 0.02, "infer_ms": 20.0}
    assert stored["allowed"] == {"AP50_drop": 0.01, "time_ratio": 0.75}
    assert (stored["machine"], stored["kept_fp32"], stored["calibration_frames"]) == ("a board", ["stem"], 200)


def test_both_networks_run_on_the_same_inputs(tmp_path):
    file = write_spot_model(tmp_path / "spots.onnx")
    one, other = (Recognizer(file, RecognizerSettings(threads=1)) for _ in range(2))
    images = [np.zeros((64, 96, 3), np.uint8), np.zeros((32, 32, 3), np.uint8)]
    speed = race(one, other, images, rounds=5)
    assert speed.fp32_ms > 0
    assert speed.ratio > 0
    assert speed.input_wh == "144x96"
    assert speed.threads == 1
