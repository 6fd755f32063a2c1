"""A camera or stream: captured in a process of its own, the newest frame alone, for as long as it takes.

To drive it without a camera, give `start` a function that makes a fake of `CaptureProcess` (ask, hear, close), and
`clock` a clock of your own; with a real server, `open_source("tcp://127.0.0.1:PORT")` is all that it takes, and
`--stall-after`, `--max-outage` and `--frozen-after` shorten the waiting.
"""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np

from edge.capture.messages import CaptureOptions, Failed, Opened, Target
from edge.capture.process import CapturedPicture, CaptureProcess
from edge.errors import BrokenStreamError
from edge.records import Frame, Image, SourceInfo
from edge.sources import signal
from edge.sources.black import SAMPLE, is_black
from edge.sources.signal import SignalRules, Suspicion
from edge.sources.source import Source, unusable

_LISTEN_S = 0.1  # how long to wait before looking whether somebody asked to stop
_OUTAGE_COUNTS_S = 2.0  # at most, as time that a picture has been the same: snapshots are connections of one picture


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """How to open a live source, and when its signal counts as lost."""

    capture: CaptureOptions = field(default_factory=CaptureOptions)
    rules: SignalRules = field(default_factory=SignalRules)

    @property
    def patient_capture(self) -> CaptureOptions:
        """The options of the capture, in which no read is given up before the stream counts as stalled."""
        patience_s = max(self.capture.read_timeout_s, self.rules.stall_after_s)
        return replace(self.capture, read_timeout_s=patience_s)


class LiveSource(Source):
    """Newest frames of one camera or stream, and a frame without signal a second while there are none.

    It never ends by itself but where `max_outage_s` says so. `info` learns size and rate with the first frame.
    `time_s` counts from the start of iteration.
    """

    def __init__(
        self,
        target: Target,
        shown: str,
        rules: SignalRules,
        still_running: Callable[[], bool],
        *,
        start: Callable[[Target], CaptureProcess] = CaptureProcess,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`shown` is the address without credentials; `still_running` is asked ten times a second, False ends it."""
        self.warnings: list[str] = []
        self.info = SourceInfo(shown, size_wh=None, fps=None, frame_count=None, live=True)
        self._target = target
        self._rules = rules
        self._still_running = still_running
        self._start = start
        self._clock = clock
        self._capture: CaptureProcess | None = None

    def __iter__(self) -> Iterator[Frame]:
        """Frames until `still_running` says no.

        Raises:
            BrokenStreamError: the outage lasted longer than `max_outage_s`.
            SourceError: no attempt can ever succeed.
        """
        eye = Eye(self._rules)
        began_s = asked_s = self._clock()
        link = signal.begin(began_s)
        seq = 0
        while self._still_running():
            if link.phase == "waiting":
                self.close()
                time.sleep(_LISTEN_S)
                heard: Opened | CapturedPicture | Failed | None = None
            elif self._capture is None:
                heard = self._connect()
                eye.reconnect()
            else:
                asked_s = self._clock() if self._capture.ask() else asked_s
                heard = self._capture.hear(_LISTEN_S)
            now_s = self._clock()
            match heard:
                case None:
                    link = signal.after_silence(link, asked_s, self._rules, now_s, random.random())
                case Opened():
                    self.info = replace(self.info, fps=heard.fps)
                case Failed():
                    link = signal.after_failure(link, self._reason(heard), now_s, random.random())
                case CapturedPicture():
                    link = signal.after_picture(link, heard.handed.captured_s, now_s)
                    self.info = replace(self.info, size_wh=heard.handed.size_wh)
                    yield eye.frame(heard, seq, began_s)
                    seq += 1
            if signal.report_is_due(link, now_s):
                link = signal.after_report(link, now_s)
                yield self._without_signal(seq, link.reason, now_s - began_s)
                seq += 1
            if signal.is_given_up(link, self._rules, now_s):
                raise BrokenStreamError(f"the signal of {self.info.uri} did not come back: {link.reason}")

    def close(self) -> None:
        """Kill the capture process."""
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.close()

    def _connect(self) -> Failed | None:
        try:
            self._capture = self._start(self._target)
        except OSError as error:
            return Failed(f"no capture process could be started: {error.strerror}")
        return None

    def _reason(self, failed: Failed) -> str:
        if failed.hopeless:
            raise unusable(self.info.uri, "a source that can be opened", failed.reason)
        return failed.reason

    def _without_signal(self, seq: int, reason: str, time_s: float) -> Frame:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        return Frame(seq=seq, image=None, time_s=time_s, captured_at=at, signal="no_signal", reason=reason)


class Eye:
    """Looks at the pictures of one source: which are dropped on the way, and which show nothing.

    A picture that is still the same after a reconnection is as frozen as before; of the outage, two seconds count.
    """

    def __init__(self, rules: SignalRules) -> None:
        self._rules = rules
        self._suspicion = Suspicion()
        self._last: CapturedPicture | None = None
        self._number = 0  # of the last picture in this connection, none yet

    def reconnect(self) -> None:
        """Pictures will be numbered anew."""
        self._number = 0

    def frame(self, picture: CapturedPicture, seq: int, began_s: float) -> Frame:
        """The frame of the next picture; without its image where it is corrupt, black or frozen."""
        handed, last = picture.handed, self._last
        last_s = handed.captured_s if last is None else last.handed.captured_s
        if not self._number:
            outage_s = max(0.0, handed.captured_s - last_s - _OUTAGE_COUNTS_S)
            self._suspicion, last_s = signal.after_outage(self._suspicion, outage_s), last_s + outage_s
        self._suspicion = signal.next_suspicion(
            self._suspicion,
            black=is_black(picture.image),
            same=last is not None and is_same(last.image, picture.image),
            last_s=last_s,
            now_s=handed.captured_s,
        )
        fault = signal.fault_of(self._suspicion, handed.captured_s, self._rules)
        fault = "the picture is corrupt" if handed.corrupt else fault
        dropped, self._number, self._last = handed.number - self._number - 1, handed.number, picture
        return Frame(
            seq=seq,
            image=None if fault else picture.image,
            time_s=max(0.0, handed.captured_s - began_s),
            captured_at=datetime.fromtimestamp(handed.captured_at_s, UTC).isoformat(timespec="milliseconds"),
            captured_s=handed.captured_s,
            signal="bad_frame" if fault else "ok",
            reason=fault,
            dropped=dropped,
            decode_ms=handed.decode_ms,
        )


def is_same(one: Image, other: Image) -> bool:
    """Whether two pictures are the same to the bit."""
    return one.shape == other.shape and np.array_equal(one[SAMPLE], other[SAMPLE]) and np.array_equal(one, other)
