"""One ONNX file with its metadata inside."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx

from edge.contract import ModelMetadata
from edge.errors import ProcessingError


def write_model(model: onnx.ModelProto, metadata: ModelMetadata, path: Path) -> None:
    """Store the graph with its metadata; the metadata go last.

    Raises:
        ProcessingError: the disk is full, or the folder cannot be written.
    """
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, metadata.to_props())
    model.producer_name = "kestrel-export"
    write_bytes(path, model.SerializeToString())


def write_bytes(path: Path, content: bytes) -> None:
    """As `Path.write_bytes`, with an error of ours."""
    try:
        path.write_bytes(content)
    except OSError as error:
        raise ProcessingError(f"{path.name} must be writable, got {error}; free some space and try again") from None


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for what libraries want to read from or write to the disk; gone afterwards.

    Raises:
        ProcessingError: there is no room for it.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="kestrel-export-") as name:
            yield Path(name)
    except OSError as error:
        raise ProcessingError(
            f"the folder for temporary files must have room, got {error.strerror or error}; "
            "free some space there, or set TMPDIR to another folder"
        ) from None
