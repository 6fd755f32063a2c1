"""`kestrel watch` on live sources as a user runs it; faults of real servers are in tests/servers."""

import json
import threading
from pathlib import Path

import pytest

from edge.errors import OutputClosedError, ProcessingError
from edge.interruption import Stop
from edge.live_sources import told_apart
from edge.records import Event, Frame, Record
from edge.side_by_side import LabelledSink, SharedView, run_side_by_side
from edge.sinks import Sink
from edge.view import Sighting, View
from tests.models import write_spot_model


@pytest.fixture(autouse=True)
def colour_model(here):
    write_spot_model(here / "spots.onnx", modality="rgb")


@pytest.fixture
def watch(kestrel):
    return lambda *arguments: kestrel("watch", *arguments, "--model", "spots.onnx", "--threads", 1, "--no-video")


def lines_of(text: str, kind: str) -> list[dict]:
    return [line for line in map(json.loads, text.splitlines()) if line["record"] == kind]


def test_a_live_source_has_the_age_of_its_frames_and_a_size_in_the_header(watch):
    done = watch("test:320x192@50", "--limit", 3)
    assert done.returncode == 0
    text = Path("test-320x192-50/records.jsonl").read_text()
    [header] = lines_of(text, "header")
    assert (header["source"], header["size_wh"], header["fps"]) == ("test:320x192@50", [320, 192], 50.0)
    for line in lines_of(text, "frame"):
        assert line["age_ms"] > 0
        assert line["captured_at"].endswith("+00:00")
        assert "source" not in line


def test_pictures_are_turned_on_request(watch):
    assert (
        watch("test:320x192@50", "--limit", 1, "--rotate", 90, "--flip", "both", "--jsonl", "out.jsonl").returncode == 0
    )
    assert lines_of(Path("out.jsonl").read_text(), "header")[0]["size_wh"] == [192, 320]


def test_a_source_that_is_down_is_unknown_and_never_clear(watch):
    done = watch("tcp://127.0.0.1:9", "--max-outage", 1.5, "--jsonl", "-")
    assert done.returncode == 1
    assert "did not come back: Connection refused" in done.stderr
    [header] = lines_of(done.stdout, "header")
    assert header["size_wh"] is None
    frames = lines_of(done.stdout, "frame")
    assert len(frames) >= 2
    assert {(line["signal"], line["verdict"]) for line in frames} == {("no_signal", "unknown")}
    for line in frames:
        assert [line[name] for name in ("presence", "count", "coverage", "stage_ms", "age_ms")] == [None] * 5
    assert [line["event"] for line in lines_of(done.stdout, "event")] == ["signal_lost"]
    assert lines_of(done.stdout, "summary")[0]["exit_reason"] == "signal_lost"


def test_several_live_sources_share_one_model_and_every_line_names_its_source(watch):
    uris = ["test:320x192@50", "test:96x64@50", "rtsp://me:se/cr@t@127.0.0.1:9/live"]
    done = watch(*uris, "--limit", 3, "--max-outage", 0.5, "--jsonl", "-")
    assert done.returncode == 1  # one of them never came
    shown = [*uris[:2], "rtsp://***@127.0.0.1:9/live"]
    for kind, count in (("header", 1), ("frame", 3), ("summary", 1)):
        sources = [line["source"] for line in lines_of(done.stdout, kind)]
        for source in shown[:2]:
            assert sources.count(source) == count
    assert {line["source"] for line in lines_of(done.stdout, "event")} >= {shown[2]}
    assert all(Path(name, "summary.json").exists() for name in ("test-320x192-50", "test-96x64-50", "127-0-0-1-live"))
    assert "cr@t" not in done.stdout + done.stderr
    assert f"the signal of {shown[2]} did not come back" in done.stderr


def test_a_source_that_is_watched_twice_is_told_apart_in_words_as_well(watch):
    done = watch("test:96x64@50", "test:96x64@50", "--limit", 2)
    for number in (1, 2):
        assert f"test:96x64@50 #{number}: 2 frames" in done.stdout


