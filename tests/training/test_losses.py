import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import generalized_box_iou

from training.losses.box_distillation import box_distillation_loss
from training.losses.channel_wise import channel_wise_loss, standardised
from training.losses.focal import heatmap_focal_loss
from training.losses.giou import giou, giou_loss
from training.losses.hard_targets import hard_target_loss
from training.losses.per_picture import mean_over_pictures
from training.losses.scored_heat import scored_heat_loss
from training.losses.soft_targets import soft_target_loss


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def random_boxes(cells: int, seed: int) -> Tensor:
    """(1, 4, 1, cells) x0, y0, x1, y1 with sides of 1 to 30."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(2, cells, generator=generator) * 40
    sides = 1 + torch.rand(2, cells, generator=generator) * 29
    return torch.cat((corner, corner + sides))[None, :, None]


def boxes(*xyxy: float) -> Tensor:
    """(1, 4, 1, 1): one cell."""
    return torch.tensor(xyxy, dtype=torch.float32).view(1, 4, 1, 1)


@pytest.mark.parametrize(
    ("sums", "people", "expected"),
    [
        ([8.0, 9.0], [4.0, 9.0], (8 / 2 + 9 / 3) / 2),
        ([8.0, 9.0], [0.0, 1.0], (8 + 9) / 2),  # an empty picture counts as one with one person
        ([0.0], [0.0], 0.0),
    ],
)
def test_a_picture_counts_by_the_square_root_of_its_people(sums, people, expected):
    assert mean_over_pictures(torch.tensor(sums), torch.tensor(people)).item() == pytest.approx(expected)


def test_the_focal_loss_is_the_paper_s_formula():
    p = torch.tensor([[[0.8, 0.3, 0.1]]])
    heat = torch.tensor([[[1.0, 0.5, 0.0]]])
    by_hand = -(0.2**2 * math.log(0.8)) - (0.5**4 * 0.3**2 * math.log(0.7)) - (0.1**2 * math.log(0.9))
    loss = heatmap_focal_loss(p.logit(), heat, torch.ones(1, 1, 3))
    assert loss.item() == pytest.approx(by_hand, rel=1e-5)


def test_ignored_cells_neither_reward_nor_punish():
    heat, counted = torch.zeros(1, 2, 2), torch.ones(1, 2, 2)
    counted[0, 0] = 0
    logits = torch.zeros(1, 2, 2, requires_grad=True)
    loud = torch.tensor([[[20.0, -20.0], [0.0, 0.0]]])
    assert heatmap_focal_loss(logits, heat, counted) == heatmap_focal_loss(logits + loud, heat, counted)
    heatmap_focal_loss(logits, heat, counted).backward()
    assert logits.grad is not None
    assert (logits.grad[0, 0] == 0).all()
    assert (logits.grad[0, 1] > 0).all()


def test_a_labelled_person_inside_an_ignored_region_still_counts():
    heat, counted = torch.ones(1, 1, 1), torch.zeros(1, 1, 1)
    assert heatmap_focal_loss(torch.zeros(1, 1, 1), heat, counted).item() == pytest.approx(0.25 * math.log(2))


def test_certain_and_right_costs_nothing_and_certain_and_wrong_stays_finite():
    heat = torch.tensor([[[1.0, 0.0]]])
    right = torch.tensor([[[60.0, -60.0]]])
    assert heatmap_focal_loss(right, heat, torch.ones(1, 1, 2)).item() == pytest.approx(0, abs=1e-12)
    assert heatmap_focal_loss(-1000 * right, heat, torch.ones(1, 1, 2)).isfinite()


def test_giou_agrees_with_torchvision():
    ours = giou(random_boxes(50, 1), random_boxes(50, 2))[0, 0]
    flat = [random_boxes(50, seed)[0, :, 0].T for seed in (1, 2)]
    torch.testing.assert_close(ours, generalized_box_iou(*flat).diagonal())


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ((0.0, 0.0, 2.0, 2.0), 1.0),
        ((2.0, 0.0, 4.0, 2.0), 0.0),  # they touch: nothing shared, the hull is full
        ((6.0, 0.0, 8.0, 2.0), -0.5),  # half of the hull is empty
        ((1.0, 1.0, 1.0, 1.0), 0.0),  # no area
    ],
)
def test_giou_by_hand(other, expected):
    assert giou(boxes(0, 0, 2, 2), boxes(*other)).item() == pytest.approx(expected)


def test_the_box_loss_looks_only_where_a_box_is_due():
    target = torch.cat((boxes(0, 0, 2, 2), boxes(0, 0, 2, 2)), 3)
    predicted = torch.cat((boxes(6, 0, 8, 2), boxes(0, 0, 2, 2)), 3).requires_grad_()
    weight = torch.tensor([[[1.0, 0.0]]])
    loss = giou_loss(predicted, target, weight)
    assert loss.item() == pytest.approx(1.5)
    loss.backward()
    assert predicted.grad is not None
    assert (predicted.grad[..., 1] == 0).all()
    assert giou_loss(predicted, target, torch.zeros(1, 1, 2)).item() == 0


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_soft_targets_are_t_squared_times_the_divergence_at_t(temperature):
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    counted = (torch.rand(2, 3, 4) > 0.3).float()
    log_s, log_t = (
        functional.log_softmax(torch.stack((logits, torch.zeros_like(logits)), -1) / temperature, -1)
        for logits in (student, teacher)
    )
    divergence = functional.kl_div(log_s, log_t, log_target=True, reduction="none").sum(-1)
    weight = torch.maximum(student.sigmoid(), teacher.sigmoid()) * counted
    people = (teacher.sigmoid() * counted).sum((1, 2)).clamp(min=1)
    expected = temperature**2 * ((divergence * weight).sum((1, 2)) / people.sqrt()).mean()
    torch.testing.assert_close(soft_target_loss(student, teacher, counted, temperature), expected)


def test_soft_targets_by_hand():
    loss = soft_target_loss(torch.zeros(1, 1, 1), torch.full((1, 1, 1), logit(0.9)), torch.ones(1, 1, 1), 1.0)
    assert loss.item() == pytest.approx(0.9 * (0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)), rel=1e-5)


def test_a_student_that_says_what_the_teacher_says_loses_nothing():
    logits, xyxy = torch.randn(1, 4, 4), random_boxes(5, 3)
    assert soft_target_loss(logits, logits, torch.ones(1, 4, 4), 2.0).item() == pytest.approx(0, abs=1e-6)
    assert box_distillation_loss(xyxy, xyxy, random_boxes(5, 4), torch.ones(1, 1, 5)).item() == 0


def test_soft_targets_keep_out_of_ignored_regions():
    student, teacher = torch.zeros(1, 1, 2, requires_grad=True), torch.full((1, 1, 2), 3.0)
    soft_target_loss(student, teacher, torch.tensor([[[1.0, 0.0]]]), 2.0).backward()
    assert student.grad is not None
    assert student.grad[0, 0, 0] < 0
    assert student.grad[0, 0, 1] == 0


def test_the_student_learns_a_box_only_where_the_teacher_s_is_better():
    target = torch.cat((boxes(0, 0, 4, 4),) * 2, 3)
    good, bad = boxes(0, 0, 4, 3), boxes(8, 8, 9, 9)
    student = torch.cat((bad, good), 3).requires_grad_()
    loss = box_distillation_loss(student, torch.cat((good, bad), 3), target, torch.ones(1, 1, 2))
    expected = (1 - giou(bad, good)) / math.sqrt(2)  # two people
    assert loss.item() == pytest.approx(expected.item() * math.sqrt(2), rel=1e-5)  # of which one is taught
    loss.backward()
    assert student.grad is not None
    assert (student.grad[..., 0] != 0).any()
    assert (student.grad[..., 1] == 0).all()


def test_gradients_flow_to_the_student_alone():
    student, teacher = torch.zeros(1, 1, 1, requires_grad=True), torch.ones(1, 1, 1, requires_grad=True)
    soft_target_loss(student, teacher, torch.ones(1, 1, 1), 2.0).backward()
    assert student.grad is not None
    assert teacher.grad is None
    ours, theirs = boxes(0, 0, 1, 1).requires_grad_(), boxes(0, 0, 2, 2).requires_grad_()
    box_distillation_loss(ours, theirs, boxes(0, 0, 2, 2), torch.ones(1, 1, 1)).backward()
    assert ours.grad is not None
    assert theirs.grad is None


def test_hard_targets_are_the_cross_entropy_with_the_teacher_s_decision():
    student = torch.tensor([[[logit(0.7), logit(0.2)]]])
    teacher = torch.tensor([[[logit(0.6), logit(0.4)]]])
    by_hand = 0.7 * -math.log(0.7) + 0.4 * -math.log(1 - 0.2)  # a cell weighs as much as either believes
    assert hard_target_loss(student, teacher, torch.ones(1, 1, 2)).item() == pytest.approx(by_hand, rel=1e-5)


def test_hard_targets_are_what_soft_targets_become_when_it_is_cold():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    counted = (torch.rand(2, 3, 4) > 0.3).float()
    cold = torch.where(teacher > 0, 80.0, -80.0)
    log_p = functional.logsigmoid(torch.where(teacher > 0, student, -student))
    weight = torch.maximum(student.sigmoid(), teacher.sigmoid()) * counted
    people = (teacher.sigmoid() * counted).sum((1, 2)).clamp(min=1)
    expected = ((-log_p * weight).sum((1, 2)) / people.sqrt()).mean()
    torch.testing.assert_close(hard_target_loss(student, teacher, counted), expected)
    ones = torch.ones(1, 1, 1)
    certain, guess = cold[:1, :1, :1], student[:1, :1, :1]
    ours, theirs = hard_target_loss(guess, certain, ones), soft_target_loss(guess, certain, ones, 1.0)
    torch.testing.assert_close(ours, theirs)


def test_channel_wise_distillation_is_the_paper_s_formula():
    torch.manual_seed(0)
    student, teacher, t = torch.randn(2, 3, 2, 2), torch.randn(2, 3, 2, 2), 4.0
    by_hand = 0.0
    for picture in range(2):
        for channel in range(3):
            ps = [math.exp(v / t) for v in student[picture, channel].flatten().tolist()]
            pt = [math.exp(v / t) for v in teacher[picture, channel].flatten().tolist()]
            by_hand += sum(b / sum(pt) * math.log((b / sum(pt)) / (a / sum(ps))) for a, b in zip(ps, pt, strict=True))
    assert channel_wise_loss(student, teacher, t).item() == pytest.approx(t**2 / 3 * by_hand / 2, rel=1e-4)


def test_channel_wise_distillation_does_not_see_how_strong_a_channel_is():
    maps = torch.randn(1, 4, 5, 5)
    assert channel_wise_loss(maps, maps + 7.0).item() == pytest.approx(0, abs=1e-6)
    assert channel_wise_loss(standardised(3 * maps), standardised(maps)).item() == pytest.approx(0, abs=1e-4)
    flat = torch.full((1, 4, 5, 5), 2.0)
    assert (standardised(flat) == 0).all()
    assert channel_wise_loss(standardised(maps), standardised(flat)).isfinite()


def test_the_scored_heat_loss_is_the_quality_focal_loss_of_the_paper():
    p, score = torch.tensor([[[0.8, 0.3, 0.1]]]), torch.tensor([[[0.6, 0.9, 0.0]]])
    heat = torch.tensor([[[1.0, 0.5, 0.0]]])  # the second cell is a neighbour; its score is not looked at
    by_hand = (
        abs(0.6 - 0.8) ** 2 * -(0.6 * math.log(0.8) + 0.4 * math.log(0.2))
        - 0.5**4 * 0.3**2 * math.log(0.7)
        - 0.1**2 * math.log(0.9)
    )
    loss = scored_heat_loss(p.logit(), heat, score, torch.ones(1, 1, 3))
    assert loss.item() == pytest.approx(by_hand, rel=1e-5)


def test_with_every_score_at_1_it_is_the_focal_loss():
    torch.manual_seed(0)
    logits, heat = torch.randn(2, 4, 4), torch.rand(2, 4, 4) * 0.9
    heat[:, 1, 2] = heat[0, 3, 3] = 1.0
    counted = (torch.rand(2, 4, 4) > 0.2).float()
    ours = scored_heat_loss(logits, heat, torch.ones(2, 4, 4), counted)
    torch.testing.assert_close(ours, heatmap_focal_loss(logits, heat, counted))


def test_a_student_that_is_as_sure_as_the_foreign_detector_loses_nothing_at_its_boxes():
    heat, score = torch.ones(1, 1, 1), torch.full((1, 1, 1), 0.4)
    assert scored_heat_loss(torch.full((1, 1, 1), logit(0.4)), heat, score, heat).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("loss", [hard_target_loss, channel_wise_loss])
def test_no_gradient_flows_into_what_teaches(loss):
    shape = (1, 1, 2) if loss is hard_target_loss else (1, 2, 2, 2)
    student, teacher = torch.randn(shape, requires_grad=True), torch.randn(shape, requires_grad=True)
    arguments = (student, teacher, torch.ones(shape)) if loss is hard_target_loss else (student, teacher)
    loss(*arguments).backward()
    assert student.grad is not None
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None
