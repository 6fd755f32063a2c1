from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import InvalidValueError, SourceError
from edge.records import Image
from tests.edge.videos import make_video, number_of
from training.pseudo_labels import save_frames
from training.unlabelled import Recording, ThinSettings, choose_frames, frames_of, thin, thumbnail

GROUND = np.random.default_rng(0).integers(0, 256, (30, 40), dtype=np.uint8)
LANDSCAPE = cv2.cvtColor(cv2.resize(GROUND, (400, 300), interpolation=cv2.INTER_CUBIC), cv2.COLOR_GRAY2BGR)


def view(x: int = 0, gain: float = 1.0, offset: float = 0.0, noise: float = 0.0) -> Image:
    """A window of a made landscape, as a camera at `x` sees it."""
    window = LANDSCAPE[50:200, x : x + 200].astype(np.float32) * gain + offset
    return np.clip(window + np.random.default_rng(1).normal(0, noise + 1e-6, window.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("other", "new"),
    [
        (view(), False),
        (view(noise=8), False),
        (view(gain=0.6, offset=40), False),  # the exposure changed
        (view(x=40), True),  # the camera moved
    ],
)
def test_another_view_is_new_and_another_exposure_is_not(other, new):
    assert thin([thumbnail(view()), thumbnail(other)], 0.1) == ((0, 1) if new else (0,))


def test_a_view_that_comes_back_is_not_new():
    assert thin([thumbnail(view(x)) for x in (0, 80, 0, 80, 160)], 0.1) == (0, 1, 4)


def test_noise_on_plain_ground_is_no_news():
    plain = [np.random.default_rng(k).integers(100, 104, (60, 80, 3), dtype=np.uint8) for k in range(4)]
    assert thin([thumbnail(image) for image in plain], 0.1) == (0,)


def test_a_damaged_recording_of_a_folder_is_left_out_and_one_that_is_named_is_refused(tmp_path):
    make_video(tmp_path / "good.mp4", 30)
    (tmp_path / "lost.mp4").write_bytes((tmp_path / "good.mp4").read_bytes()[:600])
    good, lost = choose_frames([str(tmp_path)], ThinSettings())
    assert Path(good.uri).name == "good.mp4"
    assert not good.problem
    assert (Path(lost.uri).name, lost.chosen) == ("lost.mp4", ())
    assert "lost.mp4" in lost.problem
    with pytest.raises(SourceError, match=r"lost\.mp4"):
        choose_frames([str(tmp_path / "good.mp4"), str(tmp_path / "lost.mp4")], ThinSettings())


def test_of_nothing_nothing_is_kept():
    assert thin([], 0.1) == ()


def test_of_a_video_and_a_folder_the_frames_that_differ_are_chosen_and_decoded_again(tmp_path):
    make_video(tmp_path / "flight.mp4", 60)  # two seconds; every frame has a pattern of its own
    (tmp_path / "pictures").mkdir()
    for k, x in enumerate((0, 0, 100)):
        assert cv2.imwrite(str(tmp_path / "pictures" / f"{k}.png"), view(x))
    found = choose_frames([str(tmp_path / "flight.mp4"), str(tmp_path / "pictures")], ThinSettings())
    assert found == (
        Recording(str(tmp_path / "flight.mp4"), 4, (0, 15, 30, 45)),
        Recording(str(tmp_path / "pictures"), 3, (0, 2)),
    )
    assert [number_of(frame.image) for frame in frames_of(found[0])] == [0, 15, 30, 45]
    assert [frame.name for frame in frames_of(found[1])] == ["0.png", "2.png"]


def test_a_terminal_sees_how_far_the_look_through_a_recording_and_its_frames_are(tmp_path, monkeypatch, capsys):
    make_video(tmp_path / "flight.mp4", 60)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    save_frames(choose_frames([str(tmp_path / "flight.mp4")], ThinSettings()), tmp_path / "images")
    shown = capsys.readouterr().err
    assert "look through: 100%" in shown
    assert "keep: 100%" in shown


def test_a_folder_of_videos_is_taken_video_by_video_and_the_limit_thins_evenly(tmp_path):
    for name in ("a", "b"):
        make_video(tmp_path / f"{name}.mp4", 60)
    found = choose_frames([str(tmp_path)], ThinSettings(limit=4))
    assert [recording.uri for recording in found] == [str(tmp_path / f"{n}.mp4") for n in "ab"]
    assert [recording.chosen for recording in found] == [(0, 30), (15, 45)]
    assert len(choose_frames([str(tmp_path)], ThinSettings(limit=1))) == 1


def test_blank_frames_and_pictures_that_cannot_be_decoded_are_left_out(tmp_path):
    assert cv2.imwrite(str(tmp_path / "a.png"), np.zeros((60, 80, 3), np.uint8))
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match="must hold a frame that can be decoded, got none"):
        choose_frames([str(tmp_path)], ThinSettings())
    assert cv2.imwrite(str(tmp_path / "c.png"), view())
    assert choose_frames([str(tmp_path)], ThinSettings())[0].chosen == (2,)


@pytest.mark.parametrize("uri", ["0", "rtsp://drone.local/live"])
def test_a_live_source_is_no_footage_to_learn_from(uri):
    with pytest.raises(SourceError, match="must be recorded, got the live source"):
        choose_frames([uri], ThinSettings())


def test_footage_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(SourceError, match=r"nowhere\.mp4"):
        choose_frames([str(tmp_path / "nowhere.mp4")], ThinSettings())


@pytest.mark.parametrize(
    ("changes", "rule"),
    [({"every_s": -1.0}, "every must"), ({"least_news": -1.0}, "least_news must"), ({"limit": 0}, "frames must")],
)
def test_settings_out_of_range_are_refused(changes, rule):
    with pytest.raises(InvalidValueError, match=rule):
        ThinSettings(**changes)
