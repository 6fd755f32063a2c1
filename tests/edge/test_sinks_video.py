import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from edge.records import Frame, Pedestrian, SizeWH
from edge.sinks import VideoSink
from edge.sources import open_source
from tests.edge.recordings import HEADER, SUMMARY, lost, seen
from tests.edge.videos import VARIABLE_STEPS

ROOT = Path(__file__).parents[2]
SIZE = SizeWH(64, 48)
PERSON = Pedestrian((20.0, 24.0, 34.0, 40.0), 0.9)


def frame(seq: int, time_s: float, size_wh: SizeWH = SIZE) -> Frame:
    return Frame(seq, np.full((size_wh.height, size_wh.width, 3), 120, np.uint8), time_s=time_s)


def decode(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def test_the_video_has_the_sources_size_times_and_length(tmp_path: Path) -> None:
    path = tmp_path / "annotated.mp4"
    times_s = np.cumsum([0, *(VARIABLE_STEPS * 10)]) / 90_000
    with VideoSink(path, SIZE, 20.0) as sink:
        sink.write(HEADER, None)
        for seq, time_s in enumerate(times_s):
            sink.write(seen(seq, PERSON), frame(seq, float(time_s)))
        sink.write(SUMMARY, None)
    sink.close()
    frames = decode(path)
    assert [f.time for f in frames] == pytest.approx(times_s.tolist(), abs=1e-5)
    assert {(f.width, f.height) for f in frames} == {(64, 48)}
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.frames == len(times_s)
        assert stream.duration is not None
        assert stream.time_base is not None
        last_s = VARIABLE_STEPS[-1] / 90_000
        assert float(stream.duration * stream.time_base) == pytest.approx(times_s[-1] + last_s, abs=1e-4)
    assert sink.warnings == []


def test_a_closed_video_is_a_plain_mp4_that_can_be_sought(tmp_path: Path) -> None:
    path = tmp_path / "annotated.mp4"
    with VideoSink(path, SIZE, 30.0) as sink:
        for seq in range(200):
            sink.write(seen(seq), frame(seq, seq / 30))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        container.seek(int(5 / stream.time_base), stream=stream)
        landed = next(container.decode(stream))
        assert landed.time is not None
        assert 2.9 < landed.time <= 5.0
    boxes = top_level_boxes(path.read_bytes())
    assert boxes.count("moov") == 1
    assert "moof" not in boxes


def test_a_video_is_whole_once_it_is_settled(tmp_path: Path) -> None:
    path = tmp_path / "annotated.mp4"
    with VideoSink(path, SIZE, 30.0) as sink:
        for seq in range(60):
            sink.write(seen(seq), frame(seq, seq / 30))
        sink.settle()
        assert "moof" not in top_level_boxes(path.read_bytes())
        sink.write(SUMMARY, None)


def top_level_boxes(content: bytes) -> list[str]:
    names, at = [], 0
    while at < len(content):
        length = int.from_bytes(content[at : at + 4])
        if length == 1:
            length = int.from_bytes(content[at + 8 : at + 16])
        names.append(content[at + 4 : at + 8].decode("latin1"))
        at += length or len(content)
    return names


def test_a_single_frame_lasts_as_long_as_the_frame_rate_says(tmp_path: Path) -> None:
    path = tmp_path / "annotated.mp4"
    with VideoSink(path, SIZE, 10.0) as sink:
        sink.write(seen(0), frame(0, 0.0))
    with av.open(str(path)) as container:
        assert container.duration == pytest.approx(100_000, abs=100)


def test_skipped_frames_keep_the_last_boxes(tmp_path: Path) -> None:
    path = tmp_path / "annotated.mp4"
    with VideoSink(path, SIZE, 30.0) as sink:
        sink.skip(frame(0, 0.0))
        sink.write(seen(1, PERSON), frame(1, 1 / 30))
        sink.skip(frame(2, 2 / 30))
        sink.write(seen(3), frame(3, 3 / 30))
        sink.skip(frame(4, 4 / 30))
    has_box = [bool((f.to_ndarray(format="gray")[30:36, 10:20] > 160).any()) for f in decode(path)]
    assert has_box == [False, True, True, False, False]


def test_a_lost_signal_shows_as_such_and_never_as_an_old_picture(tmp_path: Path) -> None:
    path = tmp_path / "annotated.mp4"
    gone = Frame(1, None, time_s=1 / 30, signal="no_signal")
    with VideoSink(path, SIZE, 30.0) as sink:
        sink.write(seen(0, PERSON), frame(0, 0.0))
        sink.write(lost(1), gone)
        sink.skip(Frame(2, None, time_s=2 / 30, signal="no_signal"))
    for shown in decode(path)[1:]:
        grey = shown.to_ndarray(format="gray")
        assert np.median(grey[36:]) < 70  # dark, where the frame before was bright
        assert (grey[16:32] > 200).any()  # the notice


def test_odd_sides_are_padded_by_one_pixel_and_said(tmp_path: Path) -> None:
    path = tmp_path / "annotated.mp4"
    odd = SizeWH(63, 47)
    with VideoSink(path, odd, 30.0) as sink:
        sink.write(seen(0), frame(0, 0.0, odd))
    assert (decode(path)[0].width, decode(path)[0].height) == (64, 48)
    (warning,) = sink.warnings
    assert "64x48 instead of 63x47" in warning


def test_a_source_that_changes_its_size_is_fitted_and_said_once(tmp_path: Path) -> None:
    path = tmp_path / "annotated.mp4"
    with VideoSink(path, SIZE, 30.0) as sink:
        for seq in range(3):
            sink.write(seen(seq), frame(seq, seq / 30, SizeWH(32, 30)))
    assert {(f.width, f.height) for f in decode(path)} == {(64, 48)}
    assert len(sink.warnings) == 1


def test_boxes_stay_around_people_where_a_source_changes_its_size(tmp_path: Path) -> None:
    path, twice = tmp_path / "annotated.mp4", SizeWH(2 * SIZE.width, 2 * SIZE.height)
    x0, y0, x1, y1 = PERSON.box_xyxy
    with VideoSink(path, SIZE, 30.0) as sink:
        sink.write(seen(0, PERSON), frame(0, 0.0))
        sink.write(seen(1, Pedestrian((2 * x0, 2 * y0, 2 * x1, 2 * y1), PERSON.score)), frame(1, 1 / 30, twice))
        sink.skip(frame(2, 2 / 30, twice))
    usual, *others = (decoded.to_ndarray(format="gray").astype(int)[20:] for decoded in decode(path))  # no banner
    assert all(np.abs(other - usual).mean() < 2 for other in others)
    assert np.ptp(usual) > 100


def test_two_frames_at_one_time_are_both_kept(tmp_path: Path) -> None:
    with VideoSink(tmp_path / "a.mp4", SIZE, 30.0) as sink:
        for seq, time_s in enumerate((0.0, 0.5, 0.5, 0.4, 0.6)):
            sink.write(seen(seq), frame(seq, time_s))
    assert len(decode(tmp_path / "a.mp4")) == 5


def test_a_jump_in_time_that_mp4_cannot_hold_is_left_out_and_said(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with VideoSink(path, SIZE, 10.0) as sink:
        for seq, time_s in enumerate((0.0, 0.1, 36_000.1, 36_000.2, 90_000.2, 90_000.3)):
            sink.write(seen(seq), frame(seq, time_s))
    assert [f.time for f in decode(path)] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5], abs=1e-4)
    assert [warning.partition(";")[0] for warning in sink.warnings] == [
        "the source's time jumps by 10.0 h",
        "the source's time jumps by 15.0 h",
    ]


