"""The options of `kestrel watch`, one Annotated type each, by the section of --help in which they stand.

To add one: its type here, its name and default in the signature in `edge.commands_watch`, its value in the body there.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

RESULTS = "Results"
FRAMES = "Which frames"
LIVE = "Cameras and streams"
VERDICT = "Verdict"


def _option(*names: str, section: str, help_text: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=help_text, metavar=metavar, rich_help_panel=section)


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
    typer.Option(metavar="FILE", help="NAME=value lines for such variables; any other line is a SOURCE itself."),
]
PrintConfigOption = Annotated[
    bool, typer.Option("--print-config", help="Print the options in force as such a file, and exit.")
]
ThresholdOption = Annotated[
    float | None,
    typer.Option(metavar="SCORE", help="Drop detections with a lower score.  [default: the model's own]"),
]
ShowOption = Annotated[bool, typer.Option("--show", help="Show a window meanwhile; q ends the run.")]

# Results
OutOption = Annotated[
    Path | None,
    _option("--out", section=RESULTS, metavar="DIR", help_text="Folder.  [default: ./<name of the source>]"),
]
JsonlOption = Annotated[
    Path | None,
    _option(
        "--jsonl",
        section=RESULTS,
        metavar="FILE|-",
        help_text="Write the records here instead of DIR/records.jsonl; - is stdout.",
    ),
]
CsvOption = Annotated[
    Path | None,
    _option("--csv", section=RESULTS, metavar="FILE", help_text="Write one row a pedestrian as CSV, too; - is stdout."),
]
VideoOption = Annotated[
    bool, _option("--video/--no-video", section=RESULTS, help_text="Write the annotated video, or annotated pictures.")
]
OverwriteOption = Annotated[
    bool, _option("--overwrite", section=RESULTS, help_text="Replace the results of an earlier run.")
]
ResumeOption = Annotated[
    bool, _option("--resume", section=RESULTS, help_text="Skip recordings that are finished already, redo the rest.")
]

# Which frames
LimitOption = Annotated[
    int | None, _option("--limit", section=FRAMES, metavar="N", help_text="Stop after N recognised frames.")
]
EveryOption = Annotated[
    int, _option("--every", section=FRAMES, metavar="N", help_text="Recognise every N-th frame only.")
]

# Cameras and streams
RtspTransportOption = Annotated[
    str, _option("--rtsp-transport", section=LIVE, metavar="tcp|udp", help_text="How RTSP carries the pictures.")
]
WidthOption = Annotated[
    int | None, _option("--width", section=LIVE, metavar="PX", help_text="Ask a camera for pictures this wide.")
]
HeightOption = Annotated[
    int | None, _option("--height", section=LIVE, metavar="PX", help_text="Ask a camera for pictures this high.")
]
FpsOption = Annotated[
    float | None, _option("--fps", section=LIVE, metavar="N", help_text="Ask a camera for N pictures a second.")
]
FlipOption = Annotated[
    str,
    _option(
        "--flip", section=LIVE, metavar="none|horizontal|vertical|both", help_text="Mirror pictures, after --rotate."
    ),
]
RotateOption = Annotated[
    int, _option("--rotate", section=LIVE, metavar="0|90|180|270", help_text="Turn pictures clockwise.")
]
StallAfterOption = Annotated[
    float, _option("--stall-after", section=LIVE, metavar="S", help_text="No frame for S seconds is no signal.")
]
MaxOutageOption = Annotated[
    float | None,
    _option(
        "--max-outage",
        section=LIVE,
        metavar="S",
        help_text="Give up S seconds after the signal was lost.  [default: never]",
    ),
]
FrozenAfterOption = Annotated[
    float,
    _option(
        "--frozen-after",
        section=LIVE,
        metavar="S",
        help_text="A picture that stays the same for S seconds shows nothing.",
    ),
]

# Verdict
EnterOption = Annotated[
    float | None,
    _option(
        "--enter",
        section=VERDICT,
        metavar="P",
        help_text="Presence from which it says pedestrian.  [default: the model's own]",
    ),
]
LeaveOption = Annotated[
    float | None,
    _option(
        "--leave",
        section=VERDICT,
        metavar="P",
        help_text="Presence below which it says clear.  [default: the model's own]",
    ),
]
EnterSOption = Annotated[
    float | None,
    _option(
        "--enter-s", section=VERDICT, metavar="S", help_text="For how long it must be so.  [default: the model's own]"
    ),
]
LeaveSOption = Annotated[
    float | None,
    _option(
        "--leave-s", section=VERDICT, metavar="S", help_text="For how long it must be so.  [default: the model's own]"
    ),
]
