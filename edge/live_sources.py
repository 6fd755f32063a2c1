"""Cameras and streams: one, or several side by side with one model."""

from collections.abc import Sequence
from functools import partial
from itertools import repeat
from pathlib import Path
from threading import Lock

from edge import outputs
from edge.errors import KestrelError, UnusableInputError
from edge.one_source import WatchRequest, watch_one
from edge.side_by_side import Turn, run_side_by_side
from edge.sources import open_source, redact
from edge.tally import Tally
from edge.watch import Session


def watch_live(request: WatchRequest, session: Session) -> int:
    """Watch cameras and streams: one, or several side by side with one model, each into a folder of its own.

    Raises:
        KestrelError: none could be opened, or the only one failed.
    """
    uris, out = request.sources, request.outputs.out
    if request.resume:
        raise UnusableInputError("--resume cannot be used with live sources; with --out they append to their results")
    if len(uris) == 1:
        watch_one(uris[0], outputs.choose_folder(uris[0], out), request, session)
        return 0
    outputs.refuse_shared_files(request.outputs)
    if request.show:
        raise UnusableInputError("--show cannot be used with several sources; watch one of them alone")
    turns = [Turn(lock, len(uris), label) for lock, label in zip(repeat(Lock()), told_apart(uris))]
    folders = outputs.choose_live_folders(uris, out)
    for uri in uris:
        open_source(uri, request.live).close()  # a typo in one is told before any of them begins
    runs = zip(uris, folders, turns, strict=True)
    return run_side_by_side(
        [partial(_watch_beside, uri, folder, request, session, turn) for uri, folder, turn in runs], session.stop
    )


def told_apart(uris: Sequence[str]) -> list[str]:
    """Their addresses without credentials; those that then look alike are numbered."""
    shown = [redact(uri) for uri in uris]
    return [one if shown.count(one) == 1 else f"{one} #{shown[: k + 1].count(one)}" for k, one in enumerate(shown)]


def _watch_beside(uri: str, folder: Path, request: WatchRequest, session: Session, turn: Turn) -> None:
    try:
        watch_one(uri, folder, request, session, turn)
    except KestrelError as error:
        if request.shared is not None and error.exit_code:
            request.shared.tell_lost(outputs.name_of_run(folder), Tally().summary("failed", (str(error),)))
        raise
