"""A live source on a fake clock and fake capture processes; test_capture.py has the real ones."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from edge.capture.messages import CaptureOptions, Failed, Handed, Opened, Target
from edge.capture.process import CapturedPicture
from edge.errors import BrokenStreamError, SourceError
from edge.records import Frame, SizeWH
from edge.sources import live
from edge.sources.black import is_black
from edge.sources.live import LiveOptions, LiveSource, is_same
from edge.sources.signal import SignalRules

TARGET = Target("stream", "rtsp://u:secret@cam/live", CaptureOptions())


@dataclass
class World:
    """A clock that moves when somebody waits, and what each attempt to connect will give, second by second."""

    attempts: list["list[object] | OSError"]
    now_s: float = 100.0
    started_s: list[float] = field(default_factory=list)
    closed: int = 0

    def clock(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def start(self, target: Target) -> "FakeCapture":
        assert target is TARGET
        self.started_s.append(self.now_s)
        script = self.attempts.pop(0) if self.attempts else [Failed("Connection refused")]
        if isinstance(script, OSError):
            raise script
        return FakeCapture(self, iter(script))


class FakeCapture:
    """Answers from a script: a number is seconds of silence."""

    def __init__(self, world: World, script: Iterator[object]) -> None:
        self.world, self.script = world, script
        self.silent_s = 0.0

    def ask(self) -> bool:
        return self.silent_s == 0

    def hear(self, timeout_s: float) -> object:
        if self.silent_s > 0:
            self.silent_s = max(0.0, self.silent_s - timeout_s)
            self.world.sleep(timeout_s)
            return None
        answer = next(self.script, 1e9)
        if isinstance(answer, float | int):
            self.silent_s = float(answer)
            return None
        return answer(self.world.now_s) if callable(answer) else answer

    def close(self) -> None:
        self.world.closed += 1


def picture(
    number: int, value: int | None = None, *, corrupt: bool = False, wh=(4, 2)
) -> Callable[[float], CapturedPicture]:
    """A picture, captured 10 ms before it is heard; each one looks different unless `value` is given."""
    image = np.full((wh[1], wh[0], 3), 20 + number if value is None else value, np.uint8)

    def at(now_s: float) -> CapturedPicture:
        return CapturedPicture(image, Handed(number, SizeWH(*wh), now_s - 0.01, 1e9 + now_s, 1.5, corrupt))

    return at


@pytest.fixture
def watch(monkeypatch):
    def run(attempts, seconds: float, **rules: float) -> tuple[list[Frame], World, LiveSource]:
        world = World(attempts)
        monkeypatch.setattr(live.time, "sleep", world.sleep)
        source = LiveSource(
            TARGET,
            "rtsp://***@cam/live",
            SignalRules(**rules),
            lambda: world.now_s < 100 + seconds,
            start=world.start,
            clock=world.clock,
        )
        frames = []
        with source:
            for frame in source:
                frames.append(frame)
        return frames, world, source

    return run


def test_frames_carry_when_they_were_captured_and_what_was_dropped(watch):
    frames, _, source = watch([[Opened(25.0), picture(1), 0.2, picture(7), 0.1, picture(8), 1.0]], 1.0)
    assert [(f.seq, f.signal, f.dropped) for f in frames] == [(0, "ok", 0), (1, "ok", 5), (2, "ok", 0)]
    assert [f.image[0, 0, 0] for f in frames] == [21, 27, 28]
    assert [round(f.captured_s, 2) for f in frames] == [99.99, 100.19, 100.29]
    assert [round(f.time_s, 2) for f in frames] == [0.0, 0.19, 0.29]
    assert frames[0].captured_at == "2001-09-09T01:48:20.000+00:00"
    assert frames[0].decode_ms == 1.5
    assert (source.info.size_wh, source.info.fps, source.info.live) == (SizeWH(4, 2), 25.0, True)


def test_a_source_that_is_down_at_the_start_gives_frames_without_signal_until_it_is_up(watch):
    refused = [Failed("Connection refused")]
    frames, world, _ = watch([refused, refused, [Opened(None), picture(1), 9.0]], 5.0)
    assert {f.signal for f in frames[:-1]} == {"no_signal"}
    assert frames[-1].signal == "ok"
    assert frames[0].reason == "Connection refused"
    assert all(f.image is None and f.captured_at for f in frames[:-1])
    assert [round(f.time_s) for f in frames[:-1]] == list(range(len(frames) - 1))
    assert len(world.started_s) == 3


def test_the_size_is_not_known_before_the_first_frame(watch):
    frames, _, source = watch([[3.5, picture(1)]], 3.4)
    assert [(f.signal, f.reason) for f in frames] == [("no_signal", "no picture for 3.1 s")]
    assert source.info.size_wh is None


def test_a_stall_is_no_signal_and_the_process_is_abandoned_and_started_again(watch):
    frames, world, _ = watch([[picture(1), 60.0], [picture(1), 60.0]], 6.0)
    assert [f.signal for f in frames][:3] == ["ok", "no_signal", "no_signal"]
    assert frames[1].reason.startswith("no frame for 3")
    assert 2.9 < frames[1].time_s < 3.3
    assert frames[-1].signal == "ok"
    assert frames[-1].dropped == 0
    assert world.closed >= 1


def test_a_stream_that_breaks_is_reported_at_once(watch):
    frames, _, _ = watch([[picture(1), Failed("the stream ended")]], 0.5)
    assert [(f.signal, f.reason) for f in frames] == [("ok", None), ("no_signal", "the stream ended")]


def test_the_size_may_change_after_a_reconnect(watch):
    attempts = [[picture(1), Failed("the stream ended")], [picture(1, wh=(8, 6)), 9.0]]
    frames, _, source = watch(attempts, 3.0)
    assert [f.image.shape for f in frames if f.image is not None] == [(2, 4, 3), (6, 8, 3)]
    assert source.info.size_wh == SizeWH(8, 6)


def test_corrupt_black_and_frozen_pictures_have_no_image(watch):
    script = [picture(1), picture(2, corrupt=True)]
    script += [step for n in range(3, 9) for step in (picture(n, 7), 0.5)]
    script += [step for n in range(9, 16) for step in (picture(n, 99), 1.0)]
    frames, _, _ = watch([script], 12.0)
    assert [f.reason for f in frames] == [
        None,
        "the picture is corrupt",
        *[None] * 4,
        *["the picture is black"] * 2,
        *[None] * 5,
        *["the picture is frozen"] * 2,
    ][: len(frames)]
    assert all((f.image is None) == (f.signal == "bad_frame") for f in frames)


def test_a_picture_is_not_frozen_because_of_an_outage(watch):
    attempts = [[picture(1, 50), 2.5, Failed("the stream ended")], [3.0, picture(1, 50), 0.1, picture(2, 50)]]
    frames, _, _ = watch(attempts, 8.0)
    assert [f.signal for f in frames if f.image is not None] == ["ok"] * 3


def test_an_outage_that_is_too_long_ends_the_source(watch):
    with pytest.raises(BrokenStreamError, match=r"rtsp://\*\*\*@cam/live did not come back: Connection refused"):
        watch([], 100.0, max_outage_s=5.0)


def test_what_can_never_be_opened_is_refused(watch):
    with pytest.raises(SourceError, match="has no srt"):
        watch([[Failed("the FFmpeg in PyAV has no srt", hopeless=True)]], 10.0)


def test_a_machine_without_a_process_to_spare_is_no_signal(watch):
    frames, _, _ = watch([OSError(11, "Resource temporarily unavailable"), [picture(1), 9.0]], 3.0)
    assert frames[0].reason == "no capture process could be started: Resource temporarily unavailable"
    assert frames[-1].signal == "ok"


@pytest.mark.parametrize(("pixel", "black"), [(None, True), ((0, 0), False), ((3, 5), False), ((199, 299), False)])
def test_one_bright_value_is_enough_not_to_be_black(pixel, black):
    image = np.full((200, 300, 3), 7, np.uint8)
    if pixel is not None:
        image[(*pixel, 1)] = 8
    assert is_black(image) is black


def test_the_last_bit_tells_two_pictures_apart():
    image = np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8)
    other = image.copy()
    assert is_same(image, other)
    other[37, 51, 2] ^= 1
    assert not is_same(image, other)
    assert not is_same(image, image[:-1])


@pytest.mark.parametrize(("stall_after_s", "read_timeout_s"), [(3.0, 10.0), (60.0, 60.0)])
def test_a_read_is_not_given_up_before_the_stream_counts_as_stalled(stall_after_s, read_timeout_s):
    options = LiveOptions(CaptureOptions(rotate=90), SignalRules(stall_after_s=stall_after_s))
    assert options.patient_capture == CaptureOptions(rotate=90, read_timeout_s=read_timeout_s)


def test_a_picture_that_is_the_same_after_a_reconnection_is_as_frozen_as_before(watch):
    attempts = [[Opened(None), picture(1, 77), 0.5, Failed("it was one picture")] for _ in range(12)]
    frames, _, _ = watch(attempts, 20.0, frozen_after_s=5.0)
    shown = [(frame.signal, frame.dropped) for frame in frames if frame.signal != "no_signal"]
    assert shown[0] == ("ok", 0)
    assert shown[-1] == ("bad_frame", 0)
