"""`kestrel watch`: its options as one request, and the run."""

import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from edge.config import read_config, settings_of, write_config
from edge.interruption import leave_at_once, stop_on_signals
from edge.options import (
    ModelOption,
    Precision,
    PrecisionOption,
    ProviderOption,
    ThreadsOption,
    parse_size,
    rounding_note,
)
from edge.output_options import (
    ClipAfterSOption,
    ClipBeforeSOption,
    ClipsMaxMbOption,
    ClipsOption,
    FsyncSOption,
    HttpOption,
    HttpTokenFileOption,
    KeepOption,
    MinFreeMbOption,
    MqttCaOption,
    MqttIdOption,
    MqttLoginFileOption,
    MqttOption,
    MqttTlsOption,
    RotateMbOption,
    SegmentSOption,
    VideoMaxMbOption,
    clips_of,
    rotation_of,
    shared_of,
    video_budget_of,
)
from edge.secrets import name_sources
from edge.view_options import (
    FOLLOW_LOAD,
    BudgetMsOption,
    MaxTemperatureOption,
    TileMaxAgeOption,
    Tiles,
    TilesOption,
    WatchSizeOption,
    view_of,
)
from edge.watch_options import (
    CsvOption,
    EnterOption,
    EnterSOption,
    EveryOption,
    FlipOption,
    FpsOption,
    FrozenAfterOption,
    HeightOption,
    JsonlOption,
    LeaveOption,
    LeaveSOption,
    LimitOption,
    MaxOutageOption,
    OutOption,
    OverwriteOption,
    PrintConfigOption,
    ResumeOption,
    RotateOption,
    RtspTransportOption,
    ShowOption,
    SourceArgument,
    SourceFileOption,
    StallAfterOption,
    ThresholdOption,
    VideoOption,
    WidthOption,
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
    provider: ProviderOption = None,
    size: WatchSizeOption = None,
    threshold: ThresholdOption = None,
    show: ShowOption = False,
    # How it looks at a frame
    tiles: TilesOption = Tiles.off,
    tile_max_age: TileMaxAgeOption = 2.0,
    budget_ms: BudgetMsOption = None,
    max_temperature: MaxTemperatureOption = None,
    # Results
    out: OutOption = None,
    jsonl: JsonlOption = None,
    csv: CsvOption = None,
    video: VideoOption = True,
    overwrite: OverwriteOption = False,
    resume: ResumeOption = False,
    # Results that grow for days
    rotate_mb: RotateMbOption = None,
    keep: KeepOption = 10,
    fsync_s: FsyncSOption = None,
    segment_s: SegmentSOption = None,
    video_max_mb: VideoMaxMbOption = None,
    min_free_mb: MinFreeMbOption = 200.0,
    # Event clips
    clips: ClipsOption = None,
    clip_before_s: ClipBeforeSOption = 5.0,
    clip_after_s: ClipAfterSOption = 10.0,
    clips_max_mb: ClipsMaxMbOption = 1000.0,
    # Page and messages
    http: HttpOption = None,
    http_token_file: HttpTokenFileOption = None,
    mqtt: MqttOption = None,
    mqtt_id: MqttIdOption = None,
    mqtt_login_file: MqttLoginFileOption = None,
    mqtt_tls: MqttTlsOption = False,
    mqtt_ca: MqttCaOption = None,
    # Which frames
    limit: LimitOption = None,
    every: EveryOption = 1,
    # Cameras and streams
    rtsp_transport: RtspTransportOption = "tcp",
    width: WidthOption = None,
    height: HeightOption = None,
    fps: FpsOption = None,
    flip: FlipOption = "none",
    rotate: RotateOption = 0,
    stall_after: StallAfterOption = 3.0,
    max_outage: MaxOutageOption = None,
    frozen_after: FrozenAfterOption = 5.0,
    # Verdict
    enter: EnterOption = None,
    leave: LeaveOption = None,
    enter_s: EnterSOption = None,
    leave_s: LeaveSOption = None,
) -> None:
    """Find the pedestrians in SOURCE: records, annotated video, chart and summary.

    Example: kestrel watch night-flight.mp4 --model thermal --out results
    """
    size_wh = parse_size(None if size == FOLLOW_LOAD else size)
    if print_config:
        print(write_config(context.params, settings_of(watch)), end="")
        return
    uris = name_sources(source or [], source_file, os.environ)
    with stop_on_signals() as stop, ExitStack() as begun:
        begun.enter_context(leave_at_once())  # from here on, since the imports take their time, too
        from edge.capture.messages import CaptureOptions
        from edge.model_files import resolve
        from edge.outputs import OutputOptions
        from edge.recognizer import Recognizer, RecognizerSettings
        from edge.recordings import WatchRequest, watch_sources
        from edge.sinks.shared import open_shared
        from edge.sources.live import LiveOptions
        from edge.sources.signal import SignalRules
        from edge.verdict import VerdictOptions
        from edge.watch import Selection, Session

        request = WatchRequest(
            sources=tuple(uris),
            outputs=OutputOptions(
                out=out,
                jsonl=jsonl,
                csv=csv,
                video=video,
                overwrite=overwrite,
                rotation=rotation_of(rotate_mb, keep),
                fsync_s=fsync_s,
                segment_s=segment_s,
                video_budget=video_budget_of(video_max_mb, min_free_mb),
                clips=clips_of(clips, clip_before_s, clip_after_s, clips_max_mb, min_free_mb),
            ),
            selection=Selection(every=every, limit=limit),
            live=LiveOptions(
                CaptureOptions(rtsp_transport, width, height, fps, flip, rotate),
                SignalRules(stall_after, max_outage, frozen_after),
            ),
            verdict=VerdictOptions(enter, leave, enter_s, leave_s),
            view=view_of(size, tiles, tile_max_age, budget_ms, max_temperature),
            resume=resume,
            show=show,
        )
        settings = RecognizerSettings(threads, threshold, size_wh, provider, request.frame_per_core)
        network = shared_of(http, http_token_file, mqtt, mqtt_id, mqtt_login_file, mqtt_tls, mqtt_ca)
        with open_shared(network, several=len(uris) > 1) as shared:
            with request.supervisor.starting("loading the model"):
                recognizer = Recognizer(resolve(model, precision.value), settings)
            begun.close()
            notes = rounding_note(size_wh, recognizer.exact_input_wh)
            raise typer.Exit(watch_sources(replace(request, shared=shared), Session(recognizer, stop, notes)))
