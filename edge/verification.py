"""`kestrel models --verify`: are these the files that were shipped, and do they decide here as they did there?

Beside the models lie `SHA256SUMS`, reference frames, and for each model what it found in them when it was shipped. A
board whose ONNX Runtime, processor or provider computes otherwise shows it here and not over a field at night.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.contract import ModelMetadata
from edge.errors import ModelError, ProcessingError, UnusableInputError
from edge.geometry import pairwise_iou
from edge.recognizer import Recognizer, RecognizerSettings
from edge.records import Boxes, Image, Precision, Recognition
from edge.whole_file import write_whole

MANIFEST = "SHA256SUMS"
FLOOR = 0.5  # of the threshold: what scores less decides nothing and is not stored
SAME_IOU = 0.5
# A decision counts only where the score is farther than this from its threshold. INT8 kernels of other processors round
# otherwise, by about a step of 1/256 of some layer.
MARGINS: dict[Precision, float] = {"fp32": 1e-3, "int8": 0.03}


@dataclass(frozen=True, slots=True)
class Expected:
    """What a model found in one frame where it was made."""

    frame: str  # file name
    presence: float
    boxes_xyxy: Boxes  # (N, 4) frame pixels
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Verified:
    """A model that passed."""

    file: Path
    frames: int
    provider: str
    largest_score_difference: float

    def __str__(self) -> str:
        return (
            f"{self.file.name}: as shipped; the same decisions on {self.frames} reference frames "
            f"({self.provider}, scores within {self.largest_score_difference:.2g})"
        )


def reference_file(model_file: Path) -> Path:
    """Where the stored outputs of a model lie."""
    return model_file.with_suffix(".reference.json")


def require_all(folder: Path) -> None:
    """Raises ProcessingError where a model that the folder's manifest lists is gone."""
    missing = [
        name for name in read_manifest(folder / MANIFEST) if name.endswith(".onnx") and not (folder / name).exists()
    ]
    if missing:
        raise ProcessingError(
            f"{folder} must hold every model that {MANIFEST} lists, got none named {', '.join(missing)}; "
            "install kestrel-drone again"
        )


def verify_model(model_file: Path, threads: int | None = None, provider: str | None = None) -> Verified:
    """Check the bytes against the manifest beside the file, then the decisions on its reference frames.

    `provider` is what computes them, as `edge.network.choose_provider` takes it; None: the processor.

    Raises:
        ModelError: there is no manifest or reference, or the file is no model of ours.
        UnusableInputError: the provider cannot be had.
        ProcessingError: the bytes are others than were shipped, or a decision flipped.
    """
    sums = read_manifest(model_file.parent / MANIFEST)
    reference = reference_file(model_file)
    check_sum(model_file, sums)
    check_sum(reference, sums)
    recognizer = _load(model_file, RecognizerSettings(threads, provider=provider))
    apart = 0.0
    frames = _read_reference(reference)
    for expected in frames:
        frame_file = model_file.parent / expected.frame
        check_sum(frame_file, sums)
        found = recognizer.recognise(_read_image(frame_file))
        apart = max(apart, require_same_decisions(recognizer.metadata, found, expected, model_file.name))
    return Verified(model_file, len(frames), recognizer.provider, apart)


def _load(model_file: Path, settings: RecognizerSettings) -> Recognizer:
    recognizer = Recognizer(model_file, settings)
    recognizer.threshold = FLOOR * recognizer.metadata.score_threshold
    return recognizer


def require_same_decisions(model: ModelMetadata, found: Recognition, expected: Expected, name: str) -> float:
    """Largest difference of a matched score.

    Raises:
        ProcessingError: a detection or the verdict flipped.
    """
    margin = MARGINS[model.precision]
    threshold = model.score_threshold
    theirs = np.asarray(expected.scores, np.float32)
    matched = _match(expected.boxes_xyxy, found.boxes_xyxy)  # (N,) index of the same box here, -1 for none
    ours = np.where(matched >= 0, np.append(found.scores, np.float32(0))[matched], np.float32(0))
    lost = int(((theirs >= threshold + margin) & (ours < threshold)).sum())
    before = np.zeros(len(found.scores), np.float32)
    before[matched[matched >= 0]] = theirs[matched >= 0]
    new = int(((found.scores >= threshold + margin) & (before < threshold)).sum())
    enter = model.verdict.enter
    verdict = (found.presence >= enter) != (expected.presence >= enter) and abs(expected.presence - enter) > margin
    verdict |= not math.isfinite(found.presence)  # NaN is below whatever it is compared with
    if lost or new or verdict:
        raise ProcessingError(
            f"{name} must decide as it did when it was shipped, got {lost} detections lost, {new} new and the verdict "
            f"{'another' if verdict else 'the same'} on {expected.frame}; do not fly with it: try --precision fp32, or "
            "another version of onnxruntime"
        )
    differences = np.abs(ours - theirs)[(matched >= 0) & (theirs >= threshold)]
    return float(max(differences.max(initial=0.0), abs(found.presence - expected.presence)))


