"""`kestrel watch`: its options as one request, and the run."""

import os
from pathlib import Path
from typing import Annotated

import typer

from edge.config import read_config, settings_of, write_config
from edge.options import ModelOption, Precision, PrecisionOption, SizeOption, ThreadsOption, parse_size, rounding_note
from edge.secrets import name_sources
from edge.watch_options import (
    CsvOption,
    EveryOption,
    JsonlOption,
    LimitOption,
    OutOption,
    OverwriteOption,
    PrintConfigOption,
    ResumeOption,
    ShowOption,
    SourceArgument,
    SourceFileOption,
    ThresholdOption,
    VideoOption,
)


def _take_config(context: typer.Context, file: Path | None) -> Path | None:
    """What the file holds stands in for the defaults; this runs before the other options are read."""
    if file is not None:
        context.default_map = read_config(file, settings_of(watch))
    return file


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="TOML with any of these options by their names; the command line wins.",
        is_eager=True,
        callback=_take_config,
    ),
]


def watch(
    context: typer.Context,
    source: SourceArgument = None,
    source_file: SourceFileOption = None,
    config: ConfigOption = None,  # noqa: ARG001  # taken by its callback
    print_config: PrintConfigOption = False,
    # Model
    model: ModelOption = "rgb",
    precision: PrecisionOption = Precision.auto,
    threads: ThreadsOption = None,
    size: SizeOption = None,
    threshold: ThresholdOption = None,
    show: ShowOption = False,
    # Results
    out: OutOption = None,
    jsonl: JsonlOption = None,
    csv: CsvOption = None,
    video: VideoOption = True,
    overwrite: OverwriteOption = False,
    resume: ResumeOption = False,
    # Which frames
    limit: LimitOption = None,
    every: EveryOption = 1,
) -> None:
    """Find the pedestrians in SOURCE: records, annotated video, chart and summary.

    Example: kestrel watch night-flight.mp4 --model thermal --out results
    """
    size_wh = parse_size(size)
    if print_config:
        print(write_config(context.params, settings_of(watch)), end="")
        return
    [uri] = name_sources([] if source is None else [source], source_file, os.environ)
    from edge.interruption import stop_on_signals
    from edge.model_files import resolve
    from edge.outputs import OutputOptions
    from edge.recognizer import Recognizer, RecognizerSettings
    from edge.recordings import WatchRequest, watch_source
    from edge.watch import Selection

    settings = RecognizerSettings(threads, threshold, size_wh)
    request = WatchRequest(
        source=uri,
        outputs=OutputOptions(out=out, jsonl=jsonl, csv=csv, video=video, overwrite=overwrite),
        selection=Selection(every=every, limit=limit),
        resume=resume,
        show=show,
    )
    with stop_on_signals() as stop:
        recognizer = Recognizer(resolve(model, precision.value), settings)
        notes = rounding_note(size_wh, recognizer.exact_input_wh)
        raise typer.Exit(watch_source(request, recognizer, stop, notes))
