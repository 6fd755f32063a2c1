"""One model file for the tests of this room that start from one: an export takes seconds."""

from pathlib import Path

import pytest

import training.teacher_files


@pytest.fixture(autouse=True)
def no_shipped_teachers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Those of this checkout are large; a test that wants one puts it there."""
    for name in ("FOLDER", "HERE"):
        monkeypatch.setattr(training.teacher_files, name, tmp_path / "no teachers")


@pytest.fixture(scope="session")
def shipped_model(learnt_student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file of a student whose trunk and heads are full of batch norms; it names its data."""
    from export import build
    from tests.export.conftest import export_settings
    from tests.export.conversion import converted_once

    folder = tmp_path_factory.mktemp("shipped")
    card = folder / "data.toml"
    card.write_text('intended_use = "Say \\"hello\\"."\n[[data]]\nname = "Rectangles"\nlicence = "CC0"\n')
    settings = export_settings(learnt_student, folder / "people.onnx", data_card=card)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "to_onnx", converted_once)
        assert list(build.export_model(settings))
    return settings.out
