"""Files that are no video, or none that can be read: one clear line, and nothing else is printed."""

from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from edge.errors import SourceError
from edge.sources import open_source
from tests.edge.videos import AV1, BAR_PX, BITS, Recipe, make_video, numbered_image


def without_index(path: Path) -> None:
    make_video(path, 10)
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"moov") - 4])


def without_frames(path: Path) -> None:
    """Only the moov of a video, as a recorder leaves it that was stopped at once."""
    with av.open(str(path), "w", options={"movflags": "empty_moov"}) as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        container.start_encoding()


def without_video(path: Path, *, cover: bool = False) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16_000)
        if cover:
            picture = container.add_stream("png", rate=1)
            picture.width, picture.height, picture.pix_fmt = BITS * BAR_PX, 64, "rgb24"
            picture.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if cover:
            container.mux(picture.encode(av.VideoFrame.from_ndarray(numbered_image(5), format="bgr24")))
            container.mux(picture.encode(None))


def without_decoder(path: Path) -> None:
    make_video(path, 3)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"none"))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (without_video, "it holds no video"),
        (partial(without_video, cover=True), "it holds no video"),
        (without_decoder, "not one frame of it could be decoded"),
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (lambda path: path.write_text("not a video at all\n" * 40), "the file is damaged, or no video"),
        (without_index, "its index (moov) is missing"),
        (without_frames, "not one frame of it could be decoded"),
    ],
)
def test_an_unusable_video_is_refused_in_one_line_and_quietly(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], make: object, reason: str
) -> None:
    assert callable(make)
    path = tmp_path / "flight.mp4"
    make(path)
    capfd.readouterr()
    with pytest.raises(SourceError, match=r"^source must be .*, got '.*flight\.mp4'; .*") as refused:
        open_source(str(path))
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)
    assert capfd.readouterr() == ("", "")


def a_png(path: Path) -> None:
    path.write_bytes(cv2.imencode(".png", numbered_image(5))[1].tobytes())


def a_gif(path: Path) -> None:
    make_video(path.with_suffix(".gif"), 1, Recipe("gif", "rgb8"))
    path.with_suffix(".gif").rename(path)


def an_avif(path: Path) -> None:
    if AV1 is None:
        pytest.skip("PyAV has no encoder for AV1 here")
    with av.open(str(path), "w", format="avif") as container:
        stream = container.add_stream(AV1, rate=1)
        stream.width, stream.height, stream.pix_fmt = BITS * BAR_PX, 64, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered_image(5), format="bgr24")))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("name", ["photo", "photo.mp4", "photo.heic"])
@pytest.mark.parametrize("make", [a_png, a_gif, an_avif])
def test_a_picture_is_never_taken_for_a_video_that_begins_as_clear(tmp_path: Path, name: str, make: object) -> None:
    assert callable(make)
    make(tmp_path / name)
    with pytest.raises(SourceError, match="it is a picture of another kind or name; save it as PNG or JPEG"):
        open_source(str(tmp_path / name))
