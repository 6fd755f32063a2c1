import math
from pathlib import Path

import pytest

from edge import outputs, results
from edge.errors import InvalidValueError
from edge.outputs import STDOUT, OutputOptions
from edge.sinks.clips import ClipOptions
from edge.sinks.jsonl import Rotation


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("uri", "stem"),
    [
        ("flights/a.b.mp4", "a.b"),
        ("flights", "flights"),
        ("flights/", "flights"),
        ("flights/*.mp4", "flights"),
        ("flights/**/day*.mp4", "flights"),
        ("0", "camera-0"),
        ("/dev/video2", "video2"),
        ("rtsp://pilot:secret@drone.local:8554/live/main", "drone-local-live-main"),
        ("udp://0.0.0.0:5600", "0-0-0-0"),
        ("udp://:5600", "stream"),
        ("rtsp://u:p/w@cam/live?token=secret", "cam-live"),
        ("gst:rtspsrc location=rtsp://u:p@cam/live ! decodebin", "gst-rtspsrc"),
        ("test:640x360@30", "test-640x360-30"),
        ("csi:", "csi"),
    ],
)
def test_the_folder_is_named_after_the_source(uri, stem):
    Path("flights").mkdir()
    Path("flights/a.b.mp4").touch()
    assert outputs.stem_of(uri) == stem


def test_a_glob_of_the_working_directory_is_named_after_it(here):
    Path("a.mp4").touch()
    assert outputs.stem_of("*.mp4") == here.name
    assert outputs.stem_of(".") == here.name


@pytest.mark.parametrize(
    ("recordings", "names"),
    [
        ([], []),
        (["a/x.mp4", "a/y.mp4"], ["x", "y"]),
        (["a/x.mp4", "a/x.mov"], ["x-mp4", "x-mov"]),
        (["a/x.mp4", "b/x.mp4"], ["a-x-mp4", "b-x-mp4"]),
        (["a b/x.mp4", "a-b/x.mp4"], ["0000-x", "0001-x"]),
    ],
)
def test_every_recording_has_a_folder_of_its_own(recordings, names):
    assert outputs.folder_names(recordings) == names


def test_only_recordings_of_one_name_get_longer_ones():
    assert outputs.folder_names(["x/a.mov", "x/a.mp4", "x/b.mp4"]) == ["a-mov", "a-mp4", "b"]
    assert outputs.folder_names(["x/a.mov", "x/a.mp4", "x/a-mp4.ts"]) == ["a-mov", "x-a-mp4", "a-mp4-ts"]


def test_live_sources_of_one_name_have_folders_of_their_own():
    uris = ["rtsp://cam/live", "0", "rtsp://cam:8554/live", "rtsp://u:p@cam/live", "1"]
    names = [str(name) for name in outputs.live_folder_names(uris)]
    assert names == ["cam-live", "camera-0", "cam-live-2", "cam-live-3", "camera-1"]
    assert outputs.live_folder_names([]) == []


def test_results_never_go_into_the_folder_that_is_watched():
    Path("pictures").mkdir()
    assert outputs.choose_folder("pictures", None) == Path("pictures-watched")
    assert outputs.choose_folder("pictures/*.png", None) == Path("pictures-watched")
    assert outputs.choose_folder("pictures", Path("other")) == Path("other")
    with pytest.raises(InvalidValueError, match="out must be another folder than the one that is watched"):
        outputs.choose_folder("pictures", Path("pictures"))


def test_a_live_run_that_starts_again_takes_a_time_stamped_name():
    assert outputs.choose_folder("0", None) == Path("camera-0")
    Path("camera-0").mkdir()
    Path("camera-0/records.jsonl").touch()
    second = outputs.choose_folder("0", None)
    second.mkdir()
    third = outputs.choose_folder("0", None)
    assert second.name.startswith("camera-0-2")
    assert len({"camera-0", second.name, third.name}) == 3


