import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from edge.one_source import WatchRequest, watch_one
from edge.outputs import OutputOptions
from edge.recognizer import Recognizer, RecognizerSettings
from edge.records import Image, SizeWH
from edge.sources import open_source
from edge.thermal import (
    IRON,
    PALETTES,
    Palette,
    PaletteReader,
    RollingStretch,
    Spread,
    mend_bad_pixels,
    next_range,
    own_spread,
    recognise_palette,
)
from edge.watch import Session
from tests.edge.spots import spots, write_pictures
from tests.models import write_spot_model


def ground(seed: int = 0, height: int = 96, width: int = 128) -> np.ndarray:
    """(H, W) grey night: smooth ground from 20 to 120, a warm person of 200."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(20, 120, (6, 8)).astype(np.uint8)
    grey = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    grey[40:64, 60:72] = 200
    return grey


def in_grey(grey: np.ndarray) -> Image:
    return np.stack([grey] * 3, -1)


def through_jpeg(image: Image) -> Image:
    decoded = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 70])[1], cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.asarray(decoded, np.uint8)


@pytest.mark.parametrize("palette", PALETTES, ids=lambda p: p.name)
def test_false_colours_become_the_grey_that_they_were_made_of(palette: Palette) -> None:
    grey = ground()
    back = PaletteReader().to_grey(palette.colours[grey])
    assert (back[..., 0] == back[..., 1]).all()
    error = np.abs(back[..., 0].astype(int) - grey)
    assert error.mean() < 2.5
    compressed = PaletteReader().to_grey(through_jpeg(palette.colours[grey]))
    assert np.abs(compressed[..., 0].astype(int) - grey).mean() < 8


def test_grey_frames_and_colour_frames_are_handed_back_untouched() -> None:
    colour = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    for image in (in_grey(ground()), colour, np.zeros((1, 1, 3), np.uint8)):
        assert PaletteReader().to_grey(image) is image
        assert recognise_palette(image) is None


def test_text_over_the_picture_does_not_hide_the_palette() -> None:
    image = IRON.colours[ground()]
    image[:8] = (0, 255, 0)
    palette = recognise_palette(image)
    assert palette is not None
    assert palette.name == "iron"


def test_a_camera_that_changes_its_palette_is_followed() -> None:
    reader, grey = PaletteReader(), ground()
    for palette in (PALETTES[0], PALETTES[1], PALETTES[0]):
        back = reader.to_grey(palette.colours[grey])
        assert np.abs(back[..., 0].astype(int) - grey).mean() < 2.5
    image = in_grey(grey)
    assert reader.to_grey(image) is image


@pytest.mark.parametrize(("modality", "finds"), [("thermal", True), ("rgb", False)])
def test_a_thermal_model_sees_through_the_palette_and_a_colour_model_is_left_alone(
    tmp_path: Path, modality: str, finds: bool
) -> None:
    model = write_spot_model(tmp_path / "spots.onnx", modality=modality)
    recognizer = Recognizer(model, RecognizerSettings(threads=1, input_wh=SizeWH(160, 128)))
    grey = np.zeros((128, 160), np.uint8)
    grey[40:52, 40:52] = 190  # orange in iron: darker in the mean of its channels
    assert (recognizer.recognise(IRON.colours[grey]).presence > 0.7) == finds


# Raw counts.


def counts(grey: np.ndarray, low: int = 7000, step: int = 4) -> np.ndarray:
    return (low + step * grey.astype(np.uint16)).astype(np.uint16)


def test_raw_counts_fill_the_range_of_8_bit() -> None:
    grey = RollingStretch().to_8_bit(counts(ground()))
    assert (grey.dtype, grey.shape) == (np.uint8, (96, 128))
    assert (int(grey.min()), int(grey.max())) == (0, 255)
    assert grey[50, 65] == 255


def test_a_hot_thing_that_crosses_the_picture_does_not_darken_the_rest_at_once() -> None:
    alone, rolling = RollingStretch(), RollingStretch()
    cold, hot = counts(ground()), counts(ground())
    hot[:20, :30] += 2000
    rolling.to_8_bit(cold)
    before = int(alone.to_8_bit(cold)[80, 100])
    own = int(RollingStretch().to_8_bit(hot)[80, 100])
    assert abs(int(rolling.to_8_bit(hot)[80, 100]) - before) < abs(own - before) / 2


@pytest.mark.parametrize(
    ("before", "own", "after"),
    [
        (None, (10.0, 15.0, 20.0), (10.0, 20.0)),
        ((0.0, 100.0), (0.0, 50.0, 100.0), (0.0, 100.0)),
        ((0.0, 100.0), (4.0, 50.0, 150.0), (4.0, 110.0)),  # a step of a tenth at most
        ((0.0, 100.0), (-50.0, 50.0, 93.0), (-10.0, 93.0)),
        ((0.0, 100.0), (500.0, 550.0, 600.0), (500.0, 600.0)),  # another scene
        ((0.0, 100.0), (30.0, 40.0, 70.0), (10.0, 90.0)),
        ((0.0, 100.0), (40.0, 45.0, 50.0), (40.0, 50.0)),  # the camera calibrated itself anew
        ((0.0, 100.0), (0.0, 50.0, 5000.0), (0.0, 110.0)),  # a fire comes into view
        ((0.0, 100.0), (0.0, 2500.0, 5000.0), (0.0, 5000.0)),
        ((5.0, 5.0), (5.0, 5.0, 5.0), (5.0, 5.0)),
        ((5.0, 5.0), (5.0, 7.0, 9.0), (5.0, 9.0)),
    ],
)
def test_the_range_moves_in_small_steps_and_jumps_with_the_scene(
    before: tuple[float, float] | None, own: tuple[float, float, float], after: tuple[float, float]
) -> None:
    assert next_range(before, Spread(*own)) == pytest.approx(after)


def test_the_range_of_a_large_picture_is_that_of_some_of_its_pixels() -> None:
    values = np.tile(np.linspace(0, 1000, 640, dtype=np.float32), (512, 1))
    spread = own_spread(values)
    assert spread is not None
    assert spread == pytest.approx((5, 500, 995), abs=3)


def test_broken_pixels_are_mended_and_small_people_are_not() -> None:
    values = np.full((20, 20), 100, np.float32)
    values[3, 3], values[10, 10], values[0, 19] = 900, -900, 900
    values[15:17, 5:6] = 200  # one pixel wide, two high
    mended = mend_bad_pixels(values, 30)
    assert (mended[3, 3], mended[10, 10], mended[0, 19]) == (100, 100, 100)
    assert (mended[15:17, 5] == 200).all()
    assert mend_bad_pixels(values, 0) is values
    assert mend_bad_pixels(values[:2], 30) is not None


def test_a_dead_pixel_does_not_look_like_a_person() -> None:
    raw = counts(ground())
    raw[10, 100] = 65535
    assert RollingStretch().to_8_bit(raw)[10, 100] < 150


@pytest.mark.parametrize(("name", "codec"), [("raw.mkv", "ffv1"), ("raw.avi", "ffv1")])
def test_a_video_of_16_bit_is_stretched_not_cut_to_its_highest_bits(tmp_path: Path, name: str, codec: str) -> None:
    with av.open(tmp_path / name, "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "gray16le"
        for seed in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(counts(ground(seed)), format="gray16le")))
        container.mux(stream.encode(None))
    with open_source(str(tmp_path / name)) as source:
        frames = list(source)
        assert any("8 bit" in warning for warning in source.warnings)
    assert len(frames) == 3
    for frame in frames:
        assert frame.image is not None
        assert frame.image.shape == (96, 128, 3)
        assert frame.image[50, 65].tolist() == [255, 255, 255]
        assert frame.image.min() < 20


def test_each_recording_of_a_run_has_its_own_palette(tmp_path):
    model = write_spot_model(tmp_path / "thermal.onnx", modality="thermal")
    images = [spots((20 + 10 * k, 40), (200 - 8 * k, 120)) for k in range(4)]
    for name, palette in (("a", cv2.COLORMAP_JET), ("b", cv2.COLORMAP_HOT)):
        write_pictures(tmp_path / name, [cv2.applyColorMap(image, palette) for image in images])
    session = Session(Recognizer(model, RecognizerSettings(threads=1)))

    def records(*names: str) -> list[str]:
        for name in names:
            options = OutputOptions(video=False, overwrite=True)
            watch_one(str(tmp_path / name), tmp_path / "out", WatchRequest((name,), options), session)
        lines = (tmp_path / "out" / "records.jsonl").read_text().splitlines()
        return [json.dumps({**json.loads(line), "stage_ms": None}) for line in lines[1:-1]]

    assert records("a", "b") == records("b")
