"""`kestrel demo`: the main job on the clips that ship with the package."""

from dataclasses import dataclass
from pathlib import Path

from edge.errors import UnusableInputError
from edge.interruption import Stop
from edge.model_files import MODELS_FOLDER, PrecisionChoice, resolve
from edge.one_source import WatchRequest
from edge.outputs import OutputOptions
from edge.recognizer import Recognizer, RecognizerSettings
from edge.watch import Session
from edge.watch_sources import watch_sources

CLIPS_FOLDER = Path(__file__).parent / "clips"
_MODEL_OF_PREFIX = {"colour": "rgb", "thermal": "thermal"}


@dataclass(frozen=True, slots=True)
class Clip:
    """A shipped recording and the name of the model that suits it."""

    path: Path
    model: str


def find_clips(folder: Path) -> list[Clip]:
    """The clips `colour-*.mp4` and `thermal-*.mp4` in the order of their names.

    Raises:
        UnusableInputError: the package was installed without them.
    """
    clips = [
        Clip(path, _MODEL_OF_PREFIX[prefix])
        for path in sorted(folder.glob("*.mp4"))
        if (prefix := path.name.split("-")[0]) in _MODEL_OF_PREFIX
    ]
    if not clips:
        raise UnusableInputError(f"no clips in {folder}; install kestrel-drone again")
    return clips


def run_demo(
    out: Path,
    precision: PrecisionChoice,
    settings: RecognizerSettings,
    stop: Stop,
    clips_folder: Path = CLIPS_FOLDER,
    models_folder: Path = MODELS_FOLDER,
) -> None:
    """Watch every clip into `out`/<clip>/, replacing the results of an earlier demo.

    Raises:
        KestrelError: a model or clip is missing, or the results cannot be written.
    """
    clips = find_clips(clips_folder)
    for clip in clips:
        recognizer = Recognizer(resolve(clip.model, precision, models_folder), settings)
        folder = out / clip.path.stem
        watch_sources(
            WatchRequest((str(clip.path),), OutputOptions(out=folder, overwrite=True)), Session(recognizer, stop)
        )
        if stop.requested:
            return
    print(f"Look at annotated.mp4 and timeline.png in {' and '.join(f'{out / clip.path.stem}/' for clip in clips)}")
