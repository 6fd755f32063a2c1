import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import InvalidValueError, OutputClosedError, ProcessingError, UnusableInputError
from edge.records import Event, FrameRecord, Pedestrian, Record, SizeWH
from edge.sinks import AnnotatedPicturesSink, ChartSink, CsvSink, JsonLinesSink, SummarySink, VideoSink
from edge.sinks.csv import COLUMNS, rows
from edge.sinks.jsonl import Rotation
from tests.edge.recordings import HEADER, SUMMARY, lost, seen

NEAR = Pedestrian((1.234, 2.0, 30.0, 40.0), 0.912342, 7)
FAR = Pedestrian((5.0, 6.0, 7.0, 8.0), 0.3)
RECORDS: tuple[Record, ...] = (HEADER, seen(0), seen(1, NEAR, FAR), Event("appeared", 1 / 30), lost(2), SUMMARY)


def test_each_record_is_one_line_that_is_there_at_once(tmp_path: Path) -> None:
    path = tmp_path / "deeper" / "records.jsonl"
    with JsonLinesSink(path) as sink:
        for written, record in enumerate(RECORDS, 1):
            sink.write(record, None)
            lines = path.read_text().splitlines()
            assert len(lines) == written
            assert json.loads(lines[-1]) == json.loads(json.dumps(record.to_json()))
    sink.close()
    assert [json.loads(line)["record"] for line in lines] == ["header", "frame", "frame", "event", "frame", "summary"]


def test_a_name_that_is_no_text_still_makes_a_line(tmp_path: Path) -> None:
    record = FrameRecord(0, "ok", "clear", 0.1, (), 1.0, None, name="caf\udce9.png")
    for sink in (JsonLinesSink(tmp_path / "r.jsonl"), CsvSink(tmp_path / "r.csv")):
        sink.write(record, None)
        sink.close()
    assert json.loads((tmp_path / "r.jsonl").read_text())["name"] == "caf\udce9.png"
    assert (tmp_path / "r.csv").read_text().splitlines()[1].startswith("0,caf\\udce9.png,,clear,")


def test_live_runs_append_and_recordings_start_afresh(tmp_path: Path) -> None:
    path = tmp_path / "r"
    for append, lines in ((False, 2), (True, 3), (True, 4), (False, 2)):
        with CsvSink(path, append=append) as sink:
            sink.write(seen(0), None)
        assert len(path.read_text().splitlines()) == lines
    for append, lines in ((False, 1), (True, 2), (False, 1)):
        with JsonLinesSink(path, append=append) as sink:
            sink.write(HEADER, None)
        assert len(path.read_text().splitlines()) == lines


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (seen(3, time_s=0.1), [(3, None, 0.1, "clear", 0.75, 0, None, None, None, None, None, None)]),
        (lost(0), [(0, None, 0.0, "unknown", None, None, None, None, None, None, None, None)]),
        (
            seen(1, NEAR, FAR, time_s=0.5),
            [
                (1, None, 0.5, "pedestrian", 0.75, 2, 1.23, 2.0, 30.0, 40.0, 0.91234, 7),
                (1, None, 0.5, "pedestrian", 0.75, 2, 5.0, 6.0, 7.0, 8.0, 0.3, None),
            ],
        ),
    ],
)
def test_rows_of_a_frame(record: FrameRecord, expected: list[tuple[object, ...]]) -> None:
    assert rows(record) == expected


def test_the_csv_holds_frames_alone(tmp_path: Path) -> None:
    with CsvSink(tmp_path / "r.csv") as sink:
        for record in RECORDS:
            sink.write(record, None)
    lines = (tmp_path / "r.csv").read_text().splitlines()
    assert lines[0] == ",".join(COLUMNS)
    assert [line.split(",")[0] for line in lines[1:]] == ["0", "1", "1", "2"]


