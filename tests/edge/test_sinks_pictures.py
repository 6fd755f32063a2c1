from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import ProcessingError
from edge.records import Frame, FrameRecord, Pedestrian
from edge.sinks import AnnotatedPicturesSink
from edge.sinks.pictures import annotated_name
from tests.edge.recordings import HEADER

IMAGE = np.full((120, 160, 3), 120, np.uint8)


def record(frame: Frame) -> FrameRecord:
    person = Pedestrian((60.0, 50.0, 80.0, 90.0), 0.9)
    return FrameRecord(frame.seq, "ok", "pedestrian", 0.9, (person,), 1.0, None, name=frame.name)


def test_each_picture_has_an_annotated_copy_of_its_size(tmp_path: Path) -> None:
    with AnnotatedPicturesSink(tmp_path / "annotated") as sink:
        sink.write(HEADER, None)
        for seq, name in enumerate(("a.jpg", "deeper/b.png")):
            frame = Frame(seq, IMAGE, name=name)
            sink.write(record(frame), frame)
        lost = Frame(2, None, name="c.jpg", signal="bad_frame")
        sink.write(FrameRecord(2, "bad_frame", "unknown", None, (), None, None, name="c.jpg"), lost)
        sink.skip(Frame(3, IMAGE, name="d.jpg"))
    written = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.jpg"))
    assert written == ["annotated/a.jpg", "annotated/deeper/b.png.jpg"]
    copy = cv2.imread(str(tmp_path / written[0]))
    assert copy is not None
    assert copy.shape == IMAGE.shape
    assert np.abs(copy.astype(int) - IMAGE).max() > 60


@pytest.mark.parametrize(
    ("name", "written"),
    [
        (None, "000007.jpg"),
        ("a.JPG", "a.JPG"),
        ("a.jpeg", "a.jpeg"),
        ("a.png", "a.png.jpg"),
        ("x/a.tif", "x/a.tif.jpg"),
    ],
)
def test_names_of_copies_never_collide(name: str | None, written: str) -> None:
    assert annotated_name(Frame(7, IMAGE, name=name)) == written


def test_a_copy_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    sink = AnnotatedPicturesSink(tmp_path)
    (tmp_path / "a.jpg").mkdir()
    frame = Frame(0, IMAGE, name="a.jpg")
    with pytest.raises(ProcessingError, match=r"a\.jpg could not be written further: Is a directory"):
        sink.write(record(frame), frame)


def test_a_picture_that_cannot_have_a_copy_does_not_end_the_rest(tmp_path: Path) -> None:
    wide, long = np.zeros((2, 70_000, 3), np.uint8), f"{'x' * 251}.png"
    with AnnotatedPicturesSink(tmp_path) as sink:
        for seq, (image, name) in enumerate(((wide, "wide.png"), (IMAGE, long), (IMAGE, "a.png"))):
            frame = Frame(seq, image, name=name)
            sink.write(record(frame), frame)
    assert [path.name for path in tmp_path.glob("*.jpg")] == ["a.png.jpg"]
    assert sink.warnings == [
        "no annotated copy of wide.png: the picture is too large for JPEG",
        f"no annotated copy of {long}: its name would be too long",
    ]
