import json
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.bench.command import BenchOutputs, sort_operands
from edge.bench.compare import Contender, compare
from edge.bench.crowd import crowd
from edge.bench.feed import MADE_WH, EndlessSource, MadeFrames
from edge.bench.figures import stage_table
from edge.bench.run import BenchRequest
from edge.bench.sweep import PEOPLE, StageGrowth
from edge.errors import InvalidValueError, ProcessingError
from edge.interruption import Stop
from edge.machine import peak_rss_mb, temperature_c
from edge.recognizer import Recognizer, RecognizerSettings
from edge.records import STAGES
from tests.edge.spots import HEIGHT, WIDTH, crossing, spots, write_pictures, write_video
from tests.models import write_spot_model

FIELDS = {"fps", "cpu_s_per_frame", "peak_rss_mb", "provider", "threads", "model", "precision", "input_wh", "stage_ms"}


pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def bench(kestrel):
    def call(*arguments: object, seconds: float = 0.2) -> subprocess.CompletedProcess[str]:
        return kestrel("bench", *arguments, "--threads", 1, "--seconds", seconds)

    return call


def figures(file: str = "bench.json") -> dict:
    return json.loads(Path(file).read_text())


def ran(stage_ms: dict) -> set[str]:
    assert list(stage_ms) == list(STAGES)
    for one in stage_ms.values():
        assert one is None or (0 <= one["p50"] <= one["p95"] <= one["p99"] <= one["max"] and len(one) == 4)
    return {stage for stage, one in stage_ms.items() if one is not None}


def is_picture(file: str) -> bool:
    return Path(file).read_bytes().startswith(b"\x89PNG")


def test_without_a_source_it_makes_its_own_1080p_frames(bench):
    done = bench("--model", "spots.onnx", "--json", "bench.json")
    assert (done.returncode, done.stderr) == (0, "")
    found = figures()
    assert set(found) >= FIELDS
    assert ran(found["stage_ms"]) == {"preprocess", "infer", "postprocess", "draw", "encode"}
    assert (found["model"], found["precision"], found["threads"]) == ("bright-spots", "fp32", 1)
    assert (found["provider"], found["input_wh"]) == ("CPUExecutionProvider", [320, 192])
    assert (found["frame_wh"], found["frames"] > 0) == ([1920, 1080], True)
    assert found["fps"] == pytest.approx(found["frames"] / found["seconds"], rel=0.01)
    assert found["cpu_s_per_frame"] > 0
    assert found["peak_rss_mb"] > 1
    assert is_picture("bench.png")
    assert "recognition" in done.stdout
    assert "frames a second" in done.stdout


def test_a_video_is_decoded_too(bench):
    write_video(Path("flight.mp4"), crossing(40))
    assert bench("flight.mp4", "--model", "spots.onnx", "--json", "bench.json", "--chart", "a.png").returncode == 0
    assert ran(figures()["stage_ms"]) == set(STAGES) - {"track"}
    assert is_picture("a.png")
    assert not Path("bench.png").exists()


def test_without_video_nothing_is_drawn_or_encoded(bench):
    assert bench("--model", "spots.onnx", "--no-video", "--json", "bench.json").returncode == 0
    assert ran(figures()["stage_ms"]) == {"preprocess", "infer", "postprocess"}


def test_pictures_of_all_sizes_are_measured(bench):
    write_pictures(Path("pictures"), [spots((40, 80)), spots(width=64, height=48)])
    assert bench("pictures", "--model", "spots.onnx", "--json", "bench.json").returncode == 0
    assert ran(figures()["stage_ms"]) == set(STAGES) - {"track"}
    assert figures()["input_wh"] is None


@pytest.mark.parametrize("write", [write_video, write_pictures])
def test_the_decoding_of_what_has_one_frame_is_measured(bench, write):
    write(Path("single.mp4"), [spots()])
    done = bench("single.mp4", "--model", "spots.onnx", "--no-video", "--json", "bench.json")
    assert done.returncode == 0
    assert "decode" in ran(figures()["stage_ms"])


def test_the_size_is_what_was_asked_for(bench):
    assert bench("--model", "spots.onnx", "--size", "96x64", "--no-video", "--json", "bench.json").returncode == 0
    assert figures()["input_wh"] == [96, 64]


