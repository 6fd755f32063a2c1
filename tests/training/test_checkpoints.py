import pickle
import resource
from pathlib import Path

import pytest
import torch

from edge.errors import ProcessingError, UnusableInputError
from tests.training.people import STUDENT, TEACHER
from training.checkpoints import Checkpoint, load_checkpoint, save_checkpoint, strip
from training.networks.student import Student
from training.networks.teacher import Teacher
from training.teacher_files import load_network_file


def student_checkpoint(**changes: object) -> Checkpoint:
    network = Student(STUDENT)
    values: dict[str, object] = {
        "kind": "student",
        "spec": STUDENT.to_json(),
        "modality": "rgb",
        "averaged": strip(network),
        "settings": {"dataset": "d"},
        "progress": {"step": 3, "seconds": 1.5},
        "current": strip(network),
        "optimizer": {"state": {}, "param_groups": []},
        **changes,
    }
    return Checkpoint(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["student", "teacher"])
def test_what_is_saved_comes_back_as_the_same_network(tmp_path, kind):
    network = (Student(STUDENT) if kind == "student" else Teacher(TEACHER)).eval()
    saved = student_checkpoint(kind=kind, spec=network.spec.to_json(), averaged=strip(network))
    save_checkpoint(saved, tmp_path / "x" / "last.pt")
    loaded = load_checkpoint(tmp_path / "x" / "last.pt")
    assert loaded.spec == saved.spec
    assert loaded.progress == {"step": 3, "seconds": 1.5}
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        ours, theirs = network(images), loaded.network()(images)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[s].logits, theirs[s].logits) for s in ours)


def test_a_finished_checkpoint_keeps_the_averaged_weights_alone(tmp_path):
    save_checkpoint(student_checkpoint().finished(), tmp_path / "student.pt")
    loaded = load_checkpoint(tmp_path / "student.pt")
    assert loaded.settings == {"dataset": "d", "step": 3, "seconds": 1.5}
    assert not loaded.current
    assert not loaded.optimizer
    assert torch.load(tmp_path / "student.pt", weights_only=True)["kind"] == "student"


