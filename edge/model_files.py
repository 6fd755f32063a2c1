"""Which file stands behind `--model` and `--precision`."""

import sys
from pathlib import Path
from typing import Literal

from edge.cpu import Int8Support, int8_support
from edge.errors import InvalidValueError, ModelError

PrecisionChoice = Literal["auto", "int8", "fp32"]  # auto: INT8 where it is shipped and this processor is made for it
MODELS_FOLDER = Path(__file__).parent / "models"
SHIPPED_NAMES = {"rgb": "rgb-small", "rgb-nano": "rgb-nano", "thermal": "thermal-small", "thermal-nano": "thermal-nano"}


def resolve(
    model: str,
    precision: PrecisionChoice = "auto",
    folder: Path = MODELS_FOLDER,
    support: Int8Support | None = None,
) -> Path:
    """The file of a shipped model by its name, or the user's own file as it is.

    `auto` takes INT8 where the processor is made for it, else FP32, and says so in one line; of a model that is shipped
    in one precision, that one. `support` is what the processor can do; None looks.

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
    there = [candidate for candidate in candidates if candidate.exists()]
    if not there:
        raise ModelError(f"{candidates[-1].name} is not shipped with this version; `kestrel models` lists what is")
    if len(there) == 1:
        return there[0]
    support = support or int8_support()
    print(f"precision: {'INT8' if support.fast else 'FP32'}, {support.reason}", file=sys.stderr)
    return there[0] if support.fast else there[-1]


def shipped_files(folder: Path = MODELS_FOLDER) -> list[Path]:
    """All shipped model files in the order of their names."""
    return sorted(folder.glob("kestrel-*.onnx"))
