import resource
import tempfile

import pytest

from edge.errors import ProcessingError
from export.model_file import scratch_folder
from export.quantize import prepare
from export.ranges import session_with_outputs
from tests.models import spot_model


@pytest.mark.parametrize("step", [prepare, lambda model: session_with_outputs(model, ())])
def test_a_full_folder_for_temporary_files_is_one_error(step):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # files end where a full disk would end them
    try:
        with pytest.raises(ProcessingError, match=r"temporary files must have room, got .*set TMPDIR"):
            step(spot_model())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_so_is_one_that_cannot_be_written(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with (
        pytest.raises(ProcessingError, match="must have room, got No such file or directory; free some"),
        scratch_folder(),
    ):
        pass
