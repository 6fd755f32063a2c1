import numpy as np
import pytest

from edge.motion import MotionWatch
from edge.pace import Pace
from edge.recognizer import Recognizer, RecognizerSettings
from edge.records import Frame, SizeWH, SourceInfo
from edge.tiles import plan_tiles
from edge.tiling import TiledView, plan_for
from tests.models import write_spot_model

WIDE, HIGH = 800, 500  # nine tiles


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    # a spot between the cells has up to four equal peaks, whose boxes overlap by a quarter
    return write_spot_model(tmp_path_factory.mktemp("models") / "spots.onnx", nms_iou=0.2)


@pytest.fixture(scope="module")
def recognizer(model_file):
    return Recognizer(model_file, RecognizerSettings(threads=1))


def ground(*corners: tuple[int, int], width: int = WIDE, height: int = HIGH, side: int = 12) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    for x, y in corners:
        image[y : y + side, x : x + side] = 255
    return image


def spread(recognizer: Recognizer, max_age_s: float, budget_ms: float) -> TiledView:
    info = SourceInfo("flight.mp4", None, None, None, live=False)
    return TiledView(recognizer, max_age_s, Pace(budget_ms, lambda: info))


def corners_of(look):
    return sorted((round(x0), round(y0)) for x0, y0, *_ in look.recognition.boxes_xyxy.tolist())


def test_tiles_find_what_the_whole_frame_is_too_coarse_for(recognizer):
    people = [(100, 100), (350, 260), (750, 450)]
    image = ground(*people)
    assert len(recognizer.recognise(image).scores) == 0
    look = TiledView(recognizer).look(Frame(0, image, time_s=0.0))
    assert corners_of(look) == [(pytest.approx(x, abs=3), pytest.approx(y, abs=3)) for x, y in people]
    assert look.recognition.coverage == 1.0


def test_a_person_on_any_seam_is_counted_once(recognizer):
    plan = plan_for(recognizer, SizeWH(WIDE, HIGH))
    assert len(plan.tiles) == 9
    seams = sorted({tile.x0 for tile in plan.tiles} | {tile.x1 for tile in plan.tiles})[1:-1]
    view = TiledView(recognizer)
    for x in seams:
        for offset in (-10, -6, -2, 1):
            look = view.look(Frame(0, ground((x + offset, 400)), time_s=0.0))
            assert len(look.recognition.scores) == 1, (x, offset)


def test_a_frame_no_larger_than_a_tile_is_seen_at_once(recognizer):
    look = TiledView(recognizer).look(Frame(0, ground((40, 80), width=320, height=200), time_s=0.0))
    assert look.recognition.boxes_xyxy.tolist() == [[40, 80, 52, 92]]


def test_the_size_that_the_user_set_is_that_of_a_tile(model_file):
    recognizer = Recognizer(model_file, RecognizerSettings(threads=1, input_wh=SizeWH(512, 512)))
    assert TiledView(recognizer).input_wh(SizeWH(WIDE, HIGH)) == SizeWH(512, 512)
    assert corners_of(TiledView(recognizer).look(Frame(0, ground((600, 400)), time_s=0.0))) == [
        (pytest.approx(600, abs=3), 400)
    ]


def test_what_a_frame_leaves_in_the_buffers_never_shows_in_the_next(recognizer):
    # lower than a tile: every tile has padding
    frames = [ground((100, 20), (500, 60), width=900, height=100), np.full((100, 900, 3), 255, np.uint8)]
    used = TiledView(recognizer)
    for image in (frames[0], frames[1], frames[0]):
        fresh, again = (view.look(Frame(0, image, time_s=0.0)).recognition for view in (TiledView(recognizer), used))
        assert again.boxes_xyxy.tolist() == fresh.boxes_xyxy.tolist()
        assert again.presence == fresh.presence


def test_spread_tiles_cover_the_frame_after_a_while_and_say_so_until_then(recognizer):
    view = spread(recognizer, 2.0, budget_ms=1e-6)  # one tile a frame
    tiles = len(plan_for(recognizer, SizeWH(WIDE, HIGH)).tiles)
    coverages = [view.look(Frame(k, ground(), time_s=k / 100)).recognition.coverage for k in range(tiles + 5)]
    assert coverages[0] < 0.2
    assert coverages == sorted(coverages)
    assert [c == 1.0 for c in coverages] == [False] * (tiles - 1) + [True] * 6


