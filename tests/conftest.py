"""What several rooms need and what takes seconds to make: made once a session."""

from pathlib import Path

import pytest

from tests.training.people import run_settings, write_people
from training.run import train


@pytest.fixture(scope="session")
def people_rgb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labelled folder of four small pictures."""
    return write_people(tmp_path_factory.mktemp("data") / "people-rgb", 4)


@pytest.fixture(scope="session")
def learnt_student(people_rgb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoint of a student that knows the pictures of `people_rgb` by heart; `metrics.jsonl` lies beside it."""
    return train(run_settings(people_rgb, tmp_path_factory.mktemp("run") / "out", steps=150, epoch_steps=10))
