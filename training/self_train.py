"""Noisy Student: a teacher labels footage, the student learns from that footage and the labelled pictures, disturbed.

Xie et al., arXiv 1911.04252. Each round: the teacher labels clean frames (pseudo_labels.py), a fresh student learns
them together with the labelled set under augmentation, dropout and stochastic depth (noise.py), and is the next round's
teacher.

    OUT/footage.json             what it began with
    OUT/images/                  frames of the footage that differ from each other
    OUT/round-1.json, .png       what the teacher taught of them, as a COCO file and as a contact sheet
    OUT/round-1/                 the student's run
    OUT/student.pt               the last round's student
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from edge.errors import InvalidValueError, UnusableInputError
from edge.modality import mismatch
from edge.sources.pictures import read_picture
from training.begun_with import note, require_as_begun
from training.checkpoints import Checkpoint, build_network, save_checkpoint
from training.datasets import Dataset, join_datasets, read_dataset
from training.datasets.coco_writing import write_coco
from training.image_files import save_sheet
from training.label_sheet import label_sheet
from training.networks.trunks import load_weights
from training.noise import NoiseSettings, add_noise
from training.processes import join_processes
from training.pseudo_labels import SOURCE, LabelRule, PseudoLabelled, Recognise, label_frames, save_frames
from training.run import RunSettings, train
from training.teacher_files import load_network_file, require_modality
from training.torch_recognizer import TorchRecognizer, as_flown
from training.unlabelled import Recording, ThinSettings, choose_frames

INPUT_MULTIPLE = 32  # suits every network of ours
LOOKED_AT = 12  # frames that must look like the teacher's modality
FOOTAGE = "footage.json"
NOISE = NoiseSettings(dropout=0.1, stochastic_depth=0.1)


@dataclass(frozen=True, slots=True)
class SelfTrainSettings:
    """Everything that self-training depends on."""

    run: RunSettings  # of each round; its data set holds the labels, its `out` everything that is written
    teacher: Path  # checkpoint or teacher file that labels in the first round
    unlabelled: tuple[str, ...]  # recordings and folders
    rounds: int = 1
    noise: NoiseSettings = NOISE
    thin: ThinSettings = field(default_factory=ThinSettings)
    rule: LabelRule = field(default_factory=LabelRule)

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise InvalidValueError("rounds", "at least 1", self.rounds)
        if not self.unlabelled:
            raise InvalidValueError("unlabelled", "at least one recording or folder", self.unlabelled)


def require_start(run: RunSettings, noise: NoiseSettings) -> None:
    """Refuse now, not after hours, what the student of a run cannot start with.

    Raises:
        UnusableInputError: weights that cannot be found, or do not fit.
        InvalidValueError: noise that the network has no place for.
    """
    network = build_network(run.kind, run.spec)
    load_weights(network, run.weights)
    add_noise(network, noise)


def self_train(settings: SelfTrainSettings) -> Iterator[str]:
    """Run all rounds; yields lines of progress, the last of which names the finished student.

    Raises:
        UnusableInputError: bad data, footage without anybody, a teacher of another modality, an output that exists.
        ProcessingError: the disk is full, or a loss stopped being finite.
    """
    out, processes = settings.run.out, join_processes()
    if processes.first:
        _check_out(out, settings.run.resume)
    processes.wait()
    labelled = read_dataset(settings.run.dataset, usual="train", require_pedestrians=True)
    teacher = load_network_file(settings.teacher)
    require_modality(teacher, labelled.modality)
    require_start(settings.run, settings.noise)
    if processes.first:
        # What is taught belongs to one footage and one teacher, and others may have the same names.
        begun_with = require_as_begun(out / FOOTAGE, {**_taught_by(settings), **_places(settings)})
        yield from collect_frames(settings.unlabelled, settings.thin, out / "images")
        note(out / FOOTAGE, begun_with)
    for number in range(1, settings.rounds + 1):
        taught = out / f"round-{number}.json"
        if processes.first:
            yield from teach_frames(teacher, settings.rule, taught)
        processes.wait()
        run = dataclasses.replace(settings.run, out=out / f"round-{number}")
        student = run.out / "student.pt"
        if not student.is_file():
            together = with_footage(labelled, taught)
            train(run, together, prepare=lambda network: add_noise(network, settings.noise))
        processes.wait()
        if processes.first:
            yield f"round {number}: wrote {student}"
        teacher = load_network_file(student)
    if processes.first:
        finished = out / "student.pt"
        save_checkpoint(_described_by(teacher, settings), finished)
        yield f"wrote {finished}"


def collect_frames(uris: tuple[str, ...], thin: ThinSettings, folder: Path) -> Iterator[str]:
    """Keep the frames of some recordings that differ from each other as pictures in `folder`, unless it is there."""
    if folder.is_dir():
        return
    recordings = choose_frames(uris, thin)
    yield from (_described(recording) for recording in recordings)
    save_frames([recording for recording in recordings if recording.chosen], folder)


def teach_frames(teacher: Checkpoint, rule: LabelRule, file: Path) -> Iterator[str]:
    """Have the frames in `images` beside `file` labelled; `file` is written last, and kept if it is there."""
    if file.is_file():
        yield f"{file.stem}: goes on with {file}"
        return
    frames = save_frames((), file.parent / "images")
    looked_at = [read_picture(path).image for path in frames[:: max(1, len(frames) // LOOKED_AT)]]
    odd = mismatch([image for image in looked_at if image is not None], teacher.modality)
    if odd:
        yield f"warning: {odd.partition(';')[0]}"
    labelled = label_frames(frames, recognise_with(teacher), rule)
    said = f"{file.stem}: {_taught(labelled)} of {len(frames)} frames"
    sheet = save_sheet(label_sheet(labelled, said), file.with_suffix(".png"))
    scores = {one.picture.path: one.scores for one in labelled}
    write_coco(file, [one.picture for one in labelled], teacher.modality, scores)
    yield f"{said}; look at {sheet}"


def with_footage(labelled: Dataset, taught: Path) -> Dataset:
    """The labelled pictures and the pseudo-labelled ones."""
    return join_datasets((labelled, dataclasses.replace(read_dataset(taught), name=SOURCE)))


def recognise_with(teacher: Checkpoint) -> Recognise:
    """Asks a network for whole pictures, undisturbed, at the size that it was trained for."""
    network = teacher.network()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    recognizer = TorchRecognizer(network, network.strides[0], teacher.input_rule, INPUT_MULTIPLE)
    return as_flown(recognizer.recognise, teacher.modality)


def _taught(labelled: tuple[PseudoLabelled, ...]) -> str:
    people = sum(len(one.scores) for one in labelled)
    empty = sum(not len(one.scores) for one in labelled)
    return f"{people} pedestrians in {len(labelled) - empty} frames and nobody in {empty}"


def _described(recording: Recording) -> str:
    if recording.problem:
        return f"warning: left out: {recording.problem}"
    return f"{recording.uri}: {len(recording.chosen)} of {recording.sampled} frames are kept"


def _check_out(out: Path, resume: bool) -> None:
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not resume)):
        raise UnusableInputError(f"out must be an empty folder, got {str(out)!r}; add --resume or name another")


def _taught_by(settings: SelfTrainSettings) -> dict[str, Any]:
    return {
        "teacher": settings.teacher.name,
        "unlabelled": [Path(uri).name for uri in settings.unlabelled],
        **asdict(settings.noise),
        **asdict(settings.thin),
        **asdict(settings.rule),
    }


def _places(settings: SelfTrainSettings) -> dict[str, Any]:
    return {
        "teacher_file": str(settings.teacher.resolve()),
        "footage": [str(Path(uri).resolve()) for uri in settings.unlabelled],
    }


def _described_by(student: Checkpoint, settings: SelfTrainSettings) -> Checkpoint:
    """The student, with what a run alone does not know."""
    said = {"rounds": settings.rounds, **_taught_by(settings)}
    return dataclasses.replace(student, settings={**student.settings, "self_train": said})
