"""The options of `kestrel watch`, one Annotated type each, by the section of --help in which they stand.

To add one: its type here, its name and default in the signature in `edge.commands_watch`, its value in the body there.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

RESULTS = "Results"
FRAMES = "Which frames"


def _option(*names: str, section: str, help_text: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=help_text, metavar=metavar, rich_help_panel=section)


SourceArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="SOURCE",
        help="A video, a picture, a folder or 'glob' of either, a camera index, or a stream URL, "
        "in which ${NAME} is filled from the environment.",
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
