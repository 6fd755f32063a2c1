"""What `kestrel watch` was asked for: recordings, or live sources."""

from edge.errors import UnusableInputError
from edge.live_sources import watch_live
from edge.one_source import WatchRequest
from edge.recognizer import Recognizer
from edge.recordings import watch_recordings
from edge.sources import is_live
from edge.tiles import refuse_small
from edge.watch import Session


def watch_sources(request: WatchRequest, session: Session) -> int:
    """Watch what the request names; the exit code is 1 where one of several sources failed.

    Raises:
        KestrelError: nothing could be done, or the only source failed on the way.
    """
    _refuse_misfits(request, session.recognizer)
    live = [is_live(uri) for uri in request.sources]
    if any(live) and not all(live):
        raise UnusableInputError(
            "SOURCEs must be all live or all recordings; start another `kestrel watch` for the rest"
        )
    if any(live):
        return watch_live(request, session)
    return watch_recordings(request, session)


def _refuse_misfits(request: WatchRequest, recognizer: Recognizer) -> None:
    """Before anything is written: raises InvalidValueError for options that do not go together with this model."""
    request.verdict.applied_to(recognizer.metadata.verdict)
    if request.view.tiles != "off" and recognizer.exact_input_wh is not None:
        refuse_small(recognizer.exact_input_wh)