def _match(theirs: Boxes, ours: Boxes) -> np.ndarray[Any, np.dtype[np.int64]]:
    """For each of their boxes the best of ours that overlaps it by at least half, each once; -1 for none."""
    matched = np.full(len(theirs), -1, np.int64)
    if not len(theirs) or not len(ours):
        return matched
    overlap = np.nan_to_num(pairwise_iou(np.concatenate((theirs, ours)))[: len(theirs), len(theirs) :])  # (N, M)
    for index in range(len(theirs)):  # by descending score
        best = int(overlap[index].argmax())
        if overlap[index, best] >= SAME_IOU:
            matched[index] = best
            overlap[:, best] = 0
    return matched


def write_references(model_file: Path, frames: Iterable[Path]) -> Path:
    """Store what the model finds in these pictures, which lie beside it; returns the file written.

    Raises:
        UnusableInputError: nothing in them is sure enough to be missed by `verify_model`.
    """
    recognizer = _load(model_file, RecognizerSettings())
    found = {frame: recognizer.recognise(_read_image(frame)) for frame in frames}
    surest = max((float(score) for one in found.values() for score in one.scores), default=0.0)
    least = recognizer.metadata.score_threshold + MARGINS[recognizer.metadata.precision]
    if surest < least:
        raise UnusableInputError(
            f"reference pictures of {model_file.name} must show somebody with a score of at least {least:.3f}, got "
            f"{surest:.3f}: a board that finds nobody would pass; add a picture"
        )
    file = reference_file(model_file)
    stored = [_stored(frame, one) for frame, one in found.items()]
    write_whole(file, json.dumps({"frames": stored}, indent=1) + "\n")
    return file


def _stored(frame: Path, found: Recognition) -> dict[str, Any]:
    return {
        "frame": frame.name,
        "presence": round(found.presence, 6),
        "boxes_xyxy": [[round(float(side), 2) for side in box] for box in found.boxes_xyxy],
        "scores": [round(float(score), 6) for score in found.scores],
    }


def _read_reference(file: Path) -> list[Expected]:
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))["frames"]
        expected = [
            Expected(
                frame=Path(entry["frame"]).name,
                presence=float(entry["presence"]),
                boxes_xyxy=np.asarray(entry["boxes_xyxy"], np.float32).reshape(-1, 4),
                scores=tuple(float(score) for score in entry["scores"]),
            )
            for entry in entries
        ]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(
            f"{file.name} must hold reference outputs, got {error!r}; install kestrel-drone again"
        ) from None
    if not expected or any(len(one.scores) != len(one.boxes_xyxy) for one in expected):
        raise ModelError(f"{file.name} must hold a score for each box of at least one frame; install it again")
    return expected


def read_manifest(file: Path) -> dict[str, str]:
    """File name -> sha256, from lines as `sha256sum` writes them.

    Raises:
        ModelError: missing, or of another form.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        raise ModelError(
            f"{file.parent} must hold {MANIFEST} to verify its models against, got none; "
            "write it where you trust them: python -m export.ship FOLDER"
        ) from None
    except UnicodeDecodeError:
        raise ModelError(f"{file} must be text in UTF-8; write it again") from None
    pairs = [line.split(maxsplit=1) for line in lines if line.strip()]  # a file's name may hold spaces
    if any(len(pair) != 2 or len(pair[0]) != 64 for pair in pairs):
        raise ModelError(f"{file} must hold lines of a sha256 and a file name; write it again")
    return {name.removeprefix("*"): digest for digest, name in pairs}


def write_manifest(folder: Path, files: Iterable[Path]) -> Path:
    """`SHA256SUMS` of these files; `sha256sum -c` reads it, too."""
    manifest = folder / MANIFEST
    lines = [f"{sha256_of(file)}  {file.name}\n" for file in sorted(files)]
    write_whole(manifest, "".join(lines))
    return manifest


def check_sum(file: Path, sums: Mapping[str, str]) -> None:
    """Raises ProcessingError where the file is missing, is not listed, or holds other bytes than were listed."""
    listed = sums.get(file.name)
    if listed is None:
        raise ProcessingError(
            f"{file.name} must be listed in {MANIFEST}, got no entry; it was not shipped with the rest"
        )
    try:
        found = sha256_of(file)
    except OSError as error:
        raise ProcessingError(
            f"{file.name} must be readable, got {error.strerror}; install kestrel-drone again"
        ) from None
    if found != listed:
        raise ProcessingError(f"{file.name} must have the sha256 {listed}, got {found}; install kestrel-drone again")


def sha256_of(file: Path) -> str:
    """Of its bytes."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _read_image(file: Path) -> Image:
    image = cv2.imdecode(np.frombuffer(file.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ModelError(f"{file.name} must be a picture; install kestrel-drone again")
    return np.asarray(image, np.uint8)
