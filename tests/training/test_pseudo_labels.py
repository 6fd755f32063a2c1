import cv2
import numpy as np
import pytest

from edge.errors import InvalidValueError, UnusableInputError
from edge.records import Image, Recognition
from tests.training.people import draw_people
from training.image_files import save_sheet
from training.label_sheet import label_sheet
from training.pseudo_labels import LabelRule, PseudoLabelled, label_frames, labels_of, save_frames
from training.unlabelled import Recording

FAR, NEAR, NEARER = (10, 10, 20, 40), (60, 60, 72, 90), (61, 62, 73, 92)


def recognition(*detections: tuple[tuple[int, int, int, int], float]) -> Recognition:
    boxes = np.array([box for box, _ in detections], np.float32).reshape(-1, 4)
    scores = np.array([score for _, score in detections], np.float32)
    return Recognition(0.5, boxes, scores, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("detections", "people", "ignored"),
    [
        ([], [], []),
        ([(FAR, 0.6)], [FAR], []),
        ([(FAR, 0.59)], [], [FAR]),
        ([(FAR, 0.19)], [], []),
        ([(FAR, 0.9), (NEAR, 0.3)], [FAR], [NEAR]),
        ([(NEAR, 0.9), (NEARER, 0.3)], [NEAR], []),  # the same person twice
    ],
)
def test_a_score_makes_a_pedestrian_a_doubt_or_nothing(detections, people, ignored):
    labels = labels_of(recognition(*detections), LabelRule(0.6, 0.2))
    assert labels.boxes_xyxy.tolist() == [list(map(float, box)) for box in people]
    assert labels.ignore_xyxy.tolist() == [list(map(float, box)) for box in ignored]
    assert labels.doubtful == (not people and bool(ignored))


@pytest.mark.parametrize("rule", [(0.5, 0.6), (1.1, 0.2), (0.5, 0.0)])
def test_thresholds_that_contradict_each_other_are_refused(rule):
    with pytest.raises(InvalidValueError, match="floor must be at least faint"):
        LabelRule(*rule)


def brightest(image: Image) -> Recognition:
    """Sure of one person in bright pictures, in doubt in middling ones."""
    level = float(image.mean())
    return recognition((FAR, 0.9 if level > 150 else 0.4)) if level > 100 else recognition()


def test_doubtful_frames_are_left_out_and_empty_ones_are_not_more_than_the_others(tmp_path):
    levels = (0, 200, 120, 0, 0, 200, 0)
    for k, level in enumerate(levels):
        assert cv2.imwrite(str(tmp_path / f"flight_{k}.png"), np.full((96, 96, 3), level, np.uint8))
    (tmp_path / "flight_7.png").write_bytes(b"no picture")
    labelled = label_frames(sorted(tmp_path.glob("*.png")), brightest, LabelRule())
    assert [(one.picture.path.stem, len(one.scores)) for one in labelled] == [
        ("flight_0", 0),
        ("flight_1", 1),
        ("flight_5", 1),
        ("flight_6", 0),
    ]
    assert {one.picture.scene for one in labelled} == {"flight"}


def test_a_teacher_that_is_sure_of_nobody_teaches_nothing(tmp_path):
    assert cv2.imwrite(str(tmp_path / "a.png"), np.full((96, 96, 3), 120, np.uint8))
    with pytest.raises(UnusableInputError, match=r"got nobody in 1 frames; lower --floor \(now 0.6\)"):
        label_frames([tmp_path / "a.png"], brightest, LabelRule())


def test_frames_are_saved_once_under_names_that_tell_their_flight(tmp_path):
    (tmp_path / "flight 7").mkdir()
    for k in range(3):
        assert cv2.imwrite(str(tmp_path / "flight 7" / f"{k}.png"), draw_people([(10, 10)], seed=k))
    recording = Recording(str(tmp_path / "flight 7"), 3, (0, 2))
    paths = save_frames([recording], tmp_path / "images")
    assert [path.name for path in paths] == ["00-flight 7_000000.jpg", "00-flight 7_000002.jpg"]
    paths[0].unlink()
    assert save_frames([recording], tmp_path / "images") == paths[1:]


def test_the_contact_sheet_shows_who_is_taught_and_who_is_ignored(tmp_path):
    assert cv2.imwrite(str(tmp_path / "a.png"), draw_people([(10, 10), (60, 60)]))

    def both(_: Image) -> Recognition:
        return recognition((FAR, 0.9), (NEAR, 0.4))

    labelled = label_frames([tmp_path / "a.png"], both, LabelRule())
    sheet = cv2.imread(str(save_sheet(label_sheet(labelled, "round 1"), tmp_path / "sheet.png")))
    assert sheet is not None
    tile = sheet[48:300, :400]
    for colour in ((0, 159, 230), (170, 170, 170)):
        assert (np.abs(tile.astype(int) - colour).max(2) < 3).any()
    none: list[PseudoLabelled] = []
    assert label_sheet(none, "nothing").shape == (348, 1600, 3)


def test_frames_of_an_attempt_that_was_cut_off_are_not_learnt(tmp_path):
    (tmp_path / "images.partial").mkdir()
    (tmp_path / "images.partial" / "00-other_000003.jpg").write_bytes(b"cut off")
    (tmp_path / "flight").mkdir()
    assert cv2.imwrite(str(tmp_path / "flight" / "0.png"), draw_people([(10, 10)]))
    paths = save_frames([Recording(str(tmp_path / "flight"), 1, (0,))], tmp_path / "images")
    assert [path.name for path in paths] == ["00-flight_000000.jpg"]
