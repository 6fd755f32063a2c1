"""The command `kestrel`. Heavy packages are imported by the commands that need them, so that --help answers at once."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from edge.errors import InvalidValueError, UnusableInputError
from edge.records import SizeWH

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

MAX_SIDE_PX = 8192


class Precision(StrEnum):
    """`auto` takes INT8 where it is shipped and this processor is made for it, else FP32."""

    auto = "auto"
    int8 = "int8"
    fp32 = "fp32"


ModelOption = Annotated[
    str, typer.Option(metavar="NAME|FILE", help="rgb, rgb-nano, thermal, thermal-nano, or an ONNX file of Kestrel's.")
]
PrecisionOption = Annotated[Precision, typer.Option(help="Of a shipped model; a FILE runs as it is.")]
ThreadsOption = Annotated[
    int | None, typer.Option(metavar="N", help="Threads of the network.  [default: usable cores, at most 4]")
]


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


@app.command(short_help="Find the pedestrians in a recording, pictures, or a live stream.")
def watch(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A video, a picture, a folder or 'glob' of either, a camera index, or a stream URL."
        ),
    ],
    model: ModelOption = "rgb",
    precision: PrecisionOption = Precision.auto,
    threads: ThreadsOption = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the results.  [default: ./<name of the source>]")
    ] = None,
    jsonl: Annotated[
        Path | None,
        typer.Option(metavar="FILE|-", help="Write the records here instead of DIR/records.jsonl; - is stdout."),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write one row a pedestrian as CSV, too; - is stdout.")
    ] = None,
    video: Annotated[bool, typer.Option(help="Write the annotated video, or annotated pictures.")] = True,
    threshold: Annotated[
        float | None,
        typer.Option(metavar="SCORE", help="Drop detections with a lower score.  [default: the model's own]"),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Exact input of the network, e.g. 1280x736; larger sees smaller people."),
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Show a window meanwhile; q ends the run.")] = False,
    limit: Annotated[int | None, typer.Option(metavar="N", help="Stop after N recognised frames.")] = None,
    every: Annotated[int, typer.Option(metavar="N", help="Recognise every N-th frame only.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the results of an earlier run.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Skip recordings that are finished already, redo the rest.")
    ] = False,
) -> None:
    """Find the pedestrians in SOURCE: records, annotated video, chart and summary.

    Example: kestrel watch night-flight.mp4 --model thermal --out results
    """
    size_wh = parse_size(size)
    from edge.interruption import stop_on_signals
    from edge.model_files import resolve
    from edge.outputs import OutputOptions
    from edge.recognizer import Recognizer, RecognizerSettings
    from edge.recordings import WatchRequest, watch_source
    from edge.watch import Selection

    settings = RecognizerSettings(threads, threshold, size_wh)
    request = WatchRequest(
        source=source,
        outputs=OutputOptions(out=out, jsonl=jsonl, csv=csv, video=video, overwrite=overwrite),
        selection=Selection(every=every, limit=limit),
        resume=resume,
        show=show,
    )
    with stop_on_signals() as stop:
        recognizer = Recognizer(resolve(model, precision.value), settings)
        notes = rounding_note(size_wh, recognizer.exact_input_wh)
        raise typer.Exit(watch_source(request, recognizer, stop, notes))


@app.command(short_help="Try it on the two clips that ship with Kestrel.")
def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the results.")] = Path("kestrel-demo"),
    precision: PrecisionOption = Precision.auto,
    threads: ThreadsOption = None,
) -> None:
    """Watch the two clips that ship with Kestrel, one in colour and one thermal.

    Example: kestrel demo --out /tmp/demo
    """
    from edge.demo import run_demo
    from edge.interruption import stop_on_signals
    from edge.recognizer import RecognizerSettings

    with stop_on_signals() as stop:
        run_demo(out, precision.value, RecognizerSettings(threads), stop)


@app.command(short_help="Measure how fast it is on this machine.")
def bench(
    operands: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SOURCE]", help="What `watch` takes; with --compare also the models.  [default: made 1080p frames]"
        ),
    ] = None,
    model: ModelOption = "rgb",
    precision: PrecisionOption = Precision.auto,
    threads: ThreadsOption = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Exact input of the network, e.g. 1280x736; larger sees smaller people."),
    ] = None,
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
    from edge.bench import command
    from edge.bench.run import BenchRequest
    from edge.interruption import stop_on_signals
    from edge.model_files import resolve
    from edge.recognizer import RecognizerSettings

    words = command.sort_operands(operands or (), compare=compare)
    request = BenchRequest(words.source, seconds, video)
    outputs = command.BenchOutputs(json_file, chart)
    settings = RecognizerSettings(threads, input_wh=size_wh)
    with stop_on_signals() as stop:
        if compare:
            command.bench_comparison(request, words.models, precision.value, settings, outputs, stop)
            return
        run = command.bench_sweep if sweep else command.bench
        run(request, resolve(model, precision.value), settings, outputs, stop)


@app.command(short_help="List and verify models.")
def models(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="Model files.  [default: the shipped ones]")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check their bytes, and their decisions on this machine.")
    ] = False,
) -> None:
    """List and verify models: what they are for, how good they are, their licence and checksum.

    Example: kestrel models --verify
    """
    from edge.listing import describe_model
    from edge.model_files import shipped_files

    chosen = files or shipped_files()
    if not chosen:
        raise UnusableInputError("no models are shipped with this version; name a FILE")
    if verify:
        from edge.verification import verify_model

        for file in chosen:
            print(verify_model(file))
        return
    print("\n\n".join(describe_model(file) for file in chosen))


def installed_version() -> str:
    """The version of the installed package; run from a source tree there is none."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("kestrel-drone")
    except PackageNotFoundError:
        return "(not installed)"


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
