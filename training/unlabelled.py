"""Footage without labels: which frames of it are worth learning from.

Neighbouring frames of a flight show the same thing. Frames are compared as small grey thumbnails, freed of brightness
and contrast so that the camera's exposure counts for nothing; what differs little from a frame that was kept already is
left out. Another view by a camera that moves is new; so is a crowd that has moved on under a camera that does not.

Measured on thumbnails half a second apart: a drone over a parking lot 0.32 (median), a panning camera 0.28, a fixed one
over a crowd 0.07, and 0.13 after ten seconds.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from edge.errors import InvalidValueError, SourceError
from edge.modality import appearance_of
from edge.records import Frame, Image
from edge.sources import expand_recordings, is_live, open_source

THUMBNAIL_WH = (32, 24)
LEAST_CONTRAST = 8.0  # grey levels; below, noise would pass for news

Thumbnail = npt.NDArray[np.float32]  # (24, 32) grey, mean 0, deviation 1


@dataclass(frozen=True, slots=True)
class ThinSettings:
    """How much of the footage is kept."""

    every_s: float = 0.5  # frames of a video that are nearer to each other are not even compared
    least_news: float = 0.1  # mean difference of thumbnails from which a frame is a new one; 0 keeps all
    limit: int = 500  # frames of all recordings together; more are thinned evenly

    def __post_init__(self) -> None:
        if not self.every_s >= 0:
            raise InvalidValueError("every", "at least 0 s", self.every_s)
        if not self.least_news >= 0:
            raise InvalidValueError("least_news", "at least 0", self.least_news)
        if self.limit < 1:
            raise InvalidValueError("frames", "at least 1", self.limit)


@dataclass(frozen=True, slots=True)
class Recording:
    """One video, or the pictures of one folder, and the frames that were chosen from it."""

    uri: str
    sampled: int  # frames that were compared
    chosen: tuple[int, ...]  # ascending sequence numbers
    problem: str = ""  # why nothing of it can be used


def thumbnail(image: Image) -> Thumbnail:
    """(H, W, 3) BGR -> small, grey, of mean 0 and deviation 1."""
    small = cv2.resize(image, THUMBNAIL_WH, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).astype(np.float32)
    return np.asarray((grey - grey.mean()) / max(float(grey.std()), LEAST_CONTRAST), np.float32)


def thin(thumbnails: Sequence[Thumbnail], least_news: float) -> tuple[int, ...]:
    """Indices of those that differ from every one kept before by at least `least_news` on average."""
    kept: list[int] = []
    before = np.empty((len(thumbnails), THUMBNAIL_WH[1], THUMBNAIL_WH[0]), np.float32)
    for index, candidate in enumerate(thumbnails):
        if (np.abs(before[: len(kept)] - candidate).mean((1, 2)) >= least_news).all():
            before[len(kept)] = candidate
            kept.append(index)
    return tuple(kept)


def choose_frames(uris: Sequence[str], settings: ThinSettings) -> tuple[Recording, ...]:
    """Look through all recordings once; folders may hold videos or pictures.

    Raises:
        SourceError: a recording that is named itself cannot be opened, one is live, or no frame of all can be used.
    """
    recordings = [_tried(one, settings, named=one == uri) for uri, one in _expanded(uris)]
    if not any(recording.chosen for recording in recordings):
        raise SourceError("unlabelled footage must hold a frame that can be decoded, got none; name other recordings")
    broken = [recording for recording in recordings if recording.problem]
    return (*_limited(recordings, settings.limit), *broken)


def frames_of(recording: Recording) -> Iterator[Frame]:
    """The chosen frames, decoded again.

    Raises:
        SourceError: the recording cannot be opened any more.
    """
    wanted = set(recording.chosen)
    with open_source(recording.uri) as source:
        for frame in source:
            if frame.seq in wanted and frame.image is not None:
                yield frame
            if frame.seq >= recording.chosen[-1]:
                return


def _expanded(uris: Sequence[str]) -> list[tuple[str, str]]:
    """Every recording, after what was said that holds it."""
    for uri in uris:
        if is_live(uri):
            raise SourceError(f"unlabelled footage must be recorded, got the live source {uri!r}; record it first")
    return [(uri, one) for uri in uris for one in expand_recordings(uri)]


def _tried(uri: str, settings: ThinSettings, *, named: bool) -> Recording:
    """One damaged recording in a folder of flights is no reason to learn from none."""
    try:
        return _look_through(uri, settings)
    except SourceError as error:
        if named:
            raise
        return Recording(uri, 0, (), str(error))


def _look_through(uri: str, settings: ThinSettings) -> Recording:
    thumbnails: list[Thumbnail] = []
    seqs: list[int] = []
    due_s = -math.inf
    with open_source(uri) as source:
        for frame in tqdm(source, "look through", source.info.frame_count, unit="frame", disable=None):
            if frame.image is None or (frame.time_s is not None and frame.time_s < due_s):
                continue
            if frame.time_s is not None:
                due_s = frame.time_s + settings.every_s
            if appearance_of(frame.image) != "blank":
                thumbnails.append(thumbnail(frame.image))
                seqs.append(frame.seq)
    return Recording(uri, len(seqs), tuple(seqs[k] for k in thin(thumbnails, settings.least_news)))


def _limited(recordings: Sequence[Recording], limit: int) -> tuple[Recording, ...]:
    """Evenly thinned over all recordings, in their order."""
    places = [(k, seq) for k, recording in enumerate(recordings) for seq in recording.chosen]
    few = np.unique(np.linspace(0, len(places) - 1, min(limit, len(places))).round().astype(int))
    kept = [places[i] for i in few]
    thinned = [
        Recording(recording.uri, recording.sampled, tuple(seq for n, seq in kept if n == k))
        for k, recording in enumerate(recordings)
    ]
    return tuple(recording for recording in thinned if recording.chosen)
