"""From a checkpoint to a model file: graph, fit on validation pictures, parity with PyTorch, metadata, card, INT8.

Nothing is left behind that has not passed: the file is written aside and renamed at the end.
"""

import contextlib
import dataclasses
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.contract import (
    LEAST_SECOND,
    MOST_CLOSER,
    MOST_ENLARGE,
    NMS_IOU,
    OTHER_FORM,
    PAD_VALUE,
    PEDESTRIAN,
    ModelMetadata,
)
from edge.errors import InvalidValueError, UnusableInputError
from edge.recognizer import Recognizer
from edge.records import Image, Modality
from export.calibration_frames import require_source
from export.card import model_card
from export.card_chart import draw_card_chart
from export.card_examples import draw_examples, read_examples
from export.fitting import fitted_metadata
from export.graph import calibrate_presence, to_onnx
from export.int8 import IDENTITY, Int8Settings, Original, frames_for, make_int8
from export.model_file import write_bytes, write_model
from export.parity import compare
from export.parity_frames import parity_frames
from export.places import example_name, files_of, int8_name, remove_stale
from export.start import require_told, student_of
from export.static import OtherForm, other_form, run_other
from training.calibration import FEWEST_TO_FIT, verdict_rule
from training.candidates import UNFITTED_THRESHOLD
from training.checkpoints import Checkpoint
from training.data_card import DataCard, read_data_card
from training.datasets import Dataset, read_dataset
from training.history import learnt_on, learnt_warning
from training.networks.student import Student
from training.rounding import text_of
from training.teacher_files import load_network_file


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """What `kestrel-export` was told."""

    checkpoint: Path
    out: Path
    validate: Path | None
    also: tuple[Path, ...]
    data_card: Path | None
    name: str
    version: str
    long_side: int | None
    max_enlarge: float | None
    overwrite: bool
    int8: Int8Settings | None = None
    other: OtherForm | None = None
    second_look: float | None = None  # see edge/second_look.py; 0: none; None: as the checkpoint says
    closer_look: float | None = None  # see edge/closer_look.py; likewise
    size: str | None = None  # as listings call it; None: as the checkpoint does
    show: tuple[Path, ...] = ()  # pictures for the card

    def __post_init__(self) -> None:
        second, closer = self.second_look, self.closer_look
        if second and not LEAST_SECOND <= second < 1.0:
            raise InvalidValueError("--second-look", f"0, or {LEAST_SECOND:g} to 1, below 1", second, "0.545 suits")
        if closer and not 1.0 < closer <= MOST_CLOSER:
            raise InvalidValueError("--closer-look", f"0, or above 1 and at most {MOST_CLOSER:g}", closer, "1.8 suits")
        if self.max_enlarge is not None and not 1.0 <= self.max_enlarge <= MOST_ENLARGE:
            rule = f"at least 1 and at most {MOST_ENLARGE:g}"
            raise InvalidValueError("--max-enlarge", rule, self.max_enlarge, "1.5 suits")


