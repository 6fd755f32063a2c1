import gc
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge.errors import InvalidValueError, ProcessingError
from edge.outputs import OutputOptions
from edge.records import SourceInfo
from edge.run_sinks import Run, make_sinks, states
from edge.sinks.clips import ClipOptions
from edge.sinks.own_files import Budget
from edge.sinks.shared import SharedOutputs


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@dataclass(frozen=True)
class Camera:
    """All of a source that outputs look at."""

    info: SourceInfo

    def __iter__(self):
        return iter(())

    def close(self):
        """It holds nothing."""


FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")


@FULL
def test_a_live_run_begins_where_an_output_has_no_room(here):
    camera = Camera(SourceInfo("0", None, 30.0, None, live=True))
    options = OutputOptions(csv=Path("/dev/full"), video=False)
    sinks = make_sinks(Run(here / "results", options, camera, 0.5))
    assert [state.name for state in states(sinks) if state.failing] == ["csv"]
    [warning] = [warning for sink in sinks for warning in sink.warnings]
    assert warning.startswith("csv failed: /dev/full could not be written further")
    for sink in sinks:
        sink.close()


@pytest.mark.parametrize(("sources", "kept_mb"), [(1, 1000.0), (4, 250.0)])
def test_live_sources_share_the_room_that_is_allowed_for_all(here, monkeypatch, sources, kept_mb):
    budgets = []
    monkeypatch.setattr("edge.sinks.segments.OwnFiles", lambda folder, budget: budgets.append(budget))
    monkeypatch.setattr("edge.sinks.clips.OwnFiles", lambda folder, budget: budgets.append(budget))
    options = OutputOptions(video_budget=Budget(max_mb=1000.0), clips=ClipOptions(here / "clips"))
    camera = Camera(SourceInfo("0", None, 30.0, None, live=True))
    for sink in make_sinks(Run(here / "results", options, camera, 0.5), SharedOutputs(sources=sources)):
        sink.close()
    assert [budget.max_mb for budget in budgets] == [kept_mb, kept_mb]
    assert Budget().share(sources) == Budget()  # what has no bound


@FULL
def test_what_was_opened_before_an_output_without_room_is_closed_again(here):
    recording = Camera(SourceInfo("flight.mp4", None, 30.0, 3, live=False))
    with pytest.raises(ProcessingError, match="/dev/full"):
        make_sinks(Run(here / "results", OutputOptions(csv=Path("/dev/full")), recording, 0.5))
    gc.collect()  # a file that is left open is a warning, and warnings are errors


def test_where_clips_cannot_be_written_no_records_are_begun_that_the_next_try_would_have_to_overwrite(here):
    recording = Camera(SourceInfo("flight.mp4", None, 30.0, 3, live=False))
    (here / "taken").touch()
    with pytest.raises(InvalidValueError, match="taken"):
        make_sinks(Run(here / "results", OutputOptions(clips=ClipOptions(here / "taken")), recording, 0.5))
    assert not list((here / "results").glob("*"))