def test_a_live_run_with_a_folder_of_its_own_goes_on_there():
    Path("mine").mkdir()
    Path("mine/records.jsonl").touch()
    assert outputs.choose_folder("0", Path("mine")) == Path("mine")
    assert outputs.choose_live_folders(["0", "0"], Path("mine")) == [Path("mine/camera-0"), Path("mine/camera-0-2")]
    Path("camera-0").mkdir()
    Path("camera-0/records.jsonl").touch()
    first, second = outputs.choose_live_folders(["0", "0"], None)
    assert first.name.startswith("camera-0-2")
    assert second == Path("camera-0-2")


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("camera-0", "camera-0"),
        ("x/camera-0-20261125T030501Z", "camera-0"),
        ("camera-0-20261125T030501Z-2", "camera-0"),
        (".", "kestrel"),
    ],
)
def test_a_source_keeps_its_name_over_restarts(folder, name):
    assert outputs.name_of_run(Path(folder)) == name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (OutputOptions(), "output must be a new or empty folder, got 'full'; add --overwrite"),
        (OutputOptions(jsonl=Path("there.jsonl")), "output must be a new"),
        (OutputOptions(overwrite=True), None),
    ],
)
def test_existing_results_are_refused_without_overwrite(options, message):
    Path("full").mkdir()
    Path("full/records.jsonl").touch()
    Path("there.jsonl").touch()
    if message is None:
        outputs.refuse_existing(Path("full"), options)
    else:
        with pytest.raises(InvalidValueError, match=message):
            outputs.refuse_existing(Path("full"), options)


def test_an_existing_file_for_records_is_refused_too():
    Path("there.jsonl").touch()
    with pytest.raises(InvalidValueError, match=r"output must be a new file, got 'there.jsonl'"):
        outputs.refuse_existing(Path("new"), OutputOptions(jsonl=Path("there.jsonl")))
    outputs.refuse_existing(Path("new"), OutputOptions(jsonl=STDOUT))
    with pytest.raises(InvalidValueError, match=r"output must be a folder, got 'there.jsonl'"):
        outputs.refuse_existing(Path("there.jsonl"), OutputOptions(overwrite=True))


def test_an_empty_folder_is_welcome():
    Path("empty").mkdir()
    outputs.refuse_existing(Path("empty"), OutputOptions())


def test_the_recording_itself_is_never_overwritten():
    Path("flight").mkdir()
    Path("flight/annotated.mp4").touch()
    for options in (OutputOptions(out=Path("flight"), overwrite=True), OutputOptions(csv=Path("flight/annotated.mp4"))):
        with pytest.raises(InvalidValueError, match="output must be another file than the source"):
            outputs.refuse_clashes(options.out or Path("x"), options, "flight/annotated.mp4")


def test_clearing_removes_our_files_and_nobody_elses():
    Path("run/annotated").mkdir(parents=True)
    parts = ("annotated-00h00m00s.mp4", "run-00h00m02s.mp4")
    mine = ("notes.txt", "annotated-by-me.mp4", "records.jsonl.old", "records.jsonl.2")
    Path("run/annotated/day").mkdir()
    pictures = ("annotated/old.jpg", "annotated/day/old.jpg")
    for name in (*results.RESULTS, *pictures, *parts, *mine):
        Path("run", name).touch()
    Path("run/annotated", results.LIST_NAME).write_text("old.jpg\nday/old.jpg\n../notes.txt\n")
    for name in ("records.jsonl", "records.jsonl.1"):
        Path("run", name).write_text('{"record": "header", "schema": 1}\n')
    Path("run", results.LIST_NAME).write_text("".join(f"{name}\t0\n" for name in (*parts, "../elsewhere.mp4")))
    results.clear(Path("run"))
    left = {path.name for path in Path("run").iterdir()}
    assert left == {*mine, results.LIST_NAME, "run-00h00m02s.mp4"}  # a clip is no result of one run alone


@pytest.mark.parametrize("listed", ["", "old.jpg\n"])
def test_clearing_leaves_pictures_alone_that_are_not_ours(listed):
    Path("run/annotated").mkdir(parents=True)
    for name in ("mine.jpg", "old.jpg"):
        Path("run/annotated", name).touch()
    Path("run/annotated", results.LIST_NAME).write_text(listed)
    Path("run/summary.json").write_text('{"exit_reason": "end_of_source"}')
    results.clear(Path("run"))
    assert Path("run/annotated/mine.jpg").exists()
    assert Path("run/annotated/old.jpg").exists() is (listed == "")


def test_a_part_that_is_watched_is_never_replaced():
    Path("run").mkdir()
    Path("run/annotated-00h00m00s.mp4").touch()
    Path("run", results.LIST_NAME).write_text("annotated-00h00m00s.mp4\t0\n")
    with pytest.raises(InvalidValueError, match="output must be another folder than that of the part which is watched"):
        outputs.refuse_clashes(Path("run"), OutputOptions(overwrite=True), "run/annotated-00h00m00s.mp4")


@pytest.mark.parametrize("source", ["job/annotated", "job/annotated/*.jpg", "job/annotated/p0.jpg"])
def test_watched_pictures_are_never_taken_for_results(source):
    Path("job/annotated").mkdir(parents=True)
    Path("job/annotated/p0.jpg").touch()
    with pytest.raises(InvalidValueError, match="output must be another folder than that of the pictures, got 'job'"):
        outputs.refuse_clashes(Path("job"), OutputOptions(), source)


