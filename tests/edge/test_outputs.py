from pathlib import Path

import pytest

from edge import outputs
from edge.errors import InvalidValueError
from edge.outputs import STDOUT, OutputOptions


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
            outputs.refuse_source(options.out or Path("x"), options, "flight/annotated.mp4")


def test_clearing_removes_our_files_and_nobody_elses():
    Path("run/annotated").mkdir(parents=True)
    for name in (*outputs.RESULTS, "annotated/old.jpg", "notes.txt"):
        Path("run", name).touch()
    outputs.clear(Path("run"))
    assert [path.name for path in Path("run").iterdir()] == ["notes.txt"]


def test_clearing_leaves_a_folder_alone_that_is_not_ours():
    Path("run/annotated").mkdir(parents=True)
    Path("run/annotated/mine.jpg").touch()
    outputs.clear(Path("run"))
    assert Path("run/annotated/mine.jpg").exists()


def test_records_and_csv_cannot_share_standard_output():
    with pytest.raises(InvalidValueError, match="csv must be a file where --jsonl goes to standard output"):
        OutputOptions(jsonl=STDOUT, csv=STDOUT)
