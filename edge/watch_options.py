"""The options of `kestrel watch`, one dataclass a section of --help; `asked` says the same as the code knows it.

Those of the view and of the outputs have files of their own. Imports nothing heavy until the options are used. To add
an option: a field here, its value in `asked`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.options import (
    ModelOption,
    PrecisionOption,
    ProviderOption,
    ThreadsOption,
    option,
    parse_size,
)
from edge.records import SizeWH

if TYPE_CHECKING:
    from edge.recognizer import RecognizerSettings
    from edge.sources.live import LiveOptions
    from edge.verdict import VerdictOptions
    from edge.watch import Selection

FRAMES = "Which frames"
LIVE = "Cameras and streams"
VERDICT = "Verdict"
FOLLOW_LOAD = "auto"  # the size that follows the load

SourceArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SOURCE...",
        help="A video, a picture, a folder or 'glob' of either, a camera index, a stream URL, "
        "in which ${NAME} is filled from the environment, gst:PIPELINE, csi:, or test:. "
        "Several live ones share the model.",
        show_default=False,
    ),
]
SourceFileOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="File of NAME=value lines for ${NAME} in a URL or pipeline; any other line is a SOURCE."
    ),
]
PrintConfigOption = Annotated[
    bool, typer.Option("--print-config", help="Print the options in force as a --config file, and exit.")
]
ShowOption = Annotated[bool, typer.Option("--show", help="Show a window meanwhile; q or Esc ends the run.")]


@dataclass(frozen=True, slots=True)
class ModelSection:
    """Which model, and how it runs."""

    model: ModelOption = "rgb"
    precision: PrecisionOption = "auto"
    threads: ThreadsOption = None
    provider: ProviderOption = None
    size: Annotated[
        str | None,
        typer.Option(
            metavar="WxH|auto",
            help="Exact input of the network, e.g. 1280x736; larger sees smaller people. "
            "auto: the largest that keeps up, smaller under load.",
        ),
    ] = None
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="SCORE",
            help="Drop detections with a lower score; the verdict goes by presence instead, see --enter.  "
            "[default: the model's own]",
        ),
    ] = None

    @property
    def follows_load(self) -> bool:
        """Whether the size follows the load."""
        return self.size == FOLLOW_LOAD

    def size_wh(self) -> SizeWH | None:
        """The exact input; None: the model's own size, or one that follows the load.

        Raises:
            InvalidValueError: it is no size.
        """
        return None if self.follows_load else parse_size(self.size)

    def asked(self, *, frame_per_core: bool) -> "RecognizerSettings":
        """The same, as the recognizer knows it.

        Raises:
            InvalidValueError: a value breaks its rule.
        """
        from edge.recognizer import RecognizerSettings

        return RecognizerSettings(self.threads, self.threshold, self.size_wh(), self.provider, frame_per_core)


@dataclass(frozen=True, slots=True)
class FramesSection:
    """Which frames are recognised."""

    limit: Annotated[int | None, option(FRAMES, "Stop after N recognised frames.", "N")] = None
    every: Annotated[int, option(FRAMES, "Recognise every N-th frame only.", "N")] = 1

    def asked(self) -> "Selection":
        """The same, as the loop knows it. Raises InvalidValueError."""
        from edge.watch import Selection

        return Selection(self.every, self.limit)


@dataclass(frozen=True, slots=True)
class LiveSection:
    """Cameras and streams."""

    rtsp_transport: Annotated[str, option(LIVE, "How RTSP carries the pictures.", "tcp|udp")] = "tcp"
    width: Annotated[int | None, option(LIVE, "Ask a camera for pictures this wide.", "PX")] = None
    height: Annotated[int | None, option(LIVE, "Ask a camera for pictures this high.", "PX")] = None
    fps: Annotated[float | None, option(LIVE, "Ask a camera for N pictures a second.", "N")] = None
    flip: Annotated[str, option(LIVE, "Mirror pictures, after --rotate.", "none|horizontal|vertical|both")] = "none"
    rotate: Annotated[int, option(LIVE, "Turn pictures clockwise.", "0|90|180|270")] = 0
    stall_after: Annotated[float, option(LIVE, "No frame for S seconds is no signal.", "S")] = 3.0
    max_outage: Annotated[
        float | None, option(LIVE, "Give up S seconds after the signal was lost.  [default: never]", "S")
    ] = None
    frozen_after: Annotated[float, option(LIVE, "A picture that stays the same for S seconds shows nothing.", "S")] = (
        5.0
    )

    def asked(self) -> "LiveOptions":
        """The same, as sources know it. Raises InvalidValueError."""
        from edge.capture.messages import CaptureOptions
        from edge.sources.live import LiveOptions
        from edge.sources.signal import SignalRules

        return LiveOptions(
            CaptureOptions(self.rtsp_transport, self.width, self.height, self.fps, self.flip, self.rotate),
            SignalRules(self.stall_after, self.max_outage, self.frozen_after),
        )


@dataclass(frozen=True, slots=True)
class VerdictSection:
    """When it says pedestrian, and when clear."""

    enter: Annotated[
        float | None, option(VERDICT, "Presence from which it says pedestrian.  [default: the model's own]", "P")
    ] = None
    leave: Annotated[
        float | None,
        option(VERDICT, "Presence below which it says clear.  [default: the model's own, at most --enter]", "P"),
    ] = None
    enter_s: Annotated[
        float | None,
        option(
            VERDICT,
            "Seconds that presence must stay at or above --enter before it says pedestrian; until then, at the "
            "beginning too, it says clear.  [default: the model's own]",
            "S",
        ),
    ] = None
    leave_s: Annotated[
        float | None,
        option(
            VERDICT,
            "Seconds that presence must stay below --leave before it says clear.  [default: the model's own]",
            "S",
        ),
    ] = None

    def asked(self) -> "VerdictOptions":
        """The same, as the judge knows it. Raises InvalidValueError."""
        from edge.verdict import VerdictOptions

        return VerdictOptions(self.enter, self.leave, self.enter_s, self.leave_s)
