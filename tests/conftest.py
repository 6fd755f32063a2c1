"""What several rooms need and what takes seconds to make: made once a session.

Training is imported where it is used: the tests of the edge run without torch as well.
"""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def people_rgb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labelled folder of four small pictures."""
    from tests.training.people import write_people

    return write_people(tmp_path_factory.mktemp("data") / "people-rgb", 4)


@pytest.fixture(scope="session")
def learnt_student(people_rgb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoint of a student that knows the pictures of `people_rgb` by heart; `metrics.jsonl` lies beside it."""
    from tests.training.people import run_settings
    from training.run import train

    return train(run_settings(people_rgb, tmp_path_factory.mktemp("run") / "out", steps=250, epoch_steps=10))
