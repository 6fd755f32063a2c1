import json
import os
import subprocess
import sys
from pathlib import Path

import av
import pytest

from edge import __main__
from tests.edge.spots import HEIGHT, WIDTH, crossing, spots, write_pictures, write_video
from tests.models import save, spot_model, write_spot_model

pytestmark = pytest.mark.usefixtures("here")


def read_lines(path: str) -> list[dict]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def names(folder: str) -> set[str]:
    return {path.name for path in Path(folder).iterdir()}


def frames_of(video: str) -> int:
    with av.open(video) as container:
        return sum(1 for _ in container.decode(video=0))


def test_a_video_gives_records_an_annotated_video_a_chart_and_a_summary(watch):
    write_video(Path("flight.mp4"), crossing())
    done = watch("flight.mp4")
    assert (done.returncode, done.stderr) == (0, "")
    assert names("flight") == {"records.jsonl", "annotated.mp4", "timeline.png", "summary.json"}
    lines = read_lines("flight/records.jsonl")
    assert [line["record"] for line in lines].count("frame") == 20
    assert (lines[0]["record"], lines[-1]["record"]) == ("header", "summary")
    assert json.loads(Path("flight/summary.json").read_text())["exit_reason"] == "end_of_source"
    assert frames_of("flight/annotated.mp4") == 20
    assert "flight.mp4: 20 frames" in done.stdout
    assert "at most 1 at once" in done.stdout
    assert "results: flight/" in done.stdout


def test_a_folder_of_pictures_gives_annotated_pictures(watch):
    write_pictures(Path("pictures"), [spots((40, 80)), spots()])
    assert watch("pictures", "--out", "results").returncode == 0
    assert names("results") == {"records.jsonl", "annotated", "timeline.png", "summary.json"}
    assert names("results/annotated") == {".kestrel-files", "000.png.jpg", "001.png.jpg"}
    assert [line["name"] for line in read_lines("results/records.jsonl")[1:-1]] == ["000.png", "001.png"]


def test_records_go_to_a_file_instead_of_the_folder_as_csv_too_and_without_video(watch):
    write_video(Path("flight.mp4"), crossing())
    assert watch("flight.mp4", "--jsonl", "deep/er.jsonl", "--csv", "all.csv", "--no-video").returncode == 0
    assert names("flight") == {"timeline.png", "summary.json"}
    assert len(read_lines("deep/er.jsonl")) == 24
    assert len(Path("all.csv").read_text().splitlines()) == 21


def test_records_on_standard_output_stand_alone(watch):
    write_video(Path("flight.mp4"), crossing(3))
    done = watch("flight.mp4", "--jsonl", "-", "--no-video")
    assert [json.loads(line)["record"] for line in done.stdout.splitlines()] == ["header", *["frame"] * 3, "summary"]
    assert "flight.mp4: 3 frames" in done.stderr


def test_options_reach_the_network(watch):
    write_video(Path("flight.mp4"), crossing())
    done = watch("flight.mp4", "--size", "640x384", "--threshold", "0.3", "--limit", 4, "--every", 2)
    header, *frames, summary = read_lines("flight/records.jsonl")
    assert (header["input_wh"], header["threshold"], header["threads"]) == ([640, 384], 0.3, 1)
    assert [line["seq"] for line in frames if line["record"] == "frame"] == [0, 2, 4, 6]
    assert summary["exit_reason"] == "limit"
    assert (done.returncode, done.stderr) == (0, "")


def test_the_video_keeps_every_frame_when_only_some_are_recognised(watch):
    write_video(Path("flight.mp4"), crossing())
    watch("flight.mp4", "--every", 7)
    assert frames_of("flight/annotated.mp4") == 20


def test_a_size_that_is_rounded_to_the_stride_is_a_warning(watch):
    write_video(Path("flight.mp4"), crossing(2))
    done = watch("flight.mp4", "--size", "500x300", "--no-video")
    header, *_, summary = read_lines("flight/records.jsonl")
    assert done.returncode == 0
    assert header["input_wh"] == [512, 304]
    for warnings in (header["warnings"], summary["warnings"], [done.stderr]):
        assert any("size 500x300 is rounded up to 512x304" in warning for warning in warnings)
    assert done.stderr.count("rounded up") == 1