def export_model(settings: ExportSettings) -> Iterator[str]:
    """Write OUT.onnx and its card, on demand OUT-int8.onnx and its card, too; yields lines of progress.

    Raises:
        UnusableInputError: no student's checkpoint, an output that exists or cannot be written, wrong data.
        ProcessingError: ONNX Runtime and PyTorch disagree, or the disk is full; nothing was written. Or INT8 costs too
            much; OUT.onnx is kept.
    """
    _check_output(settings)
    examples = read_examples(settings.show)
    checkpoint = load_network_file(settings.checkpoint)
    student = student_of(checkpoint)
    card = read_data_card(settings.data_card)
    datasets = _read_all(settings, checkpoint.modality)
    if settings.int8:
        require_source(settings.int8.calibrate, checkpoint.modality)
    metadata = _metadata(settings, checkpoint, student, card)
    require_told(metadata)
    if settings.other:
        settings.other.require(student.spec.coarsest)
    yield from (f"warning: {dataset.name}: {warning}" for dataset in datasets for warning in dataset.warnings)
    with _scratch(settings.out.parent) as scratch:
        draft = scratch / settings.out.name
        graph = to_onnx(student, IDENTITY)
        write_model(graph, metadata, draft)
        frames = frames_for(settings.int8, draft, datasets) if settings.int8 else []
        if settings.validate:
            learnt = learnt_warning(learnt_on(checkpoint.settings), (d.name for d in datasets))
            yield from (f"warning: {said}" for said in learnt)
            yield f"measuring on {', '.join(d.name for d in datasets)}"
            metadata, fitted = fitted_metadata(metadata, draft, datasets)
            calibrate_presence(graph, metadata.calibration)
            write_model(graph, metadata, draft)
            yield f"threshold {fitted.threshold:.3f}, presence calibration error {text_of(fitted.calibration.error)}"
            if not fitted.anew:
                yield f"both stay as fine-tuning left them: {datasets[0].name} has fewer than {FEWEST_TO_FIT} pictures"
            elif not fitted.presence.of_both_kinds and fitted.calibration.is_identity:
                yield f"warning: {datasets[0].name} must show people in some pictures, not in all: presence is a guess"
            elif not fitted.presence.of_both_kinds:
                yield f"presence stays as fine-tuning left it: {datasets[0].name} shows people in all pictures, or none"
            if metadata.metrics[datasets[0].name]["AP50"] == 0:
                yield f"warning: it finds nobody on {datasets[0].name}; let it learn for longer"
        else:
            yield "warning: without --validate the threshold and the presence are guesses"
        parity = compare(student, metadata.calibration, draft, parity_frames(datasets), metadata.score_threshold)
        parity.require()
        yield f"parity with PyTorch: {parity.to_json()}"
        metadata = dataclasses.replace(metadata, settings={**metadata.settings, "parity": parity.to_json()})
        write_model(graph, metadata, draft)
        if settings.other:
            yield from _make_other(settings.other, student, draft, metadata, datasets)
        if settings.overwrite:
            yield from _clear(settings.out)
        yield from _publish(draft, settings.out, metadata, examples)
        if settings.other:
            place = settings.other.name(settings.out)
            settings.other.name(draft).replace(place)
            yield f"wrote {place}, for other compilers: kestrel itself runs {settings.out.name}"
        if settings.int8:
            int8_out = int8_name(settings.out)
            draft = scratch / int8_out.name
            yield from make_int8(Original(settings.out, metadata), draft, datasets, settings.int8, frames)
            yield from _publish(draft, int8_out, Recognizer(draft).metadata, examples)


def _clear(out: Path) -> Iterator[str]:
    """Other forms of the weights that OUT.onnx had until now."""
    gone = remove_stale(out)
    if gone:
        yield f"removed {', '.join(gone)}, made of what {out.name} was before"


def _make_other(
    other: OtherForm, student: Student, draft: Path, metadata: ModelMetadata, datasets: Sequence[Dataset]
) -> Iterator[str]:
    """The form for other compilers, beside the draft of its model, and compared with PyTorch as that one was."""
    model, place = other_form(student, metadata, other), other.name(draft)
    frames, ask = parity_frames(datasets), run_other(model, metadata, other)
    parity = compare(student, metadata.calibration, draft, frames, metadata.score_threshold, other.input_wh, ask)
    parity.require()
    yield f"parity of {place.name} with PyTorch: {parity.to_json()}"
    told = {**metadata.settings, "parity": parity.to_json(), OTHER_FORM: str(other)}
    write_model(model, dataclasses.replace(metadata, settings=told), place)
    if metadata.second_look is not None:
        yield (
            f"warning: {place.name} looks once, while its threshold and calibration are for two looks; "
            "ask it twice and join the answers as edge/second_look.py does"
        )


