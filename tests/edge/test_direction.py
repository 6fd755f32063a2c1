"""The edge flies alone: what it imports, and how soon it is there."""

import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import edge

ROOT = Path(edge.__file__).parents[1]
GROUND_ONLY = {"torch", "torchvision", "timm", "onnx", "onnxscript", "onnxslim", "training", "export"}
HEAVY = {"cv2", "onnxruntime", "matplotlib", "av", "tqdm"}


def loaded_after(*modules: str) -> set[str]:
    """The top-level packages that a fresh Python has loaded once it has imported `modules`."""
    program = (
        "import importlib, json, sys\n"
        f"for name in {list(modules)!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def all_modules() -> list[str]:
    # importing __main__ is harmless: it runs nothing on import
    return ["edge", *(module.name for module in pkgutil.walk_packages(edge.__path__, "edge."))]


def test_no_module_of_the_edge_needs_what_stays_on_the_ground():
    modules = all_modules()
    assert {"edge.cli", "edge.__main__", "edge.sinks.video", "edge.sources.video"} <= set(modules)
    assert loaded_after(*modules).isdisjoint(GROUND_ONLY)


def test_help_needs_nothing_heavy():
    assert loaded_after("edge", "edge.__main__", "edge.cli").isdisjoint(HEAVY | GROUND_ONLY)


def test_nothing_is_told_to_the_maker_of_the_runtime(tmp_path):
    program = "import os, edge, edge.recognizer, onnxruntime; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        environment[name] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"
    assert list(tmp_path.iterdir()) == []  # no device id
