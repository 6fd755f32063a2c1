"""Several recordings, one after another: what is done again, what is skipped, and what is never mixed."""

import json
import os
from pathlib import Path

import cv2
import pytest

from edge.interruption import Stop
from edge.one_source import WatchRequest
from edge.outputs import OutputOptions
from edge.recognizer import Recognizer, RecognizerSettings
from edge.watch import Session
from edge.watch_sources import watch_sources
from tests.edge.spots import crossing, spots, write_video
from tests.models import write_spot_model

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def flights():
    Path("flights").mkdir()
    write_video(Path("flights/a.mp4"), crossing())
    write_video(Path("flights/c.mp4"), crossing(4))
    Path("flights/b.mp4").write_text("this is no video")


def test_a_broken_recording_does_not_stop_the_rest(watch, flights):
    done = watch("flights", "--no-video", "--out", "results")
    assert done.returncode == 1
    assert {path.name for path in Path("results").iterdir()} == {"a", "c", "summary.json"}
    combined = json.loads(Path("results/summary.json").read_text())
    assert [combined[key] for key in ("recordings", "done", "skipped", "failed", "interrupted")] == [3, 2, 0, 1, 0]
    assert [outcome["status"] for outcome in combined["outcomes"]] == ["done", "failed", "done"]
    assert combined["outcomes"][0]["summary"]["frames"] == 20
    assert done.stderr.splitlines()[-1].startswith("failed: flights/b.mp4: source must be")
    assert "2 of 3 recordings watched" in done.stdout


class StoppedSoon(Stop):
    """Asked to stop after the second frame."""

    asked = 0

    @property
    def requested(self) -> bool:
        self.asked += 1
        return self.asked > 3  # before the recording, and after each frame


def test_an_interrupted_recording_does_not_count_as_watched(flights, capsys):
    session = Session(Recognizer(Path("spots.onnx"), RecognizerSettings(threads=1)), StoppedSoon())
    request = WatchRequest(("flights",), OutputOptions(Path("results"), video=False))
    assert watch_sources(request, session) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "0 of 3 recordings watched, the last one not to its end; all results: results/"
    )


def test_a_recording_that_cannot_be_opened_has_no_summary_of_an_earlier_run(watch, flights):
    watch("flights", "--no-video", "--out", "results")
    Path("flights/a.mp4").write_text("this is no video any more")
    assert watch("flights", "--no-video", "--out", "results", "--overwrite").returncode == 1
    outcomes = json.loads(Path("results/summary.json").read_text())["outcomes"]
    assert [outcome["status"] for outcome in outcomes] == ["failed", "failed", "done"]
    assert [outcome["summary"] is None for outcome in outcomes] == [True, True, False]


def test_resume_skips_what_is_finished_and_does_the_rest_again(watch, flights):
    watch("flights", "--no-video", "--out", "results")
    unfinished = json.loads(Path("results/c/summary.json").read_text()) | {"exit_reason": "interrupted"}
    Path("results/c/summary.json").write_text(json.dumps(unfinished))
    write_video(Path("flights/b.mp4"), crossing(2))
    before = Path("results/a/records.jsonl").stat().st_mtime_ns
    done = watch("flights", "--no-video", "--out", "results", "--resume")
    assert done.returncode == 0
    assert "3 of 3 recordings watched (1 of them earlier)" in done.stdout
    assert Path("results/a/records.jsonl").stat().st_mtime_ns == before
    assert json.loads(Path("results/c/summary.json").read_text())["exit_reason"] == "end_of_source"
    assert json.loads(Path("results/summary.json").read_text())["skipped"] == 1


def test_resume_of_one_finished_recording_does_nothing(watch):
    write_video(Path("flight.mp4"), crossing(3))
    watch("flight.mp4", "--no-video")
    before = Path("flight/records.jsonl").stat().st_mtime_ns
    done = watch("flight.mp4", "--no-video", "--resume")
    assert (done.returncode, done.stdout) == (0, "flight/ is finished already\n")
    assert Path("flight/records.jsonl").stat().st_mtime_ns == before


