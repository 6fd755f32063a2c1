import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from edge.errors import InvalidValueError, KestrelError, ProcessingError
from edge.records import Event, Frame, Pedestrian, SizeWH
from edge.sinks.clips import ClipOptions, ClipsSink
from edge.sinks.own_files import LIST_NAME, Budget, OwnFiles, moment_of
from edge.sinks.segments import SegmentsSink
from edge.sinks.sink import Sink
from tests.edge.recordings import HEADER, SUMMARY, lost, seen

PERSON = Pedestrian((20.0, 24.0, 34.0, 40.0), 0.9)
NO_FLOOR = Budget(min_free_mb=0.0)
FULL_DISK = Budget(min_free_mb=1e9)
SIZE = SizeWH(64, 48)


def captured_at(seq: int) -> str:
    return f"2026-11-25T03:00:{seq // 10 % 60:02d}+00:00"


def frame(seq: int, size_wh: SizeWH = SIZE) -> Frame:
    image = np.full((size_wh.height, size_wh.width, 3), 120, np.uint8)
    return Frame(seq, image, time_s=seq / 10, captured_at=captured_at(seq))


def watch(sink: Sink, seqs: range, appeared: tuple[int, ...] = (), size_wh: SizeWH = SIZE) -> None:
    """Ten frames a second, with people from the first `appeared` on."""
    for seq in seqs:
        people = [PERSON] if appeared and seq >= appeared[0] else []
        sink.write(seen(seq, *people, time_s=seq / 10), frame(seq, size_wh))
        if seq in appeared:
            sink.write(Event("appeared", seq / 10, captured_at(seq)), None)


def lose(sink: Sink, seqs: range) -> None:
    for seq in seqs:
        gone = Frame(seq, None, time_s=seq / 10, captured_at=captured_at(seq), signal="no_signal")
        sink.write(replace(lost(seq), time_s=seq / 10), gone)


def decode(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix == ".mp4")


def clips(folder: Path, before_s: float = 2.0, after_s: float = 3.0, budget: Budget = NO_FLOOR) -> ClipsSink:
    return ClipsSink(ClipOptions(folder, before_s, after_s, budget), "north", 10.0)


def test_a_clip_holds_the_seconds_before_and_after_the_event_and_no_more(tmp_path: Path) -> None:
    with clips(tmp_path) as sink:
        sink.write(HEADER, None)
        watch(sink, range(200), appeared=(100,))
        (clip,) = files(tmp_path)  # it is complete before the run ends
        times_s = [shown.time for shown in decode(clip)]
    assert clip.name == "north-20261125T030008Z.mp4"  # when it begins
    assert times_s == pytest.approx([n / 10 for n in range(51)], abs=1e-4)  # 80 to 130
    bright = [(shown.to_ndarray(format="gray")[30:36, 10:20] > 160).any() for shown in decode(clip)]
    assert bright == [False] * 20 + [True] * 31  # the box comes with the event


def test_no_event_no_clip(tmp_path: Path) -> None:
    with clips(tmp_path) as sink:
        watch(sink, range(50))
        sink.write(Event("gone", 1.0), None)
    assert files(tmp_path) == []


def test_an_event_before_any_frame_makes_no_clip(tmp_path: Path) -> None:
    with clips(tmp_path) as sink:
        sink.write(Event("appeared", 0.0), None)
    assert files(tmp_path) == []


def test_an_event_at_the_very_start_has_a_clip_of_what_there_is(tmp_path: Path) -> None:
    with clips(tmp_path) as sink:
        watch(sink, range(3), appeared=(0,))
        sink.write(SUMMARY, None)
        (clip,) = files(tmp_path)
    assert len(decode(clip)) == 3


def test_events_close_to_each_other_share_a_clip_and_far_ones_do_not(tmp_path: Path) -> None:
    with clips(tmp_path) as sink:
        watch(sink, range(400), appeared=(50, 70, 300))
    near, far = files(tmp_path)
    assert len(decode(near)) == 20 + 50 + 1
    assert len(decode(far)) == 20 + 30 + 1