def test_a_size_that_the_network_cannot_take_is_rounded_up_and_said(bench):
    done = bench("--model", "spots.onnx", "--size", "90x50", "--no-video", "--json", "bench.json")
    assert done.returncode == 0
    assert "warning: size 90x50 is rounded up to 96x64" in done.stderr
    assert figures()["warnings"] == ["size 90x50 is rounded up to 96x64: sides are multiples of the network's stride"]
    compared = bench("--compare", "spots.onnx", "spots.onnx", "--size", "90x50", "--json", "bench.json")
    assert "warning: spots.onnx: size 90x50 is rounded up to 96x64" in compared.stderr


def test_without_video_frames_are_decoded_at_the_networks_size(bench):
    write_video(Path("flight.mp4"), crossing(40))
    done = bench("flight.mp4", "--model", "spots.onnx", "--size", "64x48", "--no-video", "--json", "bench.json")
    assert done.returncode == 0
    assert ran(figures()["stage_ms"]) == {"decode", "preprocess", "infer", "postprocess"}
    assert figures()["frame_wh"] == [WIDTH, HEIGHT]


def test_figures_on_standard_output_stand_alone(bench):
    done = bench("--model", "spots.onnx", "--no-video", "--json", "-")
    assert json.loads(done.stdout)["model"] == "bright-spots"
    assert "frames a second" in done.stderr
    assert is_picture("kestrel-bench.png")


def test_models_are_compared_in_one_run(bench):
    write_spot_model(Path("other.onnx"), name="other", default_long_side=160)
    done = bench("--compare", "spots.onnx", "other.onnx", "--json", "bench.json")
    assert (done.returncode, done.stderr) == (0, "")
    first, second = figures()["compared"]
    assert (first["model"], first["ratio"]) == ("bright-spots", 1.0)
    assert (second["model"], second["input_wh"]) == ("other", [160, 96])
    assert second["ratio"] == pytest.approx(second["recognition_ms"]["p50"] / first["recognition_ms"]["p50"], rel=0.05)
    assert set(second["stage_ms"]) == {"preprocess", "infer", "postprocess"}
    assert "other.onnx / spots.onnx: " in done.stdout
    assert is_picture("bench.png")


def test_three_models_are_compared_on_the_users_own_footage(bench):
    write_video(Path("flight.mp4"), crossing(4))
    done = bench("flight.mp4", "--compare", "spots.onnx", "spots.onnx", "spots.onnx", "--json", "bench.json")
    assert done.returncode == 0
    assert len(figures()["compared"]) == 3
    assert figures()["source"] == "flight.mp4"


class Counting(Recognizer):
    """Counts the closer looks that were wanted."""

    closer_looks = 0

    def run_graph(self, tensor):
        self.closer_looks += 1
        return super().run_graph(tensor)


@pytest.mark.parametrize(("write", "looks_closer"), [(write_video, False), (write_pictures, True)])
def test_models_are_compared_as_watch_flies_them(here, write, looks_closer):
    many = spots(*[(16 + 40 * x, 16 + 40 * y) for x in range(4) for y in range(3)])
    source, model = write(here / "flight.mp4", [many] * 4), write_spot_model(here / "closer.onnx", closer_look=2.0)
    models = [Counting(model, RecognizerSettings(threads=1)) for _ in range(2)]
    compare([Contender(model, one) for one in models], BenchRequest(str(source), seconds=0.01), Stop())
    assert [one.closer_looks > 0 for one in models] == [looks_closer] * 2


def undecodable(folder: Path) -> Path:
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_text("no picture")
    return folder


def test_a_comparison_of_what_cannot_be_decoded_ends(bench):
    done = bench("--compare", "spots.onnx", "spots.onnx", undecodable(Path("broken")))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "kestrel: not one picture of broken could be decoded\n"


def test_a_live_source_has_the_size_that_it_tells_with_its_first_frame(bench):
    assert bench("test:96x64@50", "--model", "spots.onnx", "--json", "bench.json").returncode == 0
    assert figures()["frame_wh"] == [96, 64]
    assert figures()["input_wh"] is not None
    note = "a live source is decoded in another process, whose CPU time and memory are not counted"
    assert any(warning.startswith(note) for warning in figures()["warnings"])


def test_a_stream_that_never_comes_is_given_up():
    with (
        EndlessSource("tcp://127.0.0.1:9", lambda: False, patience_s=0.1) as source,
        pytest.raises(ProcessingError, match=r"no picture of tcp://127.0.0.1:9 came for 0.1 s: Connection refused"),
    ):
        list(source)


def test_frames_without_a_picture_are_no_frames_of_the_measurement(bench):
    write_pictures(undecodable(Path("some")) / "good", [spots()])
    Path("some/good/000.png").rename("some/c.png")
    done = bench("some", "--model", "spots.onnx", "--no-video", "--json", "bench.json")
    assert done.returncode == 0
    [warning] = figures()["warnings"]
    without = int(warning.split()[0])
    assert warning == f"{without} frames without a picture, warm-up included, are not counted"
    assert 2 * (figures()["frames"] - 1) <= without  # two of three
    assert f"warning: {warning}" in done.stderr