class Bomb:
    """A pickle that touches a file when it is loaded."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.file,)


@pytest.mark.parametrize("write", [torch.save, lambda bomb, file: file.write_bytes(pickle.dumps(bomb))])
def test_a_pickle_with_code_in_it_is_refused_without_running_it(tmp_path, write):
    write({"kestrel_checkpoint": 1, "kind": Bomb(tmp_path / "exploded")}, tmp_path / "bomb.pt")
    with pytest.raises(UnusableInputError, match=r"file that kestrel-train wrote, got bomb\.pt .*never run"):
        load_checkpoint(tmp_path / "bomb.pt")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (None, "checkpoint must be an existing file"),
        (b"", "checkpoint must be a file that kestrel-train wrote"),
        (b"hello", "checkpoint must be a file that kestrel-train wrote"),
        ({"weights": torch.zeros(1)}, "checkpoint must be a file that kestrel-train wrote"),
        (torch.zeros(1), "checkpoint must be a file that kestrel-train wrote"),
        ({"kestrel_checkpoint": 2}, "checkpoint must have schema 1"),
        ({"kestrel_checkpoint": torch.zeros(2)}, "checkpoint must have schema 1"),
        ({"kestrel_checkpoint": 1, "kind": "student"}, "checkpoint must have all its fields"),
    ],
)
def test_anything_else_is_refused(tmp_path, content, rule):
    file = tmp_path / "last.pt"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        torch.save(content, file)
    with pytest.raises(UnusableInputError, match=rule):
        load_checkpoint(file)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"kind": "uncle"}, "checkpoint must be of a student or a teacher, got 'uncle'"),
        ({"spec": {"width": 16}}, "checkpoint must describe a Kestrel student"),
        ({"spec": {**STUDENT.to_json(), "wings": 2}}, "checkpoint must describe a Kestrel student"),
        ({"spec": {**STUDENT.to_json(), "width": 24}}, "checkpoint must hold the weights of its own architecture"),
        ({"spec": {**STUDENT.to_json(), "width": 10**6}}, r"width must be a whole number in 1\.\.1024"),
        ({"spec": {**STUDENT.to_json(), "width": "x"}}, "width must be a whole number"),
        ({"spec": {**STUDENT.to_json(), "class_depth": -1}}, "class_depth must be a whole number"),
        ({"spec": {**STUDENT.to_json(), "class_depth": 10**7}}, "class_depth must be a whole number"),
        ({"spec": {**STUDENT.to_json(), "frozen_stages": "x"}}, "frozen_stages must be a whole number"),
        ({"spec": {**STUDENT.to_json(), "mean": (0.5, 0.5)}}, "mean must be three numbers"),
        ({"spec": {**STUDENT.to_json(), "mean": "abc"}}, "mean must be a finite number, got 'a'"),
        ({"spec": {**STUDENT.to_json(), "std": (0.5, 0.5, 0)}}, "std must be above 0"),
        ({"spec": {**STUDENT.to_json(), "backbone": 3}}, "backbone must be a text, got 3"),
        ({"kind": "teacher", "spec": {**TEACHER.to_json(), "box_depth": 99}}, "box_depth must be a whole number"),
        ({"spec": [1]}, "checkpoint's spec must be a mapping, got 'list'; it is damaged: train it again"),
        ({"settings": [1]}, "checkpoint's settings must be a mapping, got 'list'"),
        ({"averaged": None}, "checkpoint's averaged must be a mapping, got 'NoneType'"),
        ({"averaged": {3: torch.zeros(1)}}, "checkpoint's averaged must be tensors by their names, got 3"),
        ({"averaged": {"trunk": 1}}, "checkpoint must hold the weights of its own architecture"),
    ],
)
def test_a_checkpoint_that_contradicts_itself_is_refused(changes, rule):
    with pytest.raises(UnusableInputError, match=rule):
        student_checkpoint(**changes).network()


@pytest.mark.parametrize(
    "changes",
    [
        {"settings": {"history": 5}},
        {"settings": {"history": [5]}},
        {"settings": {"members": 5}},
        {"progress": {"step": "x"}},
    ],
)
def test_a_checkpoint_that_does_not_tell_how_it_was_trained_is_refused(tmp_path, changes):
    save_checkpoint(student_checkpoint(**changes), tmp_path / "last.pt")
    with pytest.raises(UnusableInputError, match=r"must tell in plain values how it was trained, got last\.pt \("):
        load_network_file(tmp_path / "last.pt")


@pytest.mark.parametrize("augment", [{"default_long_side": "abc"}, {"max_enlarge": None}, 7])
def test_a_size_that_is_none_is_refused(augment):
    with pytest.raises(UnusableInputError, match="checkpoint must say at which size it was trained, got"):
        _ = student_checkpoint(settings={"augment": augment}).input_rule


def test_a_checkpoint_without_a_modality_is_refused(tmp_path):
    save_checkpoint(student_checkpoint(modality="sonar"), tmp_path / "last.pt")
    with pytest.raises(UnusableInputError, match="checkpoint must say its modality, got 'sonar'"):
        load_checkpoint(tmp_path / "last.pt")


def test_a_full_disk_leaves_the_previous_checkpoint_whole(tmp_path):
    file = tmp_path / "last.pt"
    save_checkpoint(student_checkpoint(), file)
    before = file.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # files end where a full disk would end them
    try:
        with pytest.raises(ProcessingError, match=r"last\.pt must be writable, got .*; free some space, then go on"):
            save_checkpoint(student_checkpoint(progress={"step": 4}), file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_cannot_be_written_is_one_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ProcessingError, match="must be writable"):
        save_checkpoint(student_checkpoint(), tmp_path / "file" / "last.pt")