@pytest.mark.parametrize(("sources", "budget"), [(1, "200.0"), (2, "100.0")])
def test_a_size_that_follows_the_load_has_the_time_of_a_frame_shared_by_all_sources(watch, sources, budget):
    done = watch(*["test:320x192@5", "test:96x64@5"][:sources], "--size", "auto", "--limit", 1, "--jsonl", "-")
    details = [line["detail"] for line in lines_of(done.stdout, "event") if line["event"] == "size_chosen"]
    assert len(details) == sources
    assert all(detail.endswith(f" of {budget} ms allowed") for detail in details)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["test:", "flight.mp4"], "SOURCEs must be all live or all recordings"),
        (["test:", "rstp://cam/live"], "source must be a URL that starts with rtsp://"),
        (["test:64x64@9999999"], "source must be a test pattern like test:1280x720@30"),
        (["test:", "test:", "--show"], "--show cannot be used with several sources"),
        (["test:", "test:", "--jsonl", "all.jsonl"], "jsonl must be left out or '-' for several"),
        (["test:", "--enter", 0.2, "--leave", 0.3], "verdict must be 0 <= leave <= enter <= 1, got (0.3, 0.2)"),
        (["test:", "--stall-after", 0], "stall-after must be above 0 s, got 0.0"),
        (["test:", "--rotate", 45], "rotate must be one of 0, 90, 180, 270, got 45"),
        (["test:", "--rtsp-transport", "http"], "rtsp-transport must be one of tcp, udp, got 'http'"),
    ],
)
def test_what_can_never_work_is_refused_before_anything_is_written(watch, arguments, message):
    done = watch(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert message in line
    assert [path.name for path in Path().iterdir()] == ["spots.onnx"]


class Notebook(Sink):
    """Keeps all that it is given."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.calls: list[object] = []

    def write(self, record: Record, frame: Frame | None) -> None:
        self.calls.append(record)

    def skip(self, frame: Frame) -> None:
        self.calls.append("skip")

    def idle(self) -> None:
        self.calls.append("idle")

    def settle(self) -> None:
        self.calls.append("settle")

    def close(self) -> None:
        self.calls.append("close")


def test_a_label_is_put_on_every_record_and_all_else_is_handed_on():
    notebook = Notebook()
    sink = LabelledSink(notebook, "rtsp://cam/1")
    sink.write(Event("appeared", time_s=1.0), None)
    sink.skip(Frame(0, None, signal="no_signal"))
    sink.idle()
    sink.settle()
    sink.close()
    assert notebook.calls == [Event("appeared", time_s=1.0, source="rtsp://cam/1"), "skip", "idle", "settle", "close"]
    assert notebook.calls[0].to_json()["source"] == "rtsp://cam/1"


def test_one_looks_at_a_time():
    class Crowded(View):
        inside = most = 0

        def look(self, frame: Frame) -> Sighting:
            self.inside += 1
            self.most = max(self.most, self.inside)
            threading.Event().wait(0.002)
            self.inside -= 1
            return Sighting(None)

        def input_wh(self, frame_wh):
            return frame_wh

    view, turn = Crowded(), threading.Lock()

    def look_often() -> None:
        shared = SharedView(view, turn)
        for seq in range(10):
            shared.look(Frame(seq, None, signal="no_signal"))

    threads = [threading.Thread(target=look_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert view.most == 1


def test_a_source_that_fails_does_not_stop_the_others(capsys):
    done, stop = [], Stop()

    def fail() -> None:
        raise ProcessingError("the disk is full")

    assert run_side_by_side([fail, lambda: done.append(1)], stop) == 1
    assert (done, stop.requested) == ([1], False)
    assert capsys.readouterr().err == "kestrel: the disk is full\n"


@pytest.mark.parametrize(("error", "code"), [(OutputClosedError("nobody reads"), 0), (ZeroDivisionError("ours"), None)])
def test_what_concerns_all_stops_all(error, code):
    stop = Stop()

    def fail() -> None:
        raise error

    def wait_for_stop() -> None:
        while not stop.requested:
            threading.Event().wait(0.01)

    runs = [wait_for_stop, fail]
    if code is None:
        with pytest.raises(ZeroDivisionError):
            run_side_by_side(runs, stop)
    else:
        assert run_side_by_side(runs, stop) == code
    assert stop.requested


def test_sources_that_look_alike_without_their_passwords_are_numbered():
    cameras = ["srt://h:8890?streamid=read:cam1", "rtsp://h/a", "srt://h:8890?streamid=read:cam2"]
    hidden = "srt://h:8890?streamid=***"
    assert told_apart(cameras) == [f"{hidden} #1", "rtsp://h/a", f"{hidden} #2"]