def test_a_source_without_any_picture_has_no_figures(bench):
    done = bench(undecodable(Path("broken")), "--model", "spots.onnx", "--json", "bench.json")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "kestrel: not one picture of broken could be decoded\n"
    assert not Path("bench.json").exists()


def test_the_sweep_shows_how_the_cost_grows(bench):
    done = bench("--sweep", "--model", "spots.onnx", "--json", "bench.json", seconds=0.01)
    assert (done.returncode, done.stderr) == (0, "")
    found = figures()
    assert [point["input_wh"] for point in found["sizes"]][:2] == [[320, 192], [480, 272]]
    assert (found["people"][0], found["people"][-1]) == (0, 300)
    assert [(one["stage"], len(one["ms"])) for one in found["stages"]] == [
        (stage, len(PEOPLE)) for stage in ("postprocess", "draw", "json")
    ]
    assert is_picture("bench.png")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("missing.mp4", "--model", "spots.onnx"), "missing.mp4"),
        (("--model", "missing.onnx"), "model must be one of"),
        (("--model", "text.onnx"), "text.onnx must be an ONNX model"),
        (("--model", "spots.onnx", "--size", "big"), "size must be WxH"),
        (("a.mp4", "b.mp4", "--model", "spots.onnx"), "SOURCE must be at most one"),
        (("--model", "spots.onnx", "--json", "nowhere/bench.json"), "json must be a file in a folder that exists"),
        (
            ("--model", "spots.onnx", "--json", "lost.json"),
            "json must be a file that can be written to, got 'lost.json'",
        ),
        (("--model", "spots.onnx", "--chart", "lost.json"), "chart must be a file that can be written to"),
        (("--model", "spots.onnx", "--chart", "."), "chart must be a file"),
        (("--model", "spots.onnx", "--chart", "-"), "chart must be a file, got '-'"),
        (("--model", "spots.onnx", "--json", "a.png"), "chart must be another file than --json's, got 'a.png'"),
        (("--model", "spots.onnx", "--json", "a", "--chart", "./b/../a"), "chart must be another file than --json's"),
        (("--compare", "spots.onnx"), "models must be at least two, got 1"),
        (("--compare", "spots.onnx", "missing.onnx"), "missing.onnx"),
        (("--compare", "--sweep"), "--compare and --sweep cannot be used together"),
        (("--compare", "spots.onnx", "spots.onnx", "--model", "spots.onnx"), "model must be left out with --compare"),
        (("--compare", "spots.onnx", "spots.onnx", "--no-video"), "--no-video cannot be used together with --compare"),
        (("--sweep", "--model", "spots.onnx", "--no-video"), "--no-video cannot be used together with --sweep"),
        (("a.mp4", "--sweep", "--model", "spots.onnx"), "SOURCE must be left out with --sweep"),
        (("--model", "spots.onnx", "--frames", "3"), "No such option"),
    ],
)
def test_unusable_input_ends_with_one_line(bench, arguments, words):
    Path("text.onnx").write_text("no model")
    Path("b").mkdir()
    Path("lost.json").symlink_to("nowhere/lost.json")
    done = bench(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("kestrel: ")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr
    assert not list(Path().glob("*.png"))


@pytest.mark.parametrize("seconds", [0, -1, "nan", "inf"])
def test_a_run_lasts_some_time(bench, seconds):
    done = bench("--model", "spots.onnx", seconds=seconds)
    assert done.returncode == 2
    assert "seconds must be above 0" in done.stderr


def test_operands_are_told_apart_by_their_names():
    plain = sort_operands(["flight.mp4"], compare=False)
    assert (plain.source, plain.models) == ("flight.mp4", ())
    assert sort_operands([], compare=False).source is None
    compared = sort_operands(["a.onnx", "flight.mp4", "rgb-nano"], compare=True)
    assert (compared.source, compared.models) == ("flight.mp4", ("a.onnx", "rgb-nano"))


def test_the_picture_lies_beside_the_figures():
    assert BenchOutputs().chart_file == Path("kestrel-bench.png")
    assert BenchOutputs(Path("-")).chart_file == Path("kestrel-bench.png")
    assert BenchOutputs(Path("fast.json")).chart_file == Path("fast.png")
    with pytest.raises(InvalidValueError, match="another file than --json's"):
        BenchOutputs(Path("fast"), Path("fast"))


def test_trying_whether_a_file_can_be_written_leaves_no_trace():
    Path("old.json").write_text("figures of yesterday")
    Path("link.png").symlink_to("new.png")
    BenchOutputs(Path("old.json"), Path("link.png"))
    assert Path("link.png").is_symlink()
    assert Path("old.json").read_text() == "figures of yesterday"
    assert not Path("new.png").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_the_table_is_printed_before_a_file_fails(bench):
    done = bench("--model", "spots.onnx", "--no-video", "--json", "/dev/full", "--chart", "a.png")
    assert done.returncode == 1
    assert "frames a second" in done.stdout
    assert done.stderr == "kestrel: /dev/full could not be written: No space left on device\n"


def test_made_frames_move_and_are_the_same_every_time():
    frames, again = MadeFrames(), MadeFrames()
    first, second = [frame.image for frame, _ in zip(frames, range(2), strict=False)]
    assert first is not None
    assert second is not None
    assert first.shape == (MADE_WH.height, MADE_WH.width, 3)
    assert not np.array_equal(first, second)
    assert np.array_equal(first, next(iter(again)).image)
    assert first.std() > 10


def test_made_frames_for_a_thermal_model_are_grey():
    image = next(iter(MadeFrames(grey=True))).image
    assert image is not None
    assert (image[..., 0] == image[..., 2]).all()


def test_a_recording_without_end_keeps_time_and_numbers_going(tmp_path):
    write_video(tmp_path / "flight.mp4", crossing(3))
    taken = []
    with EndlessSource(str(tmp_path / "flight.mp4"), lambda: len(taken) == 7) as source:
        for frame in source:
            taken.append(frame)
    assert [frame.seq for frame in taken] == list(range(7))
    assert [frame.time_s for frame in taken] == pytest.approx([k / 10 for k in range(7)])
    assert [frame.decode_ms is None for frame in taken] == [False, False, False, True, False, False, True]


@pytest.mark.parametrize("people", [0, 1, 300, 500])
def test_a_made_crowd_survives_postprocessing_whole(here, people):
    recognizer = Recognizer(here / "spots.onnx", RecognizerSettings(threads=1))
    placement = recognizer.place(MADE_WH)
    assert len(recognizer.postprocess(crowd(people, placement), placement).scores) == people


@pytest.mark.parametrize(
    ("power", "exponent"), [(0.5, 0.5), (1, 1.0), (2, 2.0), (0, None)], ids=["root", "linear", "square", "free"]
)
def test_growth_is_told_by_its_exponent(power, exponent):
    cost = StageGrowth("postprocess", tuple(1.0 + (people**power if power else 0.0) for people in PEOPLE))
    assert cost.exponent == (None if exponent is None else pytest.approx(exponent))


def test_a_stage_that_did_not_run_has_dashes():
    assert stage_table([("track", None)]).splitlines()[1].split() == ["track", "-", "-", "-", "-"]


def test_the_hottest_sensor_counts_and_a_broken_one_does_not(tmp_path):
    for zone, text in (("0", "41000\n"), ("1", "63500\n"), ("2", "-274000\n"), ("3", "none")):
        (tmp_path / f"thermal_zone{zone}").mkdir()
        (tmp_path / f"thermal_zone{zone}" / "temp").write_text(text)
    assert temperature_c(tmp_path) == 63.5
    assert temperature_c(tmp_path / "missing") is None


def test_peak_memory_is_read_from_the_process_itself(tmp_path):
    (tmp_path / "status").write_text("Name:\tpython\nVmHWM:\t  250000 kB\nVmRSS:\t  1 kB\n")
    assert peak_rss_mb(tmp_path / "status") == pytest.approx(256.0)
    assert (peak_rss_mb(tmp_path / "missing") or 0) > 1


def test_what_is_measured_is_never_overwritten(bench):
    write_video(Path("flight.mp4"), [spots()] * 4)
    before = Path("flight.mp4").read_bytes()
    done = bench("flight.mp4", "--model", "spots.onnx", "--json", "flight.mp4")
    assert (done.returncode, Path("flight.mp4").read_bytes()) == (2, before)
    assert "json must be another file than what is measured, got 'flight.mp4'" in done.stderr
    Path("some").mkdir()
    cv2.imwrite("some/photo.png", np.zeros((32, 32, 3), np.uint8))
    done = bench("some", "--model", "spots.onnx", "--json", "some/photo.json")
    assert "chart must be another file than what is measured, got 'some/photo.png'; name another with" in done.stderr