def test_a_summary_of_another_shape_is_none_of_ours(watch):
    write_video(Path("flight.mp4"), crossing(3))
    Path("flight").mkdir()
    Path("flight/summary.json").write_text('{"exit_reason": "end_of_source", "model": 3}')
    done = watch("flight.mp4", "--no-video", "--resume")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert Path("flight/summary.json").read_text() == '{"exit_reason": "end_of_source", "model": 3}'


def test_a_run_that_came_only_to_an_earlier_limit_is_not_finished(watch):
    write_video(Path("flight.mp4"), crossing(9))
    watch("flight.mp4", "--no-video", "--limit", 3)
    assert "finished already" in watch("flight.mp4", "--no-video", "--limit", 3, "--resume").stdout
    assert watch("flight.mp4", "--no-video", "--limit", 5, "--resume").returncode == 0
    assert watch("flight.mp4", "--no-video", "--resume").returncode == 0
    assert json.loads(Path("flight/summary.json").read_text())["frames"] == 9


def test_skipping_says_when_the_earlier_run_used_another_model(kestrel, watch):
    write_video(Path("flight.mp4"), crossing(3))
    watch("flight.mp4", "--no-video")
    write_spot_model(Path("other.onnx"), version="2.0")
    done = kestrel("watch", "flight.mp4", "--model", "other.onnx", "--resume", "--no-video")
    assert "finished already with another model (bright-spots 1.0)" in done.stdout


def test_skipping_says_when_the_earlier_run_was_asked_otherwise(watch):
    write_video(Path("flight.mp4"), crossing(3))
    watch("flight.mp4", "--no-video", "--threshold", 0.25, "--every", 2)
    done = watch("flight.mp4", "--no-video", "--threshold", 0.5, "--resume")
    assert "finished already with --threshold 0.25 and --every 2; leave out --resume and add --over" in done.stdout
    done = watch("flight.mp4", "--no-video", "--threshold", 0.25, "--size", "64x64", "--enter", 0.9, "--resume")
    assert "with --every 2 and --size the model's and --enter 0.6; leave out" in done.stdout
    done = watch("flight.mp4", "--no-video", "--threshold", 0.25, "--every", 2, "--resume")
    assert done.stdout == "flight/ is finished already\n"


def test_resume_never_replaces_a_summary_that_no_run_wrote(watch, flights):
    Path("results").mkdir()
    Path("results/summary.json").write_text('{"mine": 1}')
    refused = watch("flights", "--no-video", "--out", "results", "--resume")
    assert refused.returncode == 2
    assert "output must be a folder of an earlier run, or a new one, got 'results'; its summary.json" in refused.stderr
    assert [path.read_text() for path in Path("results").iterdir()] == ['{"mine": 1}']


def test_resume_never_takes_another_recording_of_the_same_name_for_finished(watch):
    for card, frames in (("card1", 3), ("card2", 6)):
        Path(card).mkdir()
        write_video(Path(card, "DJI_0001.mp4"), crossing(frames))
    assert watch("card1", "--no-video", "--out", "results", "--resume").returncode == 0
    before = Path("results/DJI_0001/summary.json").read_text()
    refused = watch("card2", "--no-video", "--out", "results", "--resume")
    assert refused.returncode == 1
    assert "output must be a folder of card2/DJI_0001.mp4 as it is now, got" in refused.stderr
    assert watch("card2", "--out", "results", "--resume").returncode == 1  # nor for one that lacks a video
    assert Path("results/DJI_0001/summary.json").read_text() == before
    assert watch("card2", "--no-video", "--out", "results", "--resume", "--overwrite").returncode == 0
    assert json.loads(Path("results/DJI_0001/summary.json").read_text())["frames"] == 6


