"""How options are declared, those that several commands share, and how a size is read. Imports nothing heavy.

An option is an Annotated type. Those that belong together are the fields of a frozen dataclass, name and default too,
which `with_options` spreads over a command:

@with_options
def evaluate(dataset: DatasetArgument, options: LearnOptions, seed: SeedOption = 0): ...
"""

import inspect
import re
from collections.abc import Callable, Collection
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand

from edge.errors import InvalidValueError
from edge.model_files import PrecisionChoice
from edge.records import SizeWH

MAX_SIDE_PX = 8192


ModelOption = Annotated[
    str, typer.Option(metavar="NAME|FILE", help="rgb, rgb-nano, thermal, thermal-nano, or an ONNX file of Kestrel's.")
]
PrecisionOption = Annotated[PrecisionChoice, typer.Option(help="Precision of a shipped model; a FILE runs as it is.")]
ThreadsOption = Annotated[
    int | None, typer.Option(metavar="N", help="Threads of the network.  [default: usable cores, at most 4]")
]
SizeOption = Annotated[
    str | None,
    typer.Option(metavar="WxH", help="Exact input of the network, e.g. 1280x736; larger sees smaller people."),
]
ProviderOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="What computes: cpu, cuda, openvino, ..., as ONNX Runtime offers.  [default: cpu]"
    ),
]


def option(section: str, help_text: str, metavar: str | None = None, *, name: str | None = None) -> Any:
    """An option in that section of --help; `name` where it is not the field's own, or has no `--no-` beside it."""
    return typer.Option(*([name] if name else []), help=help_text, metavar=metavar, rich_help_panel=section)


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let typer see the fields of every parameter that is a dataclass as options of their own."""
    hints = get_type_hints(command, include_extras=True)
    grouped: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}

    def spread(**values: Any) -> None:
        groups = {name: kind(**{f.name: values.pop(f.name) for f in fields(kind)}) for name, kind in grouped.items()}
        command(**values, **groups)

    parameters = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name in grouped:
            parameters += _options_of(grouped[name])
        else:
            parameters.append(parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY))
    spread.__name__, spread.__doc__ = command.__name__, command.__doc__
    spread.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    spread.__annotations__ = {p.name: p.annotation for p in parameters}
    return spread


def _options_of(kind: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(
            f.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if f.default is MISSING else f.default,
            annotation=hints[f.name],
        )
        for f in fields(kind)
    ]


def refuse_idle(section: Any, names: Collection[str], rule: str) -> None:
    """Refuse options of a section that would do nothing, since another is missing.

    One that has its default may stay: --print-config writes them all.

    Raises:
        InvalidValueError: one of them is set; `rule` says what it must be.
    """
    for field in fields(section):
        value = getattr(section, field.name)
        if field.name in names and value != field.default:
            raise InvalidValueError(field.name, rule, value if isinstance(value, int | float) else str(value))


class SectionedCommand(TyperCommand):
    """A command whose --help shows its options by section: the `rich_help_panel` of each, in plain text.

    Typer itself shows sections only in rich's frames, which are of no use in a log or a narrow terminal.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """`--tiles` may stand alone."""
        return super().parse_args(ctx, with_value(args, "--tiles", ("off", "all", "auto"), default="all"))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write one section a panel, in the order of the signature; those without a panel come first."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            row = parameter.get_help_record(ctx)
            if row is not None:
                kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
                sections.setdefault(getattr(parameter, "rich_help_panel", None) or kind, []).append(row)
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl(rows)


def with_value(words: list[str], option: str, values: tuple[str, ...], default: str) -> list[str]:
    """The command line with the default after each `option` that stands alone: no value of its own follows."""
    given: list[str] = []
    for word, following in zip(words, [*words, ""][1:], strict=True):
        alone = word == option and following not in values and "--" not in given
        given += [word, default] if alone else [word]
    return given


def parse_size(text: str | None) -> SizeWH | None:
    """`1280x736` as a size.

    Raises:
        InvalidValueError: it is none, or a side is 0 or too large.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", text)
    sides = [int(side) for side in match.groups()] if match else []
    if not sides or min(sides) < 1 or max(sides) > MAX_SIDE_PX:
        raise InvalidValueError("size", f"WxH with sides of 1 to {MAX_SIDE_PX} px", text, "for example 1280x736")
    return SizeWH(sides[0], sides[1])


def rounding_note(asked: SizeWH | None, used: SizeWH | None) -> tuple[str, ...]:
    """The warning where the size that was asked for is none that the network can take."""
    if asked is None or asked == used:
        return ()
    return (f"size {asked} is rounded up to {used}: sides are multiples of the network's stride",)
