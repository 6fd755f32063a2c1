import torch

from training.networks.dense import PredictedMaps
from training.networks.teacher import Teacher, TeacherSpec, coarser
from training.networks.yolox import MEAN, STD


def test_the_surest_of_four_cells_speaks_for_the_coarser_one():
    logits = torch.zeros(1, 2, 4)
    logits[0, 1, 2] = 3.0  # centre at x 10, y 6
    fine = PredictedMaps(4, logits, torch.full((1, 4, 2, 4), 2.0).log())  # 8 px to every side
    coarse = coarser(fine)
    assert coarse.stride == 8
    assert torch.equal(coarse.logits, torch.tensor([[[0.0, 3.0]]]))
    torch.testing.assert_close(coarse.boxes_xyxy()[0, :, 0, 1], torch.tensor([2.0, -2.0, 18.0, 14.0]))


def test_a_teacher_made_of_yolox_predicts_at_both_strides():
    network = Teacher(TeacherSpec("yolox_nano", mean=MEAN, std=STD, head="yolox")).eval()
    with torch.inference_mode():
        predictions = network(torch.zeros(1, 3, 64, 96, dtype=torch.uint8))
    assert {s: tuple(p.logits.shape) for s, p in predictions.items()} == {4: (1, 16, 24), 8: (1, 8, 12)}
    assert torch.isfinite(predictions[8].log_distances).all()
