"""Where an export writes, and what an earlier one left there: other forms of other weights must not pass for the new's.

OUT.onnx with its card OUT.md and pictures OUT.png, OUT-example.jpg; OUT-int8.onnx with the same; and for other
compilers OUT-raw-head.onnx, OUT-640x512.onnx, OUT-raw-head-640x512.onnx.
"""

import glob
from pathlib import Path

from edge.contract import OTHER_FORM, ModelMetadata
from edge.errors import ModelError
from edge.onnx_wire import read_outline


def int8_name(out: Path) -> Path:
    """OUT.onnx or OUT-fp32.onnx -> OUT-int8.onnx."""
    return out.with_stem(f"{out.stem.removesuffix('-fp32')}-int8")


def example_name(out: Path) -> Path:
    """OUT.onnx -> OUT-example.jpg, which the card shows."""
    return out.with_name(f"{out.stem}-example.jpg")


def files_of(out: Path) -> tuple[Path, ...]:
    """All that an export may write for one model."""
    return (out, out.with_suffix(".md"), out.with_suffix(".png"), example_name(out))


def remove_stale(out: Path) -> tuple[str, ...]:
    """Remove what earlier exports to OUT.onnx left, but for OUT.onnx and its card, which are replaced.

    Only models that carry our metadata, and what lies beside them by our names; returns the names of these models.
    """
    forms = [file for file in out.parent.glob(f"{glob.escape(out.stem)}-*.onnx") if _is_form(file, out)]
    twin, before = _metadata(int8_name(out)), _metadata(out)
    made_of_it = before and twin and (twin.precision, twin.name) == ("int8", before.name)
    stale = [*files_of(int8_name(out))] if made_of_it else []
    stale += [*files_of(out)[2:]] if before else []
    gone = sorted(file for file in {*stale, *forms} if file.is_file())
    for file in gone:
        file.unlink()
    return tuple(file.name for file in gone if file.suffix == ".onnx")


def _is_form(file: Path, out: Path) -> bool:
    """Whether it is OUT.onnx for another compiler, and not a model of its own whose name is alike."""
    metadata = _metadata(file)
    form = metadata.settings.get(OTHER_FORM) if metadata else None
    return isinstance(form, str) and file.stem == f"{out.stem}-{form}"


def _metadata(model: Path) -> ModelMetadata | None:
    """What a file of ours says of itself; None for any other."""
    try:
        return ModelMetadata.from_props(read_outline(model.read_bytes(), model.name).metadata, model.name)
    except (OSError, ModelError):
        return None