def test_what_was_looked_at_too_long_ago_is_not_covered(recognizer):
    view = spread(recognizer, 2.0, budget_ms=1e6)
    for k in range(3):  # all tiles as soon as it is known what one costs
        look = view.look(Frame(k, ground(), time_s=k / 100))
    assert look.recognition.coverage == 1.0
    view = spread(recognizer, 0.05, budget_ms=1e-6)
    coverages = [view.look(Frame(k, ground(), time_s=k / 30)).recognition.coverage for k in range(40)]
    assert max(coverages) < 0.5


def test_tiles_with_people_are_looked_at_again_and_again(recognizer):
    view = spread(recognizer, 5.0, budget_ms=1e-6)
    image = ground((350, 260))
    seen = [len(view.look(Frame(k, image, time_s=k / 30)).recognition.scores) for k in range(40)]
    first = seen.index(1)
    assert sum(seen[first:]) > (len(seen) - first) / 4  # by turns they would be seen in one frame of nine


def test_presence_remembers_people_whose_tile_is_not_due(recognizer):
    view = spread(recognizer, 5.0, budget_ms=1e-6)
    image = ground((350, 260))
    looks = [view.look(Frame(k, image, time_s=k / 30)).recognition for k in range(40)]
    first = next(k for k, look in enumerate(looks) if len(look.scores))
    assert min(look.presence for look in looks[first:]) > 2 * max(look.presence for look in looks[:first])


def test_without_a_budget_the_tiles_do_not_depend_on_the_machine(recognizer):
    image = ground((350, 260), (100, 100))
    runs = []
    for _ in range(2):
        view = TiledView(recognizer, max_age_s=2.0)
        looks = [view.look(Frame(k, image, time_s=k / 10)).recognition for k in range(20)]
        runs.append([(look.coverage, look.presence, look.boxes_xyxy.tolist()) for look in looks])
    assert runs[0] == runs[1]


def test_pictures_of_a_folder_get_all_tiles_at_once(recognizer):
    view = spread(recognizer, 2.0, budget_ms=1e-6)
    look = view.look(Frame(0, ground((350, 260)), name="a.jpg"))
    assert look.recognition.coverage == 1.0
    assert len(look.recognition.scores) == 1


def test_a_source_that_begins_anew_or_changes_its_size_forgets(recognizer):
    view = spread(recognizer, 2.0, budget_ms=1e-6)
    for k in range(10):
        look = view.look(Frame(k, ground(), time_s=10 + k / 100))
    assert look.recognition.coverage == 1.0
    assert view.look(Frame(50, ground(), time_s=0.0)).recognition.coverage < 0.2
    assert view.look(Frame(51, ground(width=780), time_s=0.1)).recognition.coverage < 0.2


def test_motion_is_found_although_the_camera_moves_too():
    plan = plan_tiles(SizeWH(1600, 1000), SizeWH(320, 208), 16)
    field = np.random.default_rng(3).integers(0, 120, (130, 200, 3), np.uint8)
    field = np.kron(field, np.ones((10, 10, 1), np.uint8))  # (1300, 2000): ground with patches
    frames = []
    for k in range(2):
        frame = field[100 + 12 * k : 1100 + 12 * k, 100 + 20 * k : 1700 + 20 * k].copy()
        frame[500:560, 900 + 60 * k : 960 + 60 * k] = 255
        frames.append(frame)
    watch = MotionWatch(plan)
    assert not watch.moving(frames[0]).any()
    moving = watch.moving(frames[1])
    with_person = np.array([t.x0 < 1020 and t.x1 > 880 and t.y0 < 560 and t.y1 > 480 for t in plan.tiles])
    assert moving[with_person].any()
    assert not moving[~with_person].any()


def test_a_frame_that_turns_over_makes_nothing_stand_out():
    plan = plan_tiles(SizeWH(1600, 1000), SizeWH(320, 208), 16)
    random = np.random.default_rng(5)
    watch = MotionWatch(plan)
    for _ in range(2):
        noise = np.kron(random.integers(0, 255, (100, 160, 3), np.uint8), np.ones((10, 10, 1), np.uint8))
        moving = watch.moving(noise)
    assert not moving.any()