@pytest.mark.parametrize("file", ["r.txt", "out/annotated.mp4", "out/../out/summary.json"])
def test_two_outputs_never_share_a_file(file):
    options = OutputOptions(jsonl=Path(file), csv=Path(file))
    with pytest.raises(InvalidValueError, match="output must be a file of its own for each output"):
        outputs.refuse_clashes(Path("out"), options, "a.mp4")
    outputs.refuse_clashes(Path("out"), OutputOptions(jsonl=Path("out/records.jsonl"), csv=Path("r.csv")), "a.mp4")


def test_clips_and_parts_of_the_video_have_folders_of_their_own():
    clips = ClipOptions(Path("out/../out"))
    outputs.refuse_clashes(Path("out"), OutputOptions(clips=clips), "a.mp4")
    for source, options in (("a.mp4", OutputOptions(clips=clips, segment_s=9)), ("0", OutputOptions(clips=clips))):
        with pytest.raises(InvalidValueError, match="clips must be another folder than that of the video's parts"):
            outputs.refuse_clashes(Path("out"), options, source)


def test_a_folder_that_no_run_wrote_is_not_gone_on_with():
    for folder, file in (("mine", "records.jsonl"), ("killed", "annotated.mp4"), ("begun", "records.jsonl")):
        Path(folder).mkdir()
        Path(folder, file).write_text('{"record": "header"' if folder == "begun" else "mine")
    for folder in ("new", "killed", "begun"):
        outputs.refuse_foreign(Path(folder), OutputOptions())
    with pytest.raises(InvalidValueError, match=r"output must be a folder of an earlier run, or a new one, got 'mine'"):
        outputs.refuse_foreign(Path("mine"), OutputOptions())
    outputs.refuse_foreign(Path("mine"), OutputOptions(overwrite=True))


def test_a_file_that_no_run_wrote_is_not_gone_on_with():
    for content in ('{"record": "header", ', '{"rec', ""):
        Path("records").write_text(content)
        outputs.refuse_foreign(Path("new"), OutputOptions(jsonl=Path("records")))
    for content in ("seq,name,time_s,verdict,presence,count,x0,y0,x1,y1,score,track\n0,", "seq,na", ""):
        Path("rows").write_text(content)
        outputs.refuse_foreign(Path("new"), OutputOptions(jsonl=STDOUT, csv=Path("rows")))
    Path("mine").write_text("seq, mine")
    for options in (OutputOptions(csv=Path("mine")), OutputOptions(jsonl=Path("mine"))):
        with pytest.raises(
            InvalidValueError, match=r"output must be a file of an earlier run, or a new one, got 'mine'"
        ):
            outputs.refuse_foreign(Path("new"), options)
    outputs.refuse_foreign(Path("new"), OutputOptions(csv=Path("mine"), overwrite=True))


def test_links_in_a_circle_are_an_error_of_one_line():
    Path("loop").symlink_to("loop")
    with pytest.raises(InvalidValueError, match="output must be a path that leads somewhere, got 'loop"):
        outputs.refuse_clashes(Path("loop"), OutputOptions(), "a.mp4")


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_times_that_make_no_sense_are_refused(value):
    with pytest.raises(InvalidValueError, match="segment_s must be at least 1, got"):
        OutputOptions(segment_s=value)
    with pytest.raises(InvalidValueError, match="fsync_s must be at least 0, got"):
        OutputOptions(fsync_s=value)
    with pytest.raises(InvalidValueError, match="rotate_mb must be more than 0, got"):
        Rotation(value)


def test_records_and_csv_cannot_share_standard_output():
    with pytest.raises(InvalidValueError, match="csv must be a file where --jsonl goes to standard output"):
        OutputOptions(jsonl=STDOUT, csv=STDOUT)


@pytest.mark.parametrize(
    ("summary", "refused"),
    [
        (None, None),
        ('{"exit_reason": "limit", "source": "cam"}', None),
        ("", None),  # of a power cut
        ('{"exit_reason": "end_of_source", "source": "a.mp4", "source_bytes": 7}', "of a.mp4"),
        ('{"mine": 1}', "with another summary.json"),
    ],
)
def test_a_live_run_goes_on_with_its_own_folder_alone(tmp_path, summary, refused):
    if summary is not None:
        (tmp_path / "summary.json").write_text(summary)
    if refused is None:
        outputs.refuse_recorded(tmp_path)
        return
    with pytest.raises(InvalidValueError, match=f"a new folder, or one of the same live source, got .*{refused}"):
        outputs.refuse_recorded(tmp_path)
