"""Does distillation help? The same student, data and schedule, with one thing changed at a time, over several seeds.

OUT/settings.json           what is compared; a later run with other settings is refused
OUT/<arm>-<seed>/           one run each: student.pt, metrics.jsonl, result.json; finished ones are not repeated
OUT/results.json, table.md, ablation.png
"""

import contextlib
import dataclasses
import json
import multiprocessing
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import torch

from edge.errors import InvalidValueError, KestrelError, ProcessingError, UnusableInputError
from training.ablation_report import Score, draw, table
from training.begun_with import note, require_as_begun
from training.checkpoints import Checkpoint
from training.datasets import Dataset, read_dataset, require_decodable
from training.evaluation import evaluate
from training.loss_settings import LossSettings
from training.noise import NoiseSettings, add_noise
from training.processes import refuse_processes
from training.pseudo_labels import LabelRule
from training.rounding import text_of
from training.run import RunSettings, modality_of, train
from training.self_train import (
    NOISE,
    collect_frames,
    recognise_with,
    require_start,
    teach_frames,
    with_footage,
)
from training.teacher_files import load_network_file, require_modality
from training.unlabelled import ThinSettings
from training.write_aside import write_aside

TEACHER = "teacher"


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to teach the student."""

    name: str
    words: str  # of its row
    losses: LossSettings | None = None  # from a teacher; None: labels alone
    length: int = 1  # times the schedule
    noisy: bool = False  # with pseudo-labelled footage, and noise inside the network


LOSSES_OF = {"hard": ("hard",), "soft": ("soft",), "feature": ("soft", "feature"), "noisy": ("soft",)}


@dataclass(frozen=True, slots=True)
class ArmLosses:
    """The weight of each loss where an arm uses it."""

    soft: float = 0.5
    hard: float = 0.5
    soft_box: float = 2.0
    feature: float = 1.0
    temperature: float = 2.0

    def of(self, *names: str) -> LossSettings:
        """Those named; boxes where the teacher's are better come with each."""
        chosen = {name: getattr(self, name) for name in ("soft_box", *names)}
        return LossSettings(**{"soft": 0.0, **chosen}, temperature=self.temperature)


def choose_arms(losses: ArmLosses, names: Sequence[str] | None, *, noisy: bool) -> tuple[Arm, ...]:
    """The arms of these names, in the order of the table; all of them by default, the noisy one only if it can be.

    Raises:
        InvalidValueError: no such arm, or a loss of one weighs nothing, so that it would not be what it is called.
    """
    arms = (
        Arm("alone", "labels alone"),
        Arm("twice", "labels alone, twice as long", length=2),
        Arm("hard", "+ hard targets", losses.of(*LOSSES_OF["hard"])),
        Arm("soft", "+ soft targets", losses.of(*LOSSES_OF["soft"])),
        Arm("feature", "+ soft targets and features", losses.of(*LOSSES_OF["feature"])),
        Arm("noisy", "+ soft targets, noisy student", losses.of(*LOSSES_OF["noisy"]), noisy=True),
    )
    known = [arm.name for arm in arms]
    unknown = sorted(set(names or ()) - set(known))
    if unknown:
        raise InvalidValueError("arms", f"among {', '.join(known)}", unknown[0])
    chosen = tuple(arm for arm in arms if (arm.name in names if names is not None else noisy or not arm.noisy))
    for arm in chosen:
        for loss in LOSSES_OF.get(arm.name, ()):
            if not getattr(losses, loss) > 0:
                rule = f"above 0 for the arm {arm.name}"
                raise InvalidValueError(loss, rule, getattr(losses, loss), "leave that arm out of --arms")
    return chosen


@dataclass(frozen=True, slots=True)
class AblateSettings:
    """Everything that an ablation depends on."""

    run: RunSettings  # of every arm; with a teacher, and `out` for everything that is written
    validate: Path
    arms: tuple[Arm, ...]
    seeds: int = 3
    jobs: int = 1  # processes; several have one thread each
    unlabelled: tuple[str, ...] = ()
    noise: NoiseSettings = NOISE
    thin: ThinSettings = field(default_factory=ThinSettings)
    rule: LabelRule = field(default_factory=LabelRule)

    def __post_init__(self) -> None:
        for name in ("seeds", "jobs"):
            if getattr(self, name) < 1:
                raise InvalidValueError(name, "at least 1", getattr(self, name))
        if not self.arms:
            raise InvalidValueError("arms", "at least one", self.arms)
        if self.run.teacher is None:
            raise InvalidValueError("teacher", "a teacher's file", self.run.teacher)
        if any(arm.noisy for arm in self.arms) and not self.unlabelled:
            raise InvalidValueError("arms", "without noisy", "noisy", "or name footage by --unlabelled")