def test_a_colon_in_the_name_of_a_folder_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("10:30").mkdir()
    with VideoSink(Path("10:30/annotated.mp4"), SIZE, 30.0) as sink:
        sink.write(seen(0), frame(0, 0.0))
    assert len(decode(tmp_path / "10:30/annotated.mp4")) == 1


def test_a_video_without_frames_leaves_no_file(tmp_path: Path) -> None:
    with VideoSink(tmp_path / "a.mp4", SIZE, None) as sink:
        sink.write(HEADER, None)
    assert list(tmp_path.iterdir()) == []


PACED_WRITER = """
import sys, time
from pathlib import Path
import numpy as np
from edge.records import Frame, SizeWH
from edge.sinks import VideoSink
from tests.edge.recordings import seen
sink = VideoSink(Path(sys.argv[1]), SizeWH(64, 48), 30.0)
noise = np.random.default_rng(0)
for seq in range(100):
    sink.write(seen(seq), Frame(seq, noise.integers(0, 255, (48, 64, 3), dtype=np.uint8), time_s=seq / 30))
    time.sleep(0.002)
print("written", flush=True)
time.sleep(600)
"""


def test_a_killed_run_leaves_all_but_the_last_second_readable(tmp_path: Path) -> None:
    path = tmp_path / "annotated.mp4"
    command = [sys.executable, "-c", PACED_WRITER, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"written\n"
        program.kill()
    times_s = [f.time for f in decode(path)]
    assert len(times_s) >= 100 - 30
    assert times_s == pytest.approx([seq / 30 for seq in range(len(times_s))], abs=1e-5)


FULL_DISK_WRITER = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from edge.errors import ProcessingError
from edge.records import Frame, SizeWH
from edge.sinks import VideoSink
from tests.edge.recordings import seen
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
sink = VideoSink(Path(sys.argv[1]), SizeWH(64, 48), 30.0)
noise = np.random.default_rng(0)
try:
    for seq in range(1000):
        sink.write(seen(seq), Frame(seq, noise.integers(0, 255, (48, 64, 3), dtype=np.uint8), time_s=seq / 30))
except ProcessingError as error:
    sink.close()
    print(seq, error)
"""


def test_a_full_disk_ends_the_video_with_its_name_and_keeps_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "annotated.mp4"
    command = [sys.executable, "-c", FULL_DISK_WRITER, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    failed_at, _, message = done.stdout.partition(" ")
    assert message.startswith(f"{path} could not be written further: File too large")
    with open_source(str(path)) as source:
        assert sum(1 for _ in source) >= int(failed_at) - 30
    assert done.stderr == ""