def test_a_lost_signal_within_a_clip_shows_as_such(tmp_path: Path) -> None:
    with clips(tmp_path) as sink:
        watch(sink, range(20), appeared=(15,))
        lose(sink, range(20, 60))
    (clip,) = files(tmp_path)
    shown = decode(clip)
    assert len(shown) == 15 + 30 + 1
    assert np.median(shown[-1].to_ndarray(format="gray")[36:]) < 70


def test_memory_before_an_event_is_bounded_and_said(tmp_path: Path) -> None:
    sink = ClipsSink(ClipOptions(tmp_path, 5.0, 1.0, NO_FLOOR), "north", 10.0, memory_bytes=20_000)
    for seq in range(200):
        sink.write(seen(seq, time_s=seq / 10), frame(seq))
        assert sink._kept_bytes <= 20_000
    assert sink.warnings == ["clips begin less than 5 s before an event: memory is bounded"]
    watch(sink, range(200, 230), appeared=(200,))
    sink.close()
    (clip,) = files(tmp_path)
    assert 10 < len(decode(clip)) < 60


def test_the_oldest_clips_go_first_and_foreign_files_stay(tmp_path: Path) -> None:
    foreign = tmp_path / "appeared-20200101T000000Z.mp4"
    foreign.write_bytes(b"x" * 100_000)
    with clips(tmp_path, before_s=0.0, after_s=1.0) as sink:
        watch(sink, range(60), appeared=(0, 30))
    first, second = [path for path in files(tmp_path) if path != foreign]
    budget = Budget(max_mb=(second.stat().st_size + 10) / 1e6, min_free_mb=0.0)
    with clips(tmp_path, before_s=0.0, after_s=1.0, budget=budget) as later:  # another run knows them
        watch(later, range(500, 520), appeared=(500,))
        assert not first.exists()
    assert foreign.read_bytes() == b"x" * 100_000
    assert len(files(tmp_path)) <= 3


def test_a_clip_that_somebody_replaced_is_not_deleted(tmp_path: Path) -> None:
    own = OwnFiles(tmp_path, Budget(max_mb=1e-6, min_free_mb=0.0))
    path = own.begin("north", "now")
    path.write_bytes(b"ours")
    own.finish(path)
    path.write_bytes(b"somebody else's")
    assert own.make_room() is None
    assert path.read_bytes() == b"somebody else's"


@pytest.mark.parametrize("line", ["../outside.mp4\t3", "/etc/passwd\t", "\t", "..\t", "link.mp4\t"])
def test_a_list_that_leads_out_of_the_folder_deletes_nothing(tmp_path: Path, line: str) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    outside = tmp_path / "outside.mp4"
    outside.write_bytes(b"abc")
    (folder / "link.mp4").symlink_to(outside)
    (folder / LIST_NAME).write_text(f"{line}\n")
    OwnFiles(folder, Budget(max_mb=1e-9, min_free_mb=0.0)).make_room()
    assert outside.read_bytes() == b"abc"


def test_two_files_of_one_second_have_different_names(tmp_path: Path) -> None:
    own = OwnFiles(tmp_path, NO_FLOOR)
    at = replace(frame(0), captured_at="2026-11-25T04:00:00+01:00")
    names = [own.begin("north", moment_of(at, 0.0)).name for _ in range(3)]
    assert names == [f"north-20261125T030000Z{end}.mp4" for end in ("", "-2", "-3")]


def test_clips_of_a_recording_are_named_by_their_place_in_it(tmp_path: Path) -> None:
    with clips(tmp_path, before_s=1.0) as sink:
        for seq in range(36_750, 36_800):
            sink.write(seen(seq, PERSON, time_s=seq / 10), replace(frame(seq), captured_at=None))
        sink.write(Event("appeared", 3679.0), None)
    assert [path.name for path in files(tmp_path)] == ["north-01h01m18s.mp4"]