@dataclass(frozen=True, slots=True)
class Job:
    """One run of one arm; small enough to be sent to another process."""

    arm: Arm
    run: RunSettings
    validate: Path
    taught: Path | None  # pseudo-labels that join the labelled pictures
    noise: NoiseSettings

    @property
    def result(self) -> Path:
        """Written last of all."""
        return self.run.out / "result.json"


def ablate(settings: AblateSettings) -> Iterator[str]:
    """Train and judge what is not done yet; yields lines of progress, and at last the table.

    Raises:
        UnusableInputError: bad data, a teacher of another modality, a folder with another ablation.
        ProcessingError: a run failed; those that were finished are kept.
    """
    refuse_processes("ablate")
    out = settings.run.out
    labelled = read_dataset(settings.run.dataset, usual="train", require_pedestrians=True)
    teacher = load_network_file(settings.run.teacher or Path())
    modality_of(labelled)
    require_modality(teacher, labelled.modality)
    judged = read_dataset(settings.validate, usual="val", require_pedestrians=True)
    require_modality(teacher, judged.modality)
    noisy = any(arm.noisy for arm in settings.arms)
    require_start(settings.run, settings.noise if noisy else NoiseSettings())
    _claim(out, settings)
    require_decodable((*labelled.pictures, *judged.pictures))
    yield from _known_pictures(labelled, judged)
    taught = out / "taught.json" if noisy else None
    if taught is not None:
        yield from collect_frames(settings.unlabelled, settings.thin, out / "images")
        yield from teach_frames(teacher, settings.rule, taught)
    if not (out / f"{TEACHER}.json").is_file():
        _write(out / f"{TEACHER}.json", asdict(_score(TEACHER, 0, teacher, settings.validate)))
    jobs = jobs_of(settings, taught)
    due = [job for job in jobs if not job.result.is_file()]
    yield f"{len(jobs)} runs, {len(jobs) - len(due)} of them finished before"
    yield from _run_all(due, settings.jobs)
    scores = tuple(_read_score(path) for path in (*(job.result for job in jobs), out / f"{TEACHER}.json"))
    yield from _report(settings, scores)


def _known_pictures(labelled: Dataset, judged: Dataset) -> Iterator[str]:
    """A warning where pictures that are learnt judge as well."""
    known = {picture.path.resolve() for picture in labelled.pictures}
    shared = sum(picture.path.resolve() in known for picture in judged.pictures)
    if shared:
        yield f"warning: {shared} of {len(judged.pictures)} pictures of {judged.name} are learnt, too: by heart is best"


def jobs_of(settings: AblateSettings, taught: Path | None) -> tuple[Job, ...]:
    """All runs, seed by seed, so that an ablation that is cut off has compared all arms on some seeds."""
    jobs = []
    schedule = settings.run.train
    for seed in range(schedule.seed, schedule.seed + settings.seeds):
        for arm in settings.arms:
            run = dataclasses.replace(
                settings.run,
                out=settings.run.out / f"{arm.name}-{seed}",
                train=dataclasses.replace(
                    schedule, seed=seed, steps=schedule.steps * arm.length, minutes=schedule.minutes * arm.length
                ),
                teacher=settings.run.teacher if arm.losses else None,
                losses=arm.losses or LossSettings(),
                resume=True,
                decodable=True,
            )
            jobs.append(Job(arm, run, settings.validate, taught if arm.noisy else None, settings.noise))
    return tuple(jobs)


def run_job(job: Job) -> str:
    """Train and judge one run; returns what to say of it.

    Raises:
        KestrelError: it failed.
    """
    labelled = read_dataset(job.run.dataset, usual="train")
    dataset = with_footage(labelled, job.taught) if job.taught else labelled
    noise = job.noise if job.arm.noisy else NoiseSettings()
    student = train(job.run, dataset, prepare=lambda network: add_noise(network, noise))
    score = _score(job.arm.name, job.run.train.seed, load_network_file(student), job.validate)
    _write(job.result, asdict(score))
    with contextlib.suppress(OSError):
        (job.run.out / "last.pt").unlink()  # a finished run is not gone on with
    return f"{job.run.out.name}: AP50 {text_of(score.ap50)}, presence AUROC {text_of(score.auroc)}"


