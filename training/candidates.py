"""What can be judged: a model file through the runtime that flies, or a checkpoint or teacher in PyTorch."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge.contract import FITTED_TO
from edge.errors import UnusableInputError
from edge.model_files import resolve
from edge.recognizer import Recognizer, RecognizerSettings
from edge.records import Image, Modality, Recognition
from training.evaluation import SCORE_FLOOR
from training.history import learnt_on

CHECKPOINT_SUFFIXES = (".pt", ".safetensors")
UNFITTED_THRESHOLD = 0.3  # of a checkpoint, and of an export without validation pictures


@dataclass(frozen=True, slots=True)
class Candidate:
    """A function from picture to Recognition, and what is known of it."""

    recognise: Callable[[Image], Recognition]
    name: str
    modality: Modality
    threshold: float  # from which it says pedestrian
    trained_on: tuple[str, ...]  # names of the data sets that it has learnt on; none where it does not say
    fitted_to: str = ""  # name of the data set that threshold and presence were fitted to


def open_candidate(model: str, *, threads: int | None = None, tta: bool = False) -> Candidate:
    """A shipped model by its name, a model file, a checkpoint, or a teacher's file. `tta`: averaged over scales and
    flips, for what runs in PyTorch.

    Raises:
        ModelError: no Kestrel model.
        UnusableInputError: no checkpoint of ours, or `tta` for a model file.
    """
    if Path(model).suffix in CHECKPOINT_SUFFIXES:
        return _of_checkpoint(Path(model), threads, tta)
    if tta:
        raise UnusableInputError(f"--tta must come with a checkpoint, got {model!r}; a model file runs as it flies")
    file = resolve(model)
    recognizer = Recognizer(file, RecognizerSettings(threads, threshold=SCORE_FLOOR))
    settings = recognizer.metadata.settings
    return Candidate(
        recognise=recognizer.recognise,
        name=recognizer.info.name,
        modality=recognizer.metadata.modality,
        threshold=recognizer.metadata.score_threshold,
        trained_on=tuple(sorted(learnt_on(settings))),
        fitted_to=str(settings.get(FITTED_TO, "")),
    )


def _of_checkpoint(file: Path, threads: int | None, tta: bool) -> Candidate:
    import torch  # seconds; a model file needs none of it

    from training.teacher_files import load_network_file
    from training.torch_recognizer import TorchRecognizer, as_flown
    from training.tta import SCALES, AveragedRecognizer

    torch.set_num_threads(threads or torch.get_num_threads())
    checkpoint = load_network_file(file)
    network = checkpoint.network()
    recognizer = TorchRecognizer(network, network.strides[0], checkpoint.input_rule)
    averaged = AveragedRecognizer(recognizer, SCALES[checkpoint.modality])
    recognise = averaged.recognise if tta else recognizer.recognise
    return Candidate(
        recognise=as_flown(recognise, checkpoint.modality),
        name=file.stem + ("+tta" if tta else ""),
        modality=checkpoint.modality,
        threshold=UNFITTED_THRESHOLD,
        trained_on=tuple(sorted(learnt_on(checkpoint.settings))),
    )
