"""`kestrel watch`: its options as one request, and the run."""

import typer

from edge.options import ModelOption, Precision, PrecisionOption, SizeOption, ThreadsOption, parse_size, rounding_note
from edge.watch_options import (
    CsvOption,
    EveryOption,
    JsonlOption,
    LimitOption,
    OutOption,
    OverwriteOption,
    ResumeOption,
    ShowOption,
    SourceArgument,
    ThresholdOption,
    VideoOption,
)


def watch(
    source: SourceArgument,
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