def _run_all(jobs: Sequence[Job], processes: int) -> Iterator[str]:
    if processes == 1 or len(jobs) < 2:
        for job in jobs:
            yield run_job(job)
        return
    spawned = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    failed = []
    with ProcessPoolExecutor(processes, mp_context=spawned, initializer=_be_quiet) as pool:
        try:
            for done in as_completed([pool.submit(_run_or_tell, job) for job in jobs]):
                told = done.result()
                if told.failed:
                    failed.append(told.text)
                yield told.text
        except BrokenProcessPool:
            rule = "left to finish, got one that was killed, as it is where memory is short"
            raise ProcessingError(f"runs must be {rule}; lower --jobs, then run this again") from None
        except BaseException:  # Ctrl-C: the pool would go on with all that are due, and we would wait for it
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise
    if failed:
        raise ProcessingError(f"{len(failed)} runs failed, the first with: {failed[0]}; mend that, then run this again")


@dataclass(frozen=True, slots=True)
class _Told:
    """What another process says of its run: errors of ours do not travel between processes."""

    text: str
    failed: bool = False


def _run_or_tell(job: Job) -> _Told:
    try:
        return _Told(run_job(job))
    except KestrelError as error:
        return _Told(f"{job.run.out.name}: {error}", failed=True)


def _be_quiet() -> None:
    """One thread a process, and no progress bars over each other."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  # as long as the process


def _score(arm: str, seed: int, checkpoint: Checkpoint, validate: Path) -> Score:
    evaluation = evaluate(recognise_with(checkpoint), read_dataset(validate, usual="val"))
    return Score(
        arm=arm,
        seed=seed,
        ap50=evaluation.boxes.ap50,
        ap50_95=evaluation.boxes.ap50_95,
        centre_ap=evaluation.boxes.centre_ap,
        auroc=evaluation.presence.auroc,
        steps=int(checkpoint.settings.get("step", 0)),
        seconds=float(checkpoint.settings.get("seconds", 0.0)),
    )


def _report(settings: AblateSettings, scores: tuple[Score, ...]) -> Iterator[str]:
    out = settings.run.out
    rows = {arm.name: arm.words for arm in settings.arms} | {TEACHER: "the teacher itself"}
    _write(out / "results.json", [asdict(score) for score in scores])
    text = table(rows, scores, _conditions(settings))
    try:
        (out / "table.md").write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise ProcessingError(f"{out / 'table.md'} must be writable, got {error}; free some space") from None
    chart = draw(rows, scores, f"{settings.validate.resolve().name}, {settings.seeds} seeds", out / "ablation.png")
    yield text
    yield f"wrote {out / 'table.md'} and {chart}"


def _conditions(settings: AblateSettings) -> str:
    train_ = settings.run.train
    length = f"{train_.steps} steps" if train_.steps else f"{train_.minutes:g} minutes"
    spec = settings.run.spec
    teacher = settings.run.teacher.name if settings.run.teacher else ""
    return (
        f"Student {spec.get('backbone')} at stride {spec.get('stride')}, {length} of {train_.batch_size} crops of "
        f"{settings.run.crop_px} px; learns on {settings.run.dataset.resolve().name}, is judged on "
        f"{settings.validate.resolve().name}; teacher {teacher}."
    )


def _claim(out: Path, settings: AblateSettings) -> None:
    """The folder belongs to one comparison: what its runs share, and each arm, must be the same ever after."""
    file = out / "settings.json"
    begun_with = require_as_begun(file, _fingerprint(settings))
    if not file.is_file() and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UnusableInputError(f"out must be an empty folder or an ablation, got {str(out)!r}; name another")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnusableInputError(f"out must be a folder that can be made, got {str(out)!r}; {error.strerror}") from None
    note(file, begun_with)


def _fingerprint(settings: AblateSettings) -> Mapping[str, Any]:
    """What every run of the comparison shares, and what makes each arm. Arms and seeds may be added later."""
    run = settings.run
    arms = {f"arm {arm.name}": asdict(arm) for arm in settings.arms}
    if any(arm.noisy for arm in settings.arms):
        arms["footage"] = {"unlabelled": list(settings.unlabelled), **asdict(settings.noise), **asdict(settings.rule)}
        arms["frames"] = asdict(settings.thin)
    return {
        **arms,
        "dataset": str(run.dataset.resolve()),
        "validate": str(settings.validate.resolve()),
        "teacher": str((run.teacher or Path()).resolve()),
        "student": dict(run.spec),
        "weights": run.weights,
        "crop": run.crop_px,
        "schedule": {k: v for k, v in asdict(run.train).items() if k != "seed"},
    }


def _write(file: Path, values: Any) -> None:
    write_aside(file, lambda aside: aside.write((json.dumps(values, indent=1) + "\n").encode()))


def _read_score(file: Path) -> Score:
    return Score(**json.loads(file.read_text(encoding="utf-8")))