def test_clips_stop_before_the_disk_is_full_and_say_so(tmp_path: Path) -> None:
    with clips(tmp_path, budget=FULL_DISK) as sink:
        watch(sink, range(100), appeared=(20, 80))
    assert files(tmp_path) == []
    (warning,) = sink.warnings
    assert warning.startswith("clips pause: ")
    assert "are free on the disk of" in warning


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda folder: ClipOptions(folder, before_s=-1), "clip_before_s"),
        (lambda folder: ClipOptions(folder, after_s=0), "clip_after_s"),
        (lambda folder: Budget(max_mb=0), "max_mb"),
        (lambda folder: Budget(min_free_mb=-1), "min_free_mb"),
        (lambda folder: SegmentsSink(folder, 0.5, None, Budget()), "segment_s"),
        (lambda folder: OwnFiles(folder / "file" / "below", Budget()), "output"),
    ],
)
def test_what_cannot_be_done_is_refused(tmp_path: Path, make: Callable[[Path], object], name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidValueError, match=f"^{name} must be"):
        make(tmp_path)


@pytest.mark.parametrize(
    ("number", "error"),
    [(errno.ENOSPC, ProcessingError), (errno.EIO, ProcessingError), (errno.EACCES, InvalidValueError)],
)
def test_a_full_disk_is_no_wrong_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[KestrelError]
) -> None:
    def write(path: Path, content: str) -> None:
        raise OSError(number, os.strerror(number))

    OwnFiles(tmp_path, NO_FLOOR).begin("north", "t").touch()
    monkeypatch.setattr("edge.sinks.own_files.write_whole", write)
    with pytest.raises(error, match=os.strerror(number)):
        OwnFiles(tmp_path, NO_FLOOR)
    assert (error.exit_code == 2) == (number == errno.EACCES)  # after 2 a service stays down


def segments(folder: Path, segment_s: float = 5.0, budget: Budget = NO_FLOOR) -> SegmentsSink:
    return SegmentsSink(folder, segment_s, 10.0, budget, fsync_s=0.0)


def test_segments_follow_each_other_without_a_gap(tmp_path: Path) -> None:
    with segments(tmp_path) as sink:
        sink.write(HEADER, None)
        watch(sink, range(120))
        sink.skip(frame(120))
        sink.idle()
    assert [path.name for path in files(tmp_path)] == [
        f"annotated-20261125T0300{second:02d}Z.mp4" for second in (0, 5, 10)
    ]
    frames = [decode(path) for path in files(tmp_path)]
    assert [len(part) for part in frames] == [50, 50, 21]
    assert [part[0].time for part in frames] == [0.0, 0.0, 0.0]


def test_a_camera_that_comes_back_with_another_size_gets_a_segment_of_its_own(tmp_path: Path) -> None:
    with segments(tmp_path) as sink:
        lose(sink, range(10))  # down at the start: there is nothing to show yet
        watch(sink, range(10, 20))
        lose(sink, range(20, 30))
        watch(sink, range(30, 40), size_wh=SizeWH(32, 32))
    frames = [decode(path) for path in files(tmp_path)]
    assert [(part[0].width, part[0].height, len(part)) for part in frames] == [(64, 48, 20), (32, 32, 10)]
    assert sink.warnings == []


def test_time_that_jumps_back_begins_a_new_segment(tmp_path: Path) -> None:
    with segments(tmp_path) as sink:
        watch(sink, range(100, 110))
        watch(sink, range(10))
    assert [len(decode(path)) for path in files(tmp_path)] == [10, 10]


def test_the_video_pauses_before_the_disk_is_full_and_says_so_once(tmp_path: Path) -> None:
    with segments(tmp_path, budget=FULL_DISK) as sink:
        watch(sink, range(100))
    assert files(tmp_path) == []
    assert len(sink.warnings) == 1
    assert sink.warnings[0].startswith("the annotated video pauses: ")


def test_the_oldest_segments_make_room_for_new_ones(tmp_path: Path) -> None:
    with segments(tmp_path) as sink:
        watch(sink, range(50))
    size_mb = files(tmp_path)[0].stat().st_size / 1e6
    with segments(tmp_path, budget=Budget(max_mb=2.5 * size_mb, min_free_mb=0.0)) as sink:
        watch(sink, range(50, 400))
    left = files(tmp_path)
    assert 1 <= len(left) <= 4
    assert left[-1].name == "annotated-20261125T030035Z.mp4"
