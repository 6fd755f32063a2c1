"""`kestrel watch`: its options as one request, and the run."""

import os
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from edge.config import read_config, settings_of, write_config
from edge.interruption import leave_at_once, stop_on_signals
from edge.options import rounding_note, with_options
from edge.output_options import ClipsSection, DiskSection, NetworkSection, ResultsSection
from edge.secrets import name_sources
from edge.view_options import ViewSection
from edge.watch_options import (
    FramesSection,
    LiveSection,
    ModelSection,
    PrintConfigOption,
    ShowOption,
    SourceArgument,
    SourceFileOption,
    VerdictSection,
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


@with_options
def watch(
    *,
    context: typer.Context,
    source: SourceArgument = None,
    source_file: SourceFileOption = None,
    config: ConfigOption = None,  # noqa: ARG001  # taken by its callback
    print_config: PrintConfigOption = False,
    model: ModelSection,
    show: ShowOption = False,
    view: ViewSection,
    results: ResultsSection,
    disk: DiskSection,
    clips: ClipsSection,
    network: NetworkSection,
    frames: FramesSection,
    live: LiveSection,
    verdict: VerdictSection,
) -> None:
    """Find the pedestrians in SOURCE: records, annotated video, chart and summary.

    Example: kestrel watch night-flight.mp4 --model thermal --out results
    """
    size_wh = model.size_wh()
    if print_config:
        print(write_config(context.params, settings_of(watch)), end="")
        return
    uris = name_sources(source or [], source_file, os.environ)
    with stop_on_signals() as stop, ExitStack() as begun:
        begun.enter_context(leave_at_once())  # from here on, since the imports take their time, too
        from edge.model_files import resolve
        from edge.one_source import WatchRequest
        from edge.recognizer import Recognizer
        from edge.sinks.shared import open_shared
        from edge.watch import Session
        from edge.watch_sources import watch_sources

        request = WatchRequest(
            sources=tuple(uris),
            outputs=results.asked(disk, clips),
            selection=frames.asked(),
            live=live.asked(),
            verdict=verdict.asked(),
            view=view.asked(follow_load=model.follows_load),
            resume=results.resume,
            show=show,
        )
        settings = model.asked(frame_per_core=request.frame_per_core)
        quiet_s = request.live.rules.stall_after_s
        shared_by_all = open_shared(network.asked(), sources=len(uris), quiet_s=quiet_s)
        with shared_by_all as shared, closing(request.supervisor):
            with request.supervisor.starting("loading the model"):
                recognizer = Recognizer(resolve(model.model, model.precision), settings)
            begun.close()
            notes = rounding_note(size_wh, recognizer.exact_input_wh)
            raise typer.Exit(watch_sources(replace(request, shared=shared), Session(recognizer, stop, notes)))
