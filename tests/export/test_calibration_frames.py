import json

import cv2
import numpy as np
import pytest

from edge.errors import UnusableInputError
from edge.recognizer import Recognizer, RecognizerSettings
from edge.records import SizeWH
from export.calibration_frames import calibration_frames, spread
from tests.edge.spots import spots, write_pictures, write_video
from tests.models import write_spot_model
from training.datasets import Dataset, LabelledPicture, read_dataset

NOTHING: tuple[Dataset, ...] = ()


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory):
    return Recognizer(write_spot_model(tmp_path_factory.mktemp("m") / "m.onnx"), RecognizerSettings(threads=1))


def walk(count: int) -> list[np.ndarray]:
    return [spots((4 * index, 40)) for index in range(count)]


def test_frames_of_a_recording_are_taken_as_the_network_sees_them(recognizer, tmp_path):
    video = write_video(tmp_path / "v.mp4", walk(12))
    frames = calibration_frames(str(video), recognizer, NOTHING, 5)
    assert [frame.shape for frame in frames] == [(192, 320, 3)] * 5
    again = calibration_frames(str(video), recognizer, NOTHING, 5)
    assert all(np.array_equal(a, b) for a, b in zip(frames, again, strict=True))


def test_large_frames_are_cut(tmp_path, recognizer):
    file = write_spot_model(tmp_path / "large.onnx", default_long_side=1280, max_enlarge=4.0)
    folder = write_pictures(tmp_path / "p", walk(3))
    frames = calibration_frames(str(folder), Recognizer(file, RecognizerSettings(threads=1)), NOTHING, 3)
    assert {frame.shape for frame in frames} == {(512, 512, 3)}


def test_a_labelled_folder_serves_without_its_labels(people_rgb, colour):
    frames = calibration_frames(str(people_rgb), colour, NOTHING, 4)
    assert len(frames) == 4


@pytest.fixture(scope="module")
def colour(tmp_path_factory):
    """A recognizer of colour."""
    file = write_spot_model(tmp_path_factory.mktemp("c") / "rgb.onnx", modality="rgb")
    return Recognizer(file, RecognizerSettings(threads=1))


def quilt(seed: int, side_px: int = 20) -> np.ndarray:
    """(160, 160, 3) patches of random colours, soft at their borders as real pictures are."""
    squares = np.random.default_rng(seed).integers(0, 256, (160 // side_px, 160 // side_px, 3), np.uint8)
    return cv2.resize(squares, (160, 160), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("place", [0, 1])
def test_frames_that_the_model_is_measured_on_do_not_count(colour, people_rgb, tmp_path, place):
    others = Dataset("others", None, read_dataset(people_rgb).pictures[:0])
    measured = [others] * place + [read_dataset(people_rgb)]
    with pytest.raises(UnusableInputError, match=r"at least 2 frames that are not in --validate or --also, got 0"):
        calibration_frames(str(people_rgb), colour, measured, 2)


def test_nor_do_they_when_they_were_saved_again(colour, tmp_path):
    shown = [quilt(seed) for seed in range(3)]
    folder = write_pictures(tmp_path / "p", shown)
    files = sorted(folder.iterdir())
    nobody = np.zeros((0, 4), np.float32)
    measured = Dataset(
        "v", "rgb", tuple(LabelledPicture(f, SizeWH(160, 160), nobody, nobody, "", "", nobody) for f in files)
    )
    again = tmp_path / "again"
    again.mkdir()
    for k, image in enumerate([*shown, quilt(7), quilt(8)]):
        cv2.imwrite(str(again / f"{k}.jpg"), cv2.resize(image, None, fx=0.7, fy=0.7), [cv2.IMWRITE_JPEG_QUALITY, 60])
    assert len(calibration_frames(str(again), colour, [measured], 2)) == 2
    with pytest.raises(UnusableInputError, match=r"at least 3 frames .*, got 2"):
        calibration_frames(str(again), colour, [measured], 3)


@pytest.mark.parametrize(("grey", "refused"), [(1, False), (2, True)])
def test_a_few_frames_of_the_other_modality_are_refused(colour, tmp_path, grey, refused):
    mixed = [quilt(seed) for seed in range(20 - grey)] + [quilt(99 - k)[..., :1].repeat(3, 2) for k in range(grey)]
    folder = str(write_pictures(tmp_path / "p", mixed))
    if refused:
        with pytest.raises(
            UnusableInputError, match="must be rgb as the model is, got 2 of 20 frames that are grey or"
        ):
            calibration_frames(folder, colour, NOTHING, 20)
    else:
        assert len(calibration_frames(folder, colour, NOTHING, 20)) == 20


def test_a_frame_that_repeats_counts_once(recognizer, tmp_path):
    folder = write_pictures(tmp_path / "p", [spots((40, 40))] * 5)
    with pytest.raises(UnusableInputError, match=r"at least 2 frames .*, got 1"):
        calibration_frames(str(folder), recognizer, NOTHING, 2)


def test_a_folder_most_of_which_is_measured_still_gives_the_others(colour, tmp_path):
    (tmp_path / "p-rgb").mkdir()
    folder = write_pictures(tmp_path / "p-rgb" / "images", [quilt(seed) for seed in range(410)])
    files = sorted(folder.iterdir())
    images = [{"id": k, "file_name": file.name, "width": 160, "height": 160} for k, file in enumerate(files)]
    document = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "person"}]}
    (folder.parent / "annotations.json").write_text(json.dumps(document))
    whole = read_dataset(folder.parent)
    measured = Dataset("measured", "rgb", whole.pictures[:407])
    assert len(calibration_frames(str(folder.parent), colour, (measured,), 3)) == 3


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda folder: folder / "no.mp4", "must be"),
        (lambda folder: folder, "no known layout"),
        (lambda folder: "rtsp://user:secret@127.0.0.1/live", r"must be recorded, got '(?!.*secret).*record it first"),
    ],
)
def test_what_cannot_be_read_is_refused(recognizer, tmp_path, make, rule):
    with pytest.raises(UnusableInputError, match=rule):
        calibration_frames(str(make(tmp_path)), recognizer, NOTHING, 2)


def test_colour_is_refused_for_a_thermal_model(recognizer, people_rgb, tmp_path):
    with pytest.raises(UnusableInputError, match="must be thermal as the checkpoint is, got the rgb people-rgb"):
        calibration_frames(str(people_rgb), recognizer, NOTHING, 2)
    rng = np.random.default_rng(0)
    colour = [np.repeat(np.repeat(rng.integers(0, 256, (8, 8, 3), np.uint8), 20, 0), 20, 1) for _ in range(3)]
    with pytest.raises(
        UnusableInputError, match="must be thermal as the model is, got 3 of 3 frames that are in colour"
    ):
        calibration_frames(str(write_pictures(tmp_path / "colour", colour)), recognizer, NOTHING, 3)


@pytest.mark.parametrize(("there", "count", "expected"), [(0, 3, 0), (2, 3, 2), (10, 3, 3)])
def test_a_few_are_taken_at_even_distances(there, count, expected):
    assert len(spread([np.zeros((1, 1, 3), np.uint8)] * there, count)) == expected