def test_a_truncated_video_is_a_warning(watch):
    whole = write_video(Path("whole.mp4"), crossing(30)).read_bytes()
    Path("cut.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    done = watch("cut.mp4", "--no-video")
    assert done.returncode == 0
    assert "the file ends early" in done.stderr
    assert json.loads(Path("cut/summary.json").read_text())["exit_reason"] == "truncated"


def test_thermal_footage_for_the_colour_model_is_a_warning(kestrel):
    write_spot_model(Path("colour.onnx"), modality="rgb")
    write_video(Path("night.mp4"), crossing(4, first=0))
    done = kestrel("watch", "night.mp4", "--model", "colour.onnx", "--no-video", "--threads", 1)
    assert done.returncode == 0
    assert "try --model thermal" in done.stderr


def test_results_are_not_overwritten_unasked(watch):
    write_video(Path("flight.mp4"), crossing(3))
    assert watch("flight.mp4").returncode == 0
    before = Path("flight/records.jsonl").read_text()
    refused = watch("flight.mp4")
    assert refused.returncode == 2
    assert refused.stderr == (
        "kestrel: output must be a new or empty folder, got 'flight'; "
        "add --resume to finish it, add --overwrite to replace it, or choose another with --out\n"
    )
    assert Path("flight/records.jsonl").read_text() == before
    assert watch("flight.mp4", "--overwrite", "--no-video").returncode == 0
    assert names("flight") == {"records.jsonl", "timeline.png", "summary.json"}


def test_tiles_that_cannot_overlap_are_refused_before_earlier_results_are_removed(watch):
    write_video(Path("flight.mp4"), crossing(3))
    watch("flight.mp4", "--no-video")
    before = Path("flight/records.jsonl").read_text()
    refused = watch("flight.mp4", "--tiles", "--size", "1280x64", "--overwrite")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "size must be larger than the tiles' overlap of 96 px, got '1280x64'" in refused.stderr
    assert Path("flight/records.jsonl").read_text() == before


def bad_inputs() -> list[tuple[list[str], str]]:
    return [
        (["nothing.mp4"], "source must be an existing file"),
        (["flight.mp4", "--model", "yolo"], "model must be one of rgb, rgb-nano, thermal, thermal-nano or an existing"),
        (["flight.mp4", "--model", "flight.mp4"], "must be an ONNX model"),
        (["flight.mp4", "--model", "bare.onnx"], "must carry Kestrel's metadata"),
        (["flight.mp4", "--size", "big"], "size must be WxH with sides of 1 to 8192 px, got 'big'"),
        (["flight.mp4", "--size", "0x64"], "size must be WxH"),
        (["flight.mp4", "--size", "99999x64"], "size must be WxH"),
        (["flight.mp4", "--threshold", "0"], "threshold must be above 0 and at most 1, got 0.0"),
        (["flight.mp4", "--threshold", "nan"], "threshold must be above 0 and at most 1, got nan"),
        (["flight.mp4", "--threshold", "low"], "--threshold"),
        (["flight.mp4", "--every", "0"], "every must be at least 1, got 0"),
        (["flight.mp4", "--every", "x"], "--every"),
        (["flight.mp4", "--limit", "-1"], "limit must be at least 1, got -1"),
        (["flight.mp4", "--threads", "0"], "threads must be at least 1 and at most 256, got 0"),
        (["flight.mp4", "--precision", "fp16"], "--precision"),
        (["flight.mp4", "--out", "flight.mp4"], "output must be a folder"),
        (["flight.mp4", "--out", "flight.mp4/below"], "output must be"),
        (["flight.mp4", "--jsonl", "/proc/nowhere/a.jsonl"], "output must be a place that can be written to"),
        (["flight.mp4", "--jsonl", "-", "--csv", "-"], "csv must be a file"),
        (["flight.mp4", "--nonsense"], "--nonsense"),
        ([], "SOURCE"),
    ]


@pytest.mark.parametrize(("arguments", "message"), bad_inputs())
def test_bad_input_ends_with_one_line_and_exit_code_2(kestrel, arguments, message):
    write_video(Path("flight.mp4"), crossing(2))
    save(Path("bare.onnx"), spot_model(), None)
    model = [] if "--model" in arguments else ["--model", "spots.onnx"]
    done = kestrel("watch", *arguments, *model)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("kestrel: ")
    assert message in line


def test_a_window_without_a_display_is_refused_before_anything_is_written(watch, monkeypatch):
    monkeypatch.setenv("DISPLAY", "nowhere:99")
    monkeypatch.setenv("QT_QPA_PLATFORM", "xcb")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    write_video(Path("flight.mp4"), crossing(2))
    done = watch("flight.mp4", "--show")
    assert done.returncode == 2
    assert done.stderr.startswith("kestrel: --show cannot open a window: there is no display here")
    assert not Path("flight").exists()


def test_models_are_listed_with_what_one_needs_to_know(kestrel):
    done = kestrel("models", "spots.onnx")
    assert done.returncode == 0
    for part in ("spots.onnx", "thermal, small, fp32, version 1.0", "spots-val: ap50 0.990", "none (CC0)", "sha256: "):
        assert part in done.stdout


def test_every_help_text_has_an_example(kestrel):
    for command in ([], ["watch"], ["demo"], ["models"], ["service"]):
        done = kestrel(*command, "--help")
        assert done.returncode == 0
        assert "Example: kestrel" in done.stdout


def test_without_a_command_the_help_is_shown(kestrel):
    done = kestrel()
    assert done.returncode == 2
    assert "watch" in done.stderr


def test_the_version_is_printed(kestrel):
    done = kestrel("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("kestrel ")


def test_an_interrupted_command_finishes_its_files(here):
    write_video(Path("flight.mp4"), [spots((40, 80), (200, 40))] * 600)
    root = Path(__main__.__file__).parents[1]
    arguments = ["watch", "flight.mp4", "--model", "spots.onnx", "--threads", "1", "--jsonl", "-"]
    with subprocess.Popen(
        [sys.executable, "-m", "edge", *arguments],
        env=os.environ | {"PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        lines = [process.stdout.readline() for _ in range(3)]
        process.terminate()
        rest, errors = process.communicate(timeout=60)
    lines = [json.loads(line) for line in (*lines, *rest.splitlines())]
    assert process.returncode == 0, errors
    assert (lines[-1]["record"], lines[-1]["exit_reason"]) == ("summary", "interrupted")
    assert 1 <= lines[-1]["frames"] < 600
    assert frames_of("flight/annotated.mp4") == lines[-1]["frames"]
    assert json.loads(Path("flight/summary.json").read_text())["exit_reason"] == "interrupted"
    with av.open("flight/annotated.mp4") as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (WIDTH, HEIGHT)


def test_a_file_holds_the_options_and_the_command_line_wins(kestrel):
    write_video(Path("flight.mp4"), crossing(6))
    Path("c.toml").write_text('source = "flight.mp4"\nmodel = "spots.onnx"\nthreads = 1\nvideo = false\nlimit = 4\n')
    assert kestrel("watch", "--config", "c.toml", "--limit", 3).returncode == 0
    assert names("flight") == {"records.jsonl", "timeline.png", "summary.json"}
    assert json.loads(Path("flight/summary.json").read_text())["frames"] == 3


def test_the_options_in_force_are_printed_as_such_a_file(kestrel):
    Path("c.toml").write_text('source = "flight.mp4"\nprecision = "fp32"\nlimit = 4\n')
    printed = kestrel("watch", "--config", "c.toml", "--limit", 3, "--print-config")
    assert (printed.returncode, printed.stderr) == (0, "")
    assert not Path("flight").exists()
    Path("printed.toml").write_text(printed.stdout)
    assert 'precision = "fp32"' in printed.stdout
    assert "limit = 3" in printed.stdout
    assert kestrel("watch", "--config", "printed.toml", "--print-config").stdout == printed.stdout


def test_the_source_comes_from_a_file_and_its_variables_too(kestrel):
    Path("camera").write_text("PASS=s@cr:/%t\nrtsp://me:${PASS}@127.0.0.1:0/live\n")
    refused = kestrel("watch", "--source-file", "camera", "--model", "spots.onnx")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "rtsp://***@127.0.0.1:0/live" in refused.stderr
    for command in ("watch", "bench"):
        refused = kestrel(command, "rtsp://me:${PASSWORD_OF_NOBODY}@h/live")
        assert refused.returncode == 2
        assert "got '${PASSWORD_OF_NOBODY}'; set PASSWORD_OF_NOBODY" in refused.stderr


@pytest.mark.parametrize("option", ["--model", "--size", "--every", "--config", "extra", "--precision", "--nonsense"])
def test_no_misplaced_source_shows_its_password(kestrel, option):
    source = "rtsp://me:s3cr@t/:%@127.0.0.1:0/live"
    arguments = [source] if option == "extra" else [option, source]
    refused = kestrel("watch", source, *arguments)
    assert refused.returncode == 2
    assert "s3cr" not in refused.stdout + refused.stderr
    assert "me:" not in refused.stderr


def test_what_starts_it_at_boot_is_printed_or_written(kestrel):
    printed = kestrel("service", "--config", "/etc/k.toml")
    assert printed.returncode == 0
    assert "watch --config /etc/k.toml" in printed.stdout
    assert kestrel("service", "docker").stdout.startswith("# Kestrel in a container")
    written = kestrel("service", "--write", "boot")
    assert written.stdout.splitlines() == ["boot/kestrel.service", "boot/Dockerfile", "boot/compose.yaml"]
    assert kestrel("service", "--write", "boot").returncode == 2
