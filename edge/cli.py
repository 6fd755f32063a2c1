"""The command `kestrel`. Heavy packages are imported by the commands that need them, so that --help answers at once."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from edge.commands_watch import watch
from edge.errors import InvalidValueError, OutputClosedError, UnusableInputError
from edge.options import (
    ModelOption,
    PrecisionOption,
    ProviderOption,
    SectionedCommand,
    SizeOption,
    ThreadsOption,
    parse_size,
)
from edge.secrets import fill
from edge.service import CONFIG, ServiceKind, command_line, private_folder, service_files, write_files
from edge.stdio import let_go

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def kestrel(
    version: Annotated[bool, typer.Option("--version", is_eager=True, help="Print the version and exit.")] = False,
) -> None:
    """Kestrel finds pedestrians in drone footage: colour by day, thermal by night.

    Example: kestrel watch flight.mp4
    """
    if version:
        print(f"kestrel {installed_version()}")
        raise typer.Exit


app.command(cls=SectionedCommand, short_help="Find the pedestrians in a recording, pictures, or a live stream.")(watch)


@app.command(short_help="Try it on the two clips that ship with Kestrel.")
def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the results.")] = Path("kestrel-demo"),
    precision: PrecisionOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Watch the two clips that ship with Kestrel, one in colour and one thermal.

    Example: kestrel demo --out /tmp/demo
    """
    from edge.demo import run_demo
    from edge.interruption import stop_on_signals
    from edge.recognizer import RecognizerSettings

    with stop_on_signals() as stop:
        run_demo(out, precision, RecognizerSettings(threads, frame_per_core=True), stop)


@app.command(short_help="Measure how fast it is on this machine.")
def bench(
    operands: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SOURCE]", help="What `watch` takes; with --compare also the models.  [default: made 1080p frames]"
        ),
    ] = None,
    model: ModelOption = "rgb",
    precision: PrecisionOption = "auto",
    threads: ThreadsOption = None,
    provider: ProviderOption = None,
    size: SizeOption = None,
    seconds: Annotated[float, typer.Option(metavar="S", help="How long, after a warm-up.")] = 10.0,
    video: Annotated[bool, typer.Option(help="Draw and encode, as `watch` does.")] = True,
    compare: Annotated[
        bool, typer.Option("--compare", help="Two or more models turn by turn: --compare A.onnx B.onnx.")
    ] = False,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="How the cost grows with the input's size and with people.")
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE|-", help="Write the figures there; - is stdout.")
    ] = None,
    chart: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The picture.  [default: beside --json, else ./kestrel-bench.png]"),
    ] = None,
) -> None:
    """Measure every stage on this machine: milliseconds, frames a second, CPU time, memory, temperature.

    Example: kestrel bench flight.mp4 --seconds 60 --json bench.json
    """
    size_wh = parse_size(size)
    if compare and sweep:
        raise UnusableInputError("--compare and --sweep cannot be used together; choose one")
    if compare and model != "rgb":
        raise InvalidValueError("model", "left out with --compare", model, "name the models beside it")
    if not video and (compare or sweep):
        mode = "--compare" if compare else "--sweep"
        raise UnusableInputError(f"--no-video cannot be used together with {mode}, which writes none; leave it out")
    from edge.bench import command
    from edge.bench.run import BenchRequest
    from edge.interruption import stop_on_signals
    from edge.model_files import resolve
    from edge.recognizer import RecognizerSettings

    words = command.sort_operands([fill(word, os.environ) for word in operands or ()], compare=compare)
    request = BenchRequest(words.source, seconds, video)
    outputs = command.BenchOutputs(json_file, chart)
    settings = RecognizerSettings(threads, input_wh=size_wh, provider=provider)
    with stop_on_signals() as stop:
        if compare:
            command.bench_comparison(request, words.models, precision, settings, outputs, stop)
            return
        run = command.bench_sweep if sweep else command.bench
        run(request, resolve(model, precision), settings, outputs, stop)


@app.command(short_help="List and verify models.")
def models(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="Model files.  [default: the shipped ones]")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check their bytes, and their decisions on this machine.")
    ] = False,
    provider: ProviderOption = None,
) -> None:
    """List and verify models: what they are for, how good they are, their licence and checksum.

    Example: kestrel models --verify
    """
    if provider is not None and not verify:
        raise UnusableInputError("--provider must come with --verify, got it alone; add --verify")
    from edge.listing import describe_model
    from edge.model_files import MODELS_FOLDER, shipped_files

    chosen = files or shipped_files()
    if not chosen:
        raise UnusableInputError("no models are shipped with this version; name a FILE")
    if verify:
        from edge.verification import require_all, verify_model

        if not files:
            require_all(MODELS_FOLDER)
        for file in chosen:
            print(verify_model(file, provider=provider))
        return
    try:
        for number, file in enumerate(chosen):
            print(f"\n{describe_model(file)}" if number else describe_model(file), flush=True)
    except BrokenPipeError:
        let_go(sys.stdout)
        raise OutputClosedError from None  # typer would take it for a failure


@app.command(short_help="Print or write what starts it at boot: systemd, Docker.")
def service(
    kind: Annotated[ServiceKind, typer.Argument(metavar="KIND", help="What is to start it.")] = ServiceKind.systemd,
    config: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Options of `kestrel watch` that it will read, see --print-config there."),
    ] = CONFIG,
    user: Annotated[
        str | None, typer.Option(metavar="NAME", help="An existing user.  [default: one that systemd makes for it]")
    ] = None,
    write: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write all of them there instead of printing one.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
) -> None:
    """Print a systemd unit, a Dockerfile, or a compose file that runs `kestrel watch` without root, for ever.

    Example: kestrel service > /etc/systemd/system/kestrel.service
    """
    texts = service_files(command_line(), config, user)
    if write is None:
        print(texts[kind], end="")
    else:
        print("\n".join(str(file) for file in write_files(write, texts, overwrite=overwrite)))
    hidden = private_folder(Path(sys.executable))
    if hidden is not None and (write is not None or kind is ServiceKind.systemd):
        advice = "install Kestrel where others can read it, /opt/kestrel for example"
        print(f"warning: the service's user cannot enter {hidden}, where Kestrel is; {advice}", file=sys.stderr)


def installed_version() -> str:
    """The version of the installed package; run from a source tree there is none."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("kestrel-drone")
    except PackageNotFoundError:
        return "(not installed)"
