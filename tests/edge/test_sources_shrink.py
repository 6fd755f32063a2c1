import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from edge.records import Image, SizeWH
from edge.sources.quiet import silence
from edge.sources.shrink import Orientation, ToBgr, orientation_of, upright_image
from edge.sources.video import VideoSource
from edge.sources.video_av import read_with_pyav
from tests.edge.videos import images_of_opencv

silence()
WIDTH, HEIGHT = 320, 192


def painted(number: int, size_wh: SizeWH) -> Image:
    """Smooth colours, as the ground from above has them, in all directions of the colour space."""
    noise = np.random.default_rng(number).integers(40, 210, (6, 10, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, (size_wh.width, size_wh.height), interpolation=cv2.INTER_CUBIC), np.uint8)


def write_painted(path: Path, pixel_format: str = "yuv420p", tags: str = "", size_wh: SizeWH | None = None) -> Path:
    """Five painted frames."""
    size_wh = size_wh or SizeWH(WIDTH, HEIGHT)
    with av.open(str(path), "w") as container:
        options = {"x264-params": tags} if tags else {}
        stream = container.add_stream("libx264", rate=30, options={**options, "crf": "12"})
        stream.width, stream.height, stream.pix_fmt = size_wh.width, size_wh.height, pixel_format
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(painted(number, size_wh), format="bgr24")
            container.mux(stream.encode(frame.reformat(format=pixel_format)))
        container.mux(stream.encode(None))
    return path


TAGS = {
    "untagged": "",
    "bt601": "colorprim=smpte170m:transfer=smpte170m:colormatrix=smpte170m",
    "bt709": "colorprim=bt709:transfer=bt709:colormatrix=bt709",
    "full range": "fullrange=on",
}


@pytest.mark.parametrize("tags", TAGS.values(), ids=TAGS)
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv420p10le"])
def test_at_full_size_the_picture_is_that_of_opencv(tmp_path: Path, pixel_format: str, tags: str) -> None:
    path = write_painted(tmp_path / "a.mp4", pixel_format, tags)
    ours, theirs = list(read_with_pyav(path)), list(images_of_opencv(path))
    assert len(ours) == len(theirs) == 5
    for one, other in zip(ours, theirs, strict=True):
        # OpenCV before 5 reads every video as BT.601
        assert np.abs(one.image.astype(int) - other).max() <= (0 if cv2.__version__ >= "5" else 40)


def decoded(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def test_memory_of_a_picture_that_nobody_holds_is_used_again(tmp_path: Path) -> None:
    frames, to_bgr = decoded(write_painted(tmp_path / "a.mp4")), ToBgr()
    assert len({to_bgr.image(frame).ctypes.data for frame in frames}) == 1
    held = [to_bgr.image(frame) for frame in frames]
    assert len({image.ctypes.data for image in held}) == 5
    for number, image in enumerate(held):
        assert np.abs(image.astype(int) - painted(number, SizeWH(WIDTH, HEIGHT))).mean() < 4


def test_pictures_whose_size_or_colours_change_on_the_way_are_converted_as_alone(tmp_path: Path) -> None:
    full = write_painted(tmp_path / "full.mp4", "yuvj420p", TAGS["bt709"])
    small = write_painted(tmp_path / "small.mp4", size_wh=SizeWH(160, 96))
    plain = write_painted(tmp_path / "plain.mp4", tags=TAGS["bt601"])
    to_bgr = ToBgr()
    for frames in zip(decoded(full), decoded(small), decoded(plain), strict=True):
        for frame in frames:
            assert np.array_equal(to_bgr.image(frame), ToBgr().image(frame))
            assert to_bgr.image(frame).shape == (frame.height, frame.width, 3)


@pytest.mark.parametrize("tags", TAGS.values(), ids=TAGS)
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv420p10le"])
@pytest.mark.parametrize("wanted", [SizeWH(160, 96), SizeWH(200, 120), SizeWH(80, 48), SizeWH(63, 39)])
def test_a_shrunk_picture_is_that_of_a_later_resize(
    tmp_path: Path, pixel_format: str, tags: str, wanted: SizeWH
) -> None:
    path = write_painted(tmp_path / "a.mp4", pixel_format, tags)
    for small, full in zip(read_with_pyav(path, fit=lambda _: wanted), read_with_pyav(path), strict=True):
        shrunk = cv2.resize(full.image, (wanted.width, wanted.height), interpolation=cv2.INTER_AREA)
        difference = np.abs(small.image.astype(int) - shrunk)
        # The colour, not the brightness, is coarser by half: patches of 8 px differ along their edges.
        assert difference.mean() < 5
        assert np.percentile(difference, 99) < 20
        assert abs((small.image.astype(int) - shrunk).mean()) < 2
        greys = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(int) for image in (small.image, shrunk)]
        assert np.abs(greys[0] - greys[1]).mean() < 2
        assert small.full_wh == SizeWH(WIDTH, HEIGHT)


