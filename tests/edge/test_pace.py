import pytest

from edge.adaptive import AdaptiveView
from edge.pace import Pace
from edge.recognizer import Recognizer, RecognizerSettings
from edge.records import Frame, SourceInfo
from edge.tiling import TiledView
from edge.view import ViewSettings, open_view
from tests.edge.spots import spots
from tests.models import write_spot_model


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory):
    model = write_spot_model(tmp_path_factory.mktemp("models") / "spots.onnx")
    return Recognizer(model, RecognizerSettings(threads=1))


def camera(fps=None):
    return SourceInfo("0", None, fps, None, live=True)


def captured(at_s, dropped=0):
    return Frame(0, spots(), time_s=at_s, captured_s=at_s, dropped=dropped)


@pytest.mark.parametrize(
    ("asked_ms", "fps", "budget_ms"), [(None, 5.0, 200.0), (20.0, 5.0, 20.0), (None, None, 1000 / 30)]
)
def test_the_budget_is_what_was_asked_for_or_what_the_rate_leaves(asked_ms, fps, budget_ms):
    assert Pace(asked_ms, lambda: camera(fps)).budget_ms(captured(0.0)) == pytest.approx(budget_ms)


def test_who_shares_a_model_shares_the_time_but_takes_a_budget_of_their_own_whole():
    assert Pace(None, lambda: camera(5.0), sharers=4).budget_ms(captured(0.0)) == pytest.approx(50.0)
    assert Pace(20.0, lambda: camera(5.0), sharers=4).budget_ms(captured(0.0)) == pytest.approx(20.0)


def test_pictures_of_a_folder_are_seen_as_large_as_ever_unless_a_budget_is_asked_for(recognizer):
    folder = SourceInfo("pictures", None, None, 2, live=False)
    picture = Frame(0, spots(), name="a.png")
    sized = [
        open_view(recognizer, ViewSettings(follow_load=True, budget_ms=budget_ms), lambda: folder).look(picture)
        for budget_ms in (None, 1e6)
    ]
    assert [[event.event for event in one.events] for one in sized] == [[], ["size_chosen"]]


def test_a_rate_that_is_told_late_or_changes_counts_from_then_on():
    told = [camera(), camera(5.0), camera(10.0)]
    pace = Pace(None, lambda: told.pop(0))
    assert [pace.budget_ms(captured(0.0)) for _ in range(3)] == pytest.approx([1000 / 30, 200.0, 100.0])


def test_a_rate_that_nobody_tells_is_measured_in_spite_of_drops_and_gaps():
    pace = Pace(None, camera)
    times = [(0.0, 0), (0.2, 0), (0.4, 0), (1.0, 2), (31.0, 0), (31.2, 0), (31.6, 1)]
    budgets = [pace.budget_ms(captured(at_s, dropped)) for at_s, dropped in times]
    assert budgets[0] == pytest.approx(1000 / 30)
    assert budgets[-1] == pytest.approx(200.0)


def test_the_size_of_a_camera_follows_the_rate_that_it_tells_with_its_first_frame(recognizer):
    told = [camera()]
    view = open_view(recognizer, ViewSettings(follow_load=True), lambda: told[0])
    assert isinstance(view, AdaptiveView)
    told[0] = camera(0.5)
    [chosen] = view.look(captured(0.0)).events
    assert chosen.detail.endswith(" of 2000.0 ms allowed")


def test_tiles_follow_the_rate_as_well(recognizer):
    told = [camera(1e-3)]
    view = TiledView(recognizer, 10.0, Pace(None, lambda: told[0]))
    frame = Frame(0, spots(width=900, height=500), time_s=0.0)
    assert [view.look(frame).recognition.coverage == 1.0 for _ in range(2)] == [False, True]
    told[0] = camera(1e9)
    view = TiledView(recognizer, 10.0, Pace(None, lambda: told[0]))
    assert [view.look(frame).recognition.coverage == 1.0 for _ in range(2)] == [False, False]


def test_who_looks_at_every_third_frame_has_three_times_as_long():
    assert Pace(None, lambda: camera(30.0), every=3).budget_ms(captured(0.0)) == pytest.approx(100.0)
    unknown = Pace(None, camera, every=3)
    budgets = [unknown.budget_ms(captured(k / 10)) for k in range(8)]
    assert (budgets[0], budgets[-1]) == (pytest.approx(100.0), pytest.approx(100.0))
