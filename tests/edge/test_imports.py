import subprocess
import sys

import pytest

HEAVY = ("numpy", "cv2", "av", "onnxruntime", "matplotlib", "paho", "http.server")


def loaded_by(statement: str) -> set[str]:
    """Which heavy packages one import brings along."""
    code = f"{statement}\nimport sys\nprint(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ("import edge", set()),
        ("import edge.__main__", set()),
        ("import edge.cli", {"numpy"}),  # --help answers at once
        ("import edge.recognizer", {"numpy", "cv2", "onnxruntime"}),
        ("import edge.sources.video", {"numpy", "cv2", "av"}),
        ("import edge.watch, edge.watch_sources", {"numpy", "cv2", "av", "onnxruntime"}),
    ],
)
def test_heavy_packages_are_loaded_by_whoever_needs_them(statement: str, allowed: set[str]) -> None:
    assert loaded_by(statement) <= allowed