@pytest.mark.parametrize("wanted", [SizeWH(WIDTH, HEIGHT), SizeWH(WIDTH, 100), SizeWH(400, 240)])
def test_what_is_not_smaller_stays_as_it_is(tmp_path: Path, wanted: SizeWH) -> None:
    path = write_painted(tmp_path / "a.mp4")
    for kept, full in zip(read_with_pyav(path, fit=lambda _: wanted), read_with_pyav(path), strict=True):
        assert np.array_equal(kept.image, full.image)
        assert kept.full_wh is None


def test_a_frame_is_let_go_of_once_its_turn_is_known(tmp_path: Path) -> None:
    with av.open(str(write_painted(tmp_path / "a.mp4"))) as container:
        frame = next(container.decode(video=0))
        holders = sys.getrefcount(frame)
        assert orientation_of(frame) == Orientation()
        assert sys.getrefcount(frame) == holders


def test_odd_sizes_are_shrunk_to_the_last_column(tmp_path: Path) -> None:
    size_wh = SizeWH(322, 190)
    path = write_painted(tmp_path / "a.mp4", size_wh=size_wh)
    (first, *_) = read_with_pyav(path, fit=lambda _: SizeWH(161, 95))
    (full, *_) = read_with_pyav(path)
    shrunk = cv2.resize(full.image, (161, 95), interpolation=cv2.INTER_AREA)
    assert np.abs(first.image.astype(int) - shrunk)[-3:, -3:].max() < 12


@pytest.mark.parametrize(
    "orientation",
    [Orientation(), Orientation(True, True), Orientation(False, True, True), Orientation(True, False, True)],
)
def test_a_turned_video_is_shrunk_upright(tmp_path: Path, orientation: Orientation) -> None:
    path = write_painted(tmp_path / "a.mp4")
    asked: list[SizeWH] = []

    def fit(size_wh: SizeWH) -> SizeWH:
        asked.append(size_wh)
        return SizeWH(size_wh.width // 2, size_wh.height // 2)

    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        small, full = upright_image(frame, orientation, ToBgr(), fit), upright_image(frame, orientation, ToBgr())
    upright_wh = SizeWH(full.shape[1], full.shape[0])
    assert asked == [upright_wh]
    assert small.shape == (full.shape[0] // 2, full.shape[1] // 2, 3)
    shrunk = cv2.resize(full, (small.shape[1], small.shape[0]), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - shrunk).mean() < 3


def test_a_source_tells_the_whole_size_of_shrunk_frames(tmp_path: Path) -> None:
    path = write_painted(tmp_path / "a.mp4")
    with VideoSource(path, "a.mp4", fit=lambda _: SizeWH(160, 96)) as source:
        assert source.info.size_wh == SizeWH(WIDTH, HEIGHT)
        for frame in source:
            assert frame.image is not None
            assert frame.image.shape == (96, 160, 3)
            assert frame.size_wh == frame.full_wh == SizeWH(WIDTH, HEIGHT)