def _publish(draft: Path, out: Path, metadata: ModelMetadata, examples: Sequence[Image]) -> Iterator[str]:
    """Move a finished model to its place, its card and the card's pictures first."""
    size_mb = draft.stat().st_size / 1e6
    drawn = {out.with_suffix(".png"): draw_card_chart(metadata), example_name(out): draw_examples(draft, examples)}
    contents = {file: content for file, content in drawn.items() if content is not None}
    card = model_card(metadata, out.name, size_mb, [file.name for file in contents])
    contents[out.with_suffix(".md")] = card.encode()
    for file, content in contents.items():
        write_bytes(draft.with_name(file.name), content)
    for file in (*contents, out):
        draft.with_name(file.name).replace(file)
    for name, figures in metadata.metrics.items():
        yield f"{name}: AP50 {text_of(figures['AP50'])}, presence AUROC {text_of(figures['presence']['AUROC'])}"
    yield f"wrote {out} ({size_mb:.1f} MB) and {out.with_suffix('.md').name}"


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A folder beside the output, so that a rename is all that is left to do; gone afterwards."""
    try:
        scratch = tempfile.TemporaryDirectory(dir=folder, prefix=".kestrel-export-")
    except OSError as error:
        raise UnusableInputError(
            f"OUT.onnx must lie in a folder that can be written, got {str(folder)!r}; {error.strerror}"
        ) from None
    with scratch as name:
        yield Path(name)


def _check_output(settings: ExportSettings) -> None:
    if settings.out.suffix != ".onnx":
        raise UnusableInputError(f"OUT.onnx must end in .onnx, got {settings.out.name!r}; name a file like model.onnx")
    if not _is_utf8(settings.out):
        raise UnusableInputError(f"OUT.onnx must have a name in UTF-8, got {str(settings.out)!r}; name another")
    if settings.int8 and settings.validate is None:
        raise UnusableInputError("--int8 must come with --validate, got none; without it nobody knows what INT8 loses")
    models = (settings.out, int8_name(settings.out)) if settings.int8 else (settings.out,)
    others = [settings.other.name(settings.out)] if settings.other else []
    for file in (*others, *(f for model in models for f in files_of(model))):
        if file.is_dir() or (file.exists() and not settings.overwrite):
            raise UnusableInputError(
                f"OUT.onnx and its card must be new files, got {str(file)!r}; add --overwrite, or name another"
            )
    if not settings.out.parent.is_dir():
        raise UnusableInputError(f"OUT.onnx must lie in a folder that exists, got {str(settings.out)!r}; make it first")


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_all(settings: ExportSettings, modality: Modality) -> list[Dataset]:
    """The data set to fit to, if any, then the further ones."""
    if settings.also and settings.validate is None:
        raise UnusableInputError("--also must come with --validate, got none; the first data set goes there")
    datasets = [read_dataset(path, usual="val") for path in (settings.validate, *settings.also) if path is not None]
    for dataset in datasets:
        if dataset.modality not in (None, modality):
            raise UnusableInputError(
                f"data must be {modality} as the checkpoint is, got the {dataset.modality} {dataset.name}; "
                f"name {modality} pictures, or another CHECKPOINT"
            )
    name, times = Counter(d.name for d in datasets).most_common(1)[0] if datasets else ("", 0)
    if times > 1:  # the figures are stored under these names
        raise UnusableInputError(f"data sets must have names of their own, got {times} named {name!r}; rename a folder")
    if settings.int8 and not datasets[0].pedestrians:
        raise UnusableInputError(
            f"--int8 must come with a --validate that shows people, got none in {datasets[0].name}; "
            "without them nobody knows what INT8 loses: name pictures with labelled people"
        )
    return datasets


def _metadata(settings: ExportSettings, checkpoint: Checkpoint, student: Student, card: DataCard) -> ModelMetadata:
    trained_at = checkpoint.input_rule
    return ModelMetadata(
        name=settings.name,
        version=settings.version,
        modality=checkpoint.modality,
        size=settings.size or student.spec.size,
        precision="fp32",
        classes=(PEDESTRIAN,),
        input_layout="BHWC uint8 BGR",
        strides=student.strides,
        input_multiple=student.spec.coarsest,
        pad_value=PAD_VALUE,
        score_threshold=UNFITTED_THRESHOLD,
        nms_iou=NMS_IOU,
        default_long_side=settings.long_side or trained_at.default_long_side,
        max_enlarge=settings.max_enlarge or trained_at.max_enlarge,
        calibration=IDENTITY,
        verdict=verdict_rule(UNFITTED_THRESHOLD, IDENTITY),
        intended_use=card.intended_use,
        data=card.data,
        metrics={},
        commit=_commit(),
        settings={**checkpoint.settings, "spec": student.spec.to_json()},
        second_look=_look(settings.second_look, checkpoint.settings.get("second_look")),
        closer_look=_look(settings.closer_look, checkpoint.settings.get("closer_look")),
    )


def _look(told: float | None, learnt: float | None) -> float | None:
    """0 says that there is none, whatever the checkpoint carries."""
    return learnt if told is None else told or None


def _commit() -> str:
    """The commit of this program; `unknown` where it does not run from its own checkout."""
    here = Path(__file__)
    if not _git("ls-files", here.name, folder=here.parent):  # installed into a checkout of something else
        return "unknown"
    return _git("describe", "--always", "--dirty", folder=here.parent) or "unknown"


def _git(*words: str, folder: Path) -> str:
    """What git answers; nothing where it fails or is not installed."""
    try:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()
