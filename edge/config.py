"""A TOML file that holds every option of a command: read and checked, and written from what is in force.

A key is the option's name without its dashes, `rtsp-transport` or `rtsp_transport`; there are no tables. What the
options are is read from the signature of the command, so that none can be forgotten.
"""

import difflib
import inspect
import json
import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo, OptionInfo

from edge.errors import InvalidValueError
from edge.secrets import holds_credentials, redact

# Those that are about the file itself.
_NEVER_IN_FILE = ("config", "print_config")


@dataclass(frozen=True, slots=True)
class Setting:
    """One option that a file may hold; `name` as in the signature, `kind` without its `| None` and its list."""

    name: str
    kind: type
    many: bool
    help_text: str
    section: str

    @property
    def key(self) -> str:
        """The name as one writes it."""
        return self.name.replace("_", "-")


def settings_of(command: Callable[..., object]) -> list[Setting]:
    """The options and arguments of a typer command, in its order."""
    hints = get_type_hints(command, include_extras=True)
    found = []
    for name in inspect.signature(command).parameters:
        if get_origin(hints[name]) is not Annotated or name in _NEVER_IN_FILE:
            continue
        declared, info = get_args(hints[name])[:2]
        if isinstance(info, OptionInfo | ArgumentInfo):
            kind, many = _kind_of(declared)
            found.append(Setting(name, kind, many, info.help or "", info.rich_help_panel or ""))
    return found


def read_config(file: Path, settings: Sequence[Setting]) -> dict[str, Any]:
    """The values of the file by parameter name, as the command line would give them.

    Raises:
        InvalidValueError: the file cannot be read or is no TOML, a key is unknown, or a value is of another type.
    """
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidValueError(
            "config", "a TOML file that can be read", str(file), error.strerror or type(error).__name__
        ) from None
    except ValueError as error:  # not UTF-8, or no TOML
        raise InvalidValueError("config", "a TOML file", str(file), str(error)) from None
    by_key = {setting.key: setting for setting in settings}
    values: dict[str, Any] = {}
    for written, value in table.items():
        key = written.replace("_", "-")
        if key not in by_key:
            raise InvalidValueError(f"a key of {file}", "the name of an option", written, _nearest(key, list(by_key)))
        if by_key[key].name in values:
            raise InvalidValueError(f"{key} in {file}", "given once", written, "remove one of both spellings")
        values[by_key[key].name] = _checked(by_key[key], value, file)
    return values


def write_config(values: Mapping[str, Any], settings: Sequence[Setting]) -> str:
    """The values as TOML that `read_config` takes, by section, each with its help; what is not set is a comment.

    Credentials in a value are hidden: the file then needs `${USER}:${PASSWORD}` or the like in their place.
    """
    lines = ["# kestrel watch --config THIS_FILE; what the command line says wins over it."]
    section = ""
    for setting in settings:
        if setting.section != section:
            section = setting.section
            lines += ["", f"# == {section} =="]
        lines += ["", f"# {' '.join(setting.help_text.split())}"]
        value = values.get(setting.name)
        if value is None or (setting.many and not value):
            lines.append(f"# {setting.key} =")
            continue
        items = value if setting.many else [value]
        for item in items:
            _refuse_odd_text(setting, str(item))
        if any(isinstance(item, str) and holds_credentials(item) for item in items):
            lines.append("# The credentials are hidden: write ${NAME}, and set NAME in the environment or source-file.")
        text = ", ".join(_toml(item) for item in items)
        lines.append(f"{setting.key} = [{text}]" if setting.many else f"{setting.key} = {text}")
    return "\n".join(lines) + "\n"


def _refuse_odd_text(setting: Setting, text: str) -> None:
    """TOML is UTF-8; names of files may be any bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        advice = "a file of options cannot hold it: rename it, or name it on the command line"
        raise InvalidValueError(setting.key, "a name in UTF-8", text, advice) from None


def _kind_of(declared: Any) -> tuple[type, bool]:
    """`int | None` is (int, False), `list[Path] | None` is (Path, True)."""
    if get_origin(declared) in (Union, UnionType):
        [declared] = [part for part in get_args(declared) if part is not NoneType]
    if get_origin(declared) is list:
        [item] = get_args(declared)
        return item, True
    return declared, False


def _nearest(key: str, known: Sequence[str]) -> str:
    """The advice for a misspelt key. There is always a nearest one, however far."""
    closest = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
    return f"did you mean {closest[0]!r}?" if closest else ""


def _checked(setting: Setting, value: Any, file: Path) -> Any:
    if setting.many:
        items = value if isinstance(value, list) else [value]
        return [_checked_one(setting, item, file) for item in items]
    return _checked_one(setting, value, file)


def _checked_one(setting: Setting, value: Any, file: Path) -> Any:
    """The value as typer takes it: text where it converts itself, which then says what is wrong with a choice."""
    name = f"{setting.key} in {file}"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if setting.kind is bool:
        if not isinstance(value, bool):
            raise InvalidValueError(name, "true or false", value)
        return value
    if setting.kind is int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise InvalidValueError(name, "a whole number", value)
        return str(value)
    if setting.kind is float:
        if not is_number:
            raise InvalidValueError(name, "a number", value)
        return str(float(value))
    if isinstance(value, str):
        return _at_home(value) if setting.kind is Path else value
    if setting.name == "source" and isinstance(value, int) and is_number:
        return str(value)  # a camera's index
    raise InvalidValueError(name, "text in quotes", value)


def _at_home(path: str) -> str:
    """`~` as a shell expands it; a name that is nobody's home stays."""
    try:
        return str(Path(path).expanduser()) if path.startswith("~") else path
    except RuntimeError:
        return path


def _toml(value: Any) -> str:
    """One value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # inf and nan are TOML, and not JSON
    if isinstance(value, int | float):
        return repr(value)
    text = str(value)
    return json.dumps(redact(text) if holds_credentials(text) else text, ensure_ascii=False).replace("\x7f", "\\u007f")
