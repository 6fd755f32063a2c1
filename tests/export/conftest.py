"""One export for all tests of this room: it takes seconds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from export import build
from export.build import ExportSettings, export_model
from tests.export.conversion import converted_once


@pytest.fixture(scope="session", autouse=True)
def one_conversion() -> Iterator[None]:
    """All exports of this room, those that session fixtures make included."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "to_onnx", converted_once)
        yield


def export_settings(checkpoint: Path, out: Path, **changes: object) -> ExportSettings:
    """As `kestrel-export CHECKPOINT OUT.onnx` without options."""
    values: dict[str, object] = {
        "checkpoint": checkpoint,
        "out": out,
        "validate": None,
        "also": (),
        "data_card": None,
        "name": "people",
        "version": "1",
        "long_side": 96,
        "max_enlarge": 1.0,
        "overwrite": False,
        **changes,
    }
    return ExportSettings(**values)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def exported(learnt_student: Path, people_rgb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The student that knows `people_rgb` by heart, fitted and measured on these very pictures; card beside it."""
    folder = tmp_path_factory.mktemp("export")
    card = folder / "data.toml"
    card.write_text(
        'intended_use = "Tests."\n[[data]]\nname = "Rectangles"\nlicence = "CC0"\nattribution = "Nobody | at all"\n',
        encoding="utf-8",
    )
    settings = export_settings(learnt_student, folder / "people.onnx", validate=people_rgb, data_card=card)
    (folder / "said.txt").write_text("\n".join(export_model(settings)))
    return settings.out
