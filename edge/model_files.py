"""Which file stands behind `--model` and `--precision`."""

from pathlib import Path
from typing import Literal

from edge.errors import InvalidValueError, ModelError

PrecisionChoice = Literal["auto", "int8", "fp32"]
MODELS_FOLDER = Path(__file__).parent / "models"
SHIPPED_NAMES = {"rgb": "rgb-small", "rgb-nano": "rgb-nano", "thermal": "thermal-small", "thermal-nano": "thermal-nano"}


def resolve(model: str, precision: PrecisionChoice = "auto", folder: Path = MODELS_FOLDER) -> Path:
    """The file of a shipped model by its name, or the user's own file as it is.

    `auto` takes INT8 where it is shipped, else FP32.

    Raises:
        InvalidValueError: neither a name that we know nor a file.
        ModelError: a known name that this version does not ship in that precision.
    """
    if model not in SHIPPED_NAMES:
        if not Path(model).exists():
            raise InvalidValueError("model", f"one of {', '.join(SHIPPED_NAMES)} or an existing file", model)
        return Path(model)
    wanted = ("int8", "fp32") if precision == "auto" else (precision,)
    candidates = [folder / f"kestrel-{SHIPPED_NAMES[model]}-{word}.onnx" for word in wanted]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    raise ModelError(f"{candidates[-1].name} is not shipped with this version; `kestrel models` lists what is")


def shipped_files(folder: Path = MODELS_FOLDER) -> list[Path]:
    """All shipped model files in the order of their names."""
    return sorted(folder.glob("kestrel-*.onnx"))
