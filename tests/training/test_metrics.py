import json

import pytest

from edge.errors import ProcessingError
from training.history import entries, taken_over, told, with_start
from training.metrics import append_metrics, forget_after

LINES = '{"step": 2, "total": 1.0}\n{"step": 4, "total": 0.5}\n'


@pytest.mark.parametrize(
    ("text", "step", "left"),
    [
        ("", 0, []),
        (LINES, 4, [2, 4]),
        (LINES, 3, [2]),
        (LINES, 0, []),
        (LINES + '{"step": 6, "tot', 4, [2, 4]),
        ("\x00\x00\n" + LINES, 4, [2, 4]),
        ("[1]\n7\n" + LINES, 4, [2, 4]),
    ],
)
def test_only_whole_lines_up_to_the_last_checkpoint_stay(tmp_path, text, step, left):
    (tmp_path / "metrics.jsonl").write_text(text)
    forget_after(tmp_path / "metrics.jsonl", step)
    assert [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == left
    assert len(list(tmp_path.iterdir())) == 1


def test_a_run_without_metrics_has_nothing_to_forget(tmp_path):
    forget_after(tmp_path / "metrics.jsonl", 3)
    assert not list(tmp_path.iterdir())


def test_metrics_are_one_line_an_epoch(tmp_path):
    for step in (1, 2):
        append_metrics(tmp_path / "metrics.jsonl", step, 1.26, {"total": 1 / 3})
    assert (tmp_path / "metrics.jsonl").read_text().splitlines()[1] == '{"step": 2, "seconds": 1.3, "total": 0.33333}'


def test_a_folder_that_is_gone_is_one_error(tmp_path):
    with pytest.raises(ProcessingError, match="must be writable"):
        append_metrics(tmp_path / "no" / "metrics.jsonl", 1, 1.0, {})


def test_a_history_grows_only_where_settings_change():
    first = with_start(None, {"teacher": None}, 0)
    assert first == {"teacher": None, "history": [{"from_step": 0, "teacher": None}]}
    assert with_start(first, {"teacher": None}, 5) == first
    second = with_start({**first, "step": 9, "seconds": 1.0}, {"teacher": "t"}, 9)
    assert second == {"teacher": "t", "history": [{"from_step": 0, "teacher": None}, {"from_step": 9, "teacher": "t"}]}


def test_a_checkpoint_from_before_histories_were_kept_has_one_chapter():
    old = {"teacher": "t", "dataset": "d", "losses": {"box": 5.0, "soft": 0.5}, "step": 7, "seconds": 1.0}
    assert [entry["from_step"] for entry in entries(old)] == [0]
    assert told(old) == (
        "Steps 0 to 7: labels of d and the teacher `t` (weights: box 5, soft 0.5), ? crops a batch, learning rate ?, "
        "seed ?.",
    )
    assert with_start(old, {"teacher": None}, 7)["history"][0]["teacher"] == "t"


def test_a_run_that_learns_on_goes_on_with_the_history_of_its_model():
    model = {**with_start(None, {"dataset": "a"}, 0), "step": 7, "seconds": 2.0}
    first = with_start(taken_over(model), {"dataset": "b"}, 0)
    again = with_start(first, {"dataset": "c"}, 3)  # resumed, with other data
    assert [(entry["from_step"], entry["dataset"]) for entry in entries(again)] == [(0, "a"), (7, "b"), (10, "c")]
    assert again["before"] == {"step": 7, "seconds": 2.0}
    assert [line.partition(":")[0] for line in told({**again, "step": 12})] == [
        "Steps 0 to 7",
        "Steps 7 to 10",
        "Steps 10 to 12",
    ]
    further = with_start(taken_over({**again, "step": 12, "seconds": 5.0}), {"dataset": "d"}, 0)
    assert further["before"] == {"step": 12, "seconds": 5.0}
    assert further["history"][-1] == {"from_step": 12, "dataset": "d"}