def test_resume_does_again_what_lacks_an_output_that_is_asked_for(watch):
    write_video(Path("flight.mp4"), crossing(3))
    watch("flight.mp4", "--no-video")
    assert "finished already" not in watch("flight.mp4", "--csv", "flight.csv", "--resume").stdout
    assert Path("flight.csv").exists()
    assert Path("flight/annotated.mp4").exists()
    assert "finished already" in watch("flight.mp4", "--csv", "flight.csv", "--resume").stdout
    Path("flight/timeline.png").unlink()  # drawn last: the run was killed meanwhile, or the disk was full
    assert "finished already" not in watch("flight.mp4", "--resume").stdout
    assert Path("flight/timeline.png").exists()
    Path("mine.csv").write_text("mine")
    assert watch("flight.mp4", "--csv", "mine.csv", "--resume").returncode == 2  # neither there, nor to be replaced
    assert Path("mine.csv").read_text() == "mine"


def test_resume_does_again_what_was_watched_without_clips_or_with_clips_elsewhere(watch):
    write_video(Path("flight.mp4"), crossing(3))
    watch("flight.mp4", "--no-video")
    for clips in ("clips", "elsewhere"):
        asked = ("flight.mp4", "--no-video", "--clips", clips, "--resume")
        assert "finished already" not in watch(*asked).stdout
        assert Path(clips).is_dir()
        assert "finished already" in watch(*asked).stdout
    assert "finished already" in watch("flight.mp4", "--no-video", "--resume").stdout


def test_a_glob_never_watches_what_earlier_runs_wrote(watch):
    Path("flights/day").mkdir(parents=True)
    write_video(Path("flights/day/a.mp4"), crossing(3))
    write_video(Path("flights/b.mp4"), crossing(3))
    for earlier in (0, 2):
        done = watch("flights/**/*.mp4", "--out", "flights/results", "--resume")
        assert f"2 of 2 recordings watched{f' ({earlier} of them earlier)' if earlier else ''};" in done.stdout


def test_options_of_cameras_that_would_turn_pictures_are_refused_for_recordings(watch):
    write_video(Path("flight.mp4"), crossing(3))
    for option, value in (("rotate", "90"), ("flip", "both")):
        refused = watch("flight.mp4", f"--{option}", value)
        assert refused.returncode == 2
        assert f"{option} must be left out for recordings, it is for live sources, got" in refused.stderr


def test_the_working_directory_is_called_as_it_was_named(watch):
    cv2.imwrite("000.png", spots())
    assert watch(".", "--no-video", "--out", "results").stdout.startswith(".: 1 frame in ")


def test_a_path_that_the_system_refuses_is_an_error_of_one_line(watch):
    write_video(Path("flight.mp4"), crossing(3))
    refused = watch("flight.mp4", "--out", 300 * "a")
    assert refused.returncode == 2
    assert refused.stderr.startswith("kestrel: path must be one that can be used, got 'aaa")
    assert refused.stderr.endswith("File name too long\n")


def test_a_name_that_is_no_text_stands_in_a_chart_all_the_same(watch):
    write_video(Path("flight.mp4"), crossing(3))
    Path("flight.mp4").rename(os.fsdecode(b"fl\xffght.mp4"))
    assert watch(os.fsdecode(b"fl\xffght.mp4"), "--out", "results").returncode == 0
    assert Path("results/timeline.png").exists()


@pytest.mark.parametrize("option", ["--jsonl", "--csv"])
def test_several_recordings_cannot_share_one_file(watch, flights, option):
    refused = watch("flights", option, "all.txt")
    assert refused.returncode == 2
    assert "several recordings" in refused.stderr
    assert not Path("flights-watched").exists()


def test_rows_of_several_recordings_do_not_share_standard_output(watch, flights):
    refused = watch("flights", "--csv", "-")
    assert refused.returncode == 2
    assert "csv must be left out for several recordings, got '-'" in refused.stderr
