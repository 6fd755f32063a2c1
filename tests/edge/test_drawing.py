import numpy as np
import pytest

from edge.drawing import banner_parts, clock, draw, label
from edge.records import FrameRecord, Pedestrian
from tests.edge.recordings import lost, seen

PERSON = Pedestrian((100.0, 100.0, 120.0, 140.0), 0.87)


def test_drawing_leaves_the_frame_as_it_was() -> None:
    image = np.full((240, 320, 3), 120, np.uint8)
    drawn = draw(image, seen(0, PERSON))
    assert (image == 120).all()
    assert drawn.shape == image.shape
    assert (drawn != image).any()


def test_a_person_stays_visible_inside_the_box() -> None:
    image = np.full((240, 320, 3), 120, np.uint8)
    drawn = draw(image, seen(0, PERSON))
    assert (drawn[100:140, 100:120] == 120).all()
    assert (drawn[120, 90:100] != 120).any()
    assert (drawn[120, 121:130] != 120).any()


def test_a_label_is_left_out_where_there_is_no_room() -> None:
    image = np.full((240, 320, 3), 120, np.uint8)
    crowd = tuple(Pedestrian((x, y, x + 9.0, y + 9.0), 0.5) for y in range(40, 220, 10) for x in range(0, 310, 10))
    alone = draw(image, seen(0, PERSON))
    crowded = draw(image, seen(0, *crowd))
    assert _black(alone[70:98, 98:130]) > 60
    assert _black(crowded[60:200, 20:300]) < 0.5 * crowded[60:200, 20:300, 0].size  # outlines only


def _black(part: np.ndarray) -> int:
    return int((part == 0).all(axis=2).sum())


@pytest.mark.parametrize("shape_hw", [(1, 1), (1, 500), (500, 1), (15, 20), (240, 320), (1080, 1920), (2160, 3840)])
@pytest.mark.parametrize("record", [seen(0), seen(0, PERSON), lost(0)])
def test_any_size_of_picture_can_be_drawn_on(shape_hw: tuple[int, int], record: FrameRecord) -> None:
    image = np.full((*shape_hw, 3), 120, np.uint8)
    drawn = draw(image, record)
    assert drawn.shape == image.shape
    assert (drawn != image).any()


@pytest.mark.parametrize("box", [(-50.0, -50.0, 5.0, 5.0), (310.0, 230.0, 400.0, 300.0), (0.0, 0.0, 320.0, 240.0)])
def test_boxes_may_reach_over_the_edge(box: tuple[float, float, float, float]) -> None:
    image = np.full((240, 320, 3), 120, np.uint8)
    assert draw(image, seen(0, Pedestrian(box, 0.5))).shape == image.shape


def test_a_lost_signal_fills_the_middle_of_the_picture() -> None:
    image = np.full((240, 320, 3), 40, np.uint8)
    assert (draw(image, lost(0))[100:140, 80:240] == 255).any()
    assert (draw(image, seen(0))[100:140, 80:240] == 40).all()


@pytest.mark.parametrize(
    ("record", "parts"),
    [
        (seen(0, time_s=0.0), ("CLEAR", "count 0", "presence 0.75", "0:00.0")),
        (seen(0, PERSON, PERSON, time_s=63.27), ("PEDESTRIAN", "count 2", "presence 0.75", "1:03.2")),
        (lost(30), ("NO SIGNAL", "0:01.0")),
        (FrameRecord(0, "bad_frame", "unknown", None, (), None, None, name="a/b.jpg"), ("BAD FRAME", "a/b.jpg")),
        (FrameRecord(0, "ok", "unknown", 0.5, (), 1.0, None), ("UNKNOWN", "count 0", "presence 0.50")),
    ],
)
def test_the_banner_says_the_most_important_first(record: FrameRecord, parts: tuple[str, ...]) -> None:
    assert banner_parts(record) == parts


@pytest.mark.parametrize(
    ("time_s", "text"),
    [(0.0, "0:00.0"), (-1.0, "0:00.0"), (0.3, "0:00.3"), (59.99, "0:59.9"), (60.0, "1:00.0"), (3725.5, "1:02:05.5")],
)
def test_the_clock(time_s: float, text: str) -> None:
    assert clock(time_s) == text


@pytest.mark.parametrize(
    ("score", "track", "text"), [(0.0, None, ".00"), (0.876, None, ".88"), (0.999, None, "1.0"), (0.5, 12, "#12 .50")]
)
def test_labels_are_short(score: float, track: int | None, text: str) -> None:
    assert label(Pedestrian((0.0, 0.0, 1.0, 1.0), score, track)) == text