def test_the_summary_file_holds_the_summary_and_the_headers_facts(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    with SummarySink(path) as sink:
        for record in RECORDS[:-1]:
            sink.write(record, None)
        assert not path.exists()
        sink.write(SUMMARY, None)
    summary = json.loads(path.read_text())
    assert (summary["record"], summary["frames"], summary["fps"], summary["source_fps"]) == ("summary", 3, 2.0, 30.0)
    assert (summary["model"]["name"], summary["source"]) == ("kestrel-rgb-small", HEADER.source)
    assert summary["warnings"] == ["odd source", "odd end"]
    assert [p.name for p in tmp_path.iterdir()] == ["summary.json"]


def test_a_run_that_never_began_has_a_summary_all_the_same(tmp_path: Path) -> None:
    with SummarySink(tmp_path / "summary.json") as sink:
        sink.write(SUMMARY, None)
    assert json.loads((tmp_path / "summary.json").read_text())["exit_reason"] == "end_of_source"


@pytest.mark.parametrize(
    "make",
    [
        JsonLinesSink,
        CsvSink,
        SummarySink,
        ChartSink,
        AnnotatedPicturesSink,
        lambda path: VideoSink(path, SizeWH(64, 48), 30.0),
    ],
)
def test_an_output_that_cannot_be_created_is_refused_in_one_line(tmp_path: Path, make: object) -> None:
    assert callable(make)
    (tmp_path / "file").write_text("in the way of a folder")
    with pytest.raises(UnusableInputError, match=r"^output must be a place that can be written to, got '.*'; \w+"):
        make(tmp_path / "file" / "output")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_said_with_the_name_of_the_file() -> None:
    sink = JsonLinesSink(Path("/dev/full"))
    with pytest.raises(ProcessingError, match=r"^/dev/full could not be written further: No space left on device"):
        sink.write(HEADER, None)
    with pytest.raises(ProcessingError):  # and it stays failed
        sink.write(HEADER, None)
    sink.close()


READER_LEAVES = """
from edge.errors import OutputClosedError
from edge.sinks import JsonLinesSink
from tests.edge.recordings import HEADER
sink = JsonLinesSink(None)
try:
    while True:
        sink.write(HEADER, None)
except OutputClosedError as closed:
    raise SystemExit(closed.exit_code)
"""


def test_a_reader_that_leaves_ends_the_program_quietly() -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", READER_LEAVES]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        assert json.loads(program.stdout.readline())["record"] == "header"
        program.stdout.close()
        assert program.stderr.read() == b""
        assert program.wait(timeout=30) == OutputClosedError.exit_code == 0


def records_of(path: Path) -> list[str]:
    return [json.loads(line)["record"] for line in path.read_text().splitlines()]


def test_long_lines_of_several_sources_stay_whole_for_a_slow_reader() -> None:
    program = (
        "from threading import Thread\n"
        "from edge.sinks.textfile import TextOutput\n"
        "def fill(output, letter):\n"
        "    for _ in range(100): output.put(letter * 9000 + '\\n')\n"
        "threads = [Thread(target=fill, args=(TextOutput(None), letter)) for letter in 'ab']\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as filled:
        assert filled.stdout is not None
        pieces = iter(lambda: os.read(filled.stdout.fileno(), 3000), b"")  # type: ignore[union-attr]
        lines = b"".join(pieces).splitlines()
    assert sorted(lines) == [b"a" * 9000] * 100 + [b"b" * 9000] * 100


def test_rotated_files_stand_alone_and_only_the_newest_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    line = len(json.dumps(seen(0).to_json()))
    with JsonLinesSink(path, append=True, rotation=Rotation(max_mb=5 * line / 1e6, keep=2)) as sink:
        sink.write(HEADER, None)
        for seq in range(40):
            sink.write(seen(seq), None)
        sink.write(SUMMARY, None)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["records.jsonl", "records.jsonl.1", "records.jsonl.2"]
    files = [path, path.with_name("records.jsonl.1"), path.with_name("records.jsonl.2")]
    assert all(records_of(file)[0] == "header" for file in files)
    assert records_of(path)[-1] == "summary"
    seqs = [
        json.loads(line)["seq"]
        for file in reversed(files)
        for line in file.read_text().splitlines()
        if '"frame"' in line
    ]
    assert seqs == list(range(seqs[0], 40))


def test_files_that_an_earlier_run_kept_beyond_what_is_kept_now_go(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    for keep in (5, 2):
        with JsonLinesSink(path, append=True, rotation=Rotation(max_mb=1e-6, keep=keep)) as sink:
            for seq in range(8):
                sink.write(seen(seq), None)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["records.jsonl", "records.jsonl.1", "records.jsonl.2"]


@pytest.mark.parametrize(("max_mb", "keep", "name"), [(0.0, 1, "rotate_mb"), (-1.0, 1, "rotate_mb"), (1.0, 0, "keep")])
def test_a_rotation_that_keeps_nothing_is_refused(max_mb: float, keep: int, name: str) -> None:
    with pytest.raises(InvalidValueError, match=f"^{name} must be"):
        Rotation(max_mb, keep)


def test_standard_output_cannot_rotate() -> None:
    with pytest.raises(InvalidValueError, match="rotate_mb must be left out"):
        JsonLinesSink(None, rotation=Rotation(1.0))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        ('{"record": "header"}\n', '{"record": "header"}\n'),
        ('{"record": "header"}\n{"record": "fra', '{"record": "header"}\n'),
        ('{"record": "hea', ""),
        ('{"record": "header"}\n{"rec', '{"record": "header"}\n'),
        ('{"record": "header"}\n{', '{"record": "header"}\n'),
        ("somebody's own line", "somebody's own line\n"),
    ],
)
def test_a_line_that_a_killed_run_cut_off_is_removed_and_nothing_else(tmp_path: Path, before: str, after: str) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(before)
    JsonLinesSink(path, append=True).close()
    assert path.read_text() == after


FIRST = ",".join(COLUMNS) + "\n"
ROW = "1,,0.03,pedestrian,0.9,1,10.5,20.1,30.2,40.0,0.9,\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", FIRST),
        (FIRST[:20], FIRST),
        (FIRST[:-1], FIRST),
        (FIRST, FIRST),
        (FIRST + ROW, FIRST + ROW),
        (FIRST + ROW + ROW[:35], FIRST + ROW),
        (FIRST + ROW[:1], FIRST),
        ("somebody's,table\n1,2", "somebody's,table\n1,2\n"),
        ("seq,name\n1,a", "seq,name\n1,a\n"),
    ],
)
def test_a_row_that_was_cut_off_is_removed_from_our_own_table_alone(tmp_path: Path, before: str, after: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(before)
    CsvSink(path, append=True).close()
    assert path.read_text() == after


def test_what_was_written_is_synced_to_the_disk_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.append(descriptor), real(descriptor))[1])
    with JsonLinesSink(tmp_path / "r.jsonl", fsync_s=0.0) as sink:
        made = len(synced)  # the name of the file itself
        sink.write(HEADER, None)
        sink.idle()
        assert len(synced) == made + 1
    with JsonLinesSink(tmp_path / "s.jsonl", fsync_s=1000.0) as sink:
        made = len(synced)
        sink.write(HEADER, None)
        sink.idle()
        assert len(synced) == made
    assert len(synced) == made + 1  # closed, and on the disk


FULL_DISK_WRITER = """
import resource, signal, sys
from pathlib import Path
from edge.sinks import JsonLinesSink
from edge.sinks.queued import Deadline, QueuedSink, QueueRule
from tests.edge.recordings import HEADER, SUMMARY, seen
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
path = Path(sys.argv[1])
make = lambda: JsonLinesSink(path, append=True)
sink = QueuedSink("records", make, QueueRule(live=True, capacity=1000, images=False, retry_s=0.0), Deadline(5.0))
sink.write(HEADER, None)
for seq in range(200):
    sink.write(seen(seq), None)
while not sink.dropped + sink.failures:
    pass
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
sink.write(SUMMARY, None)
sink.close()
"""


def test_a_live_run_outlives_a_full_disk_and_loses_nothing_that_was_written(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    command = [sys.executable, "-c", FULL_DISK_WRITER, str(path)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=True)
    assert "records failed" in done.stderr
    assert "File too large" in done.stderr
    assert "records works again" in done.stderr
    kinds = records_of(path)  # every line is whole
    assert kinds[0] == "header"
    assert kinds[-1] == "summary"
    assert kinds.count("frame") > 50
