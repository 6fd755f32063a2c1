"""Soft targets: Hinton et al., "Distilling the Knowledge in a Neural Network", arXiv 1503.02531."""

from torch import Tensor
from torch.nn import functional

from training.losses.per_picture import mean_over_pictures


def soft_target_loss(student_logits: Tensor, teacher_logits: Tensor, counted: Tensor, temperature: float) -> Tensor:
    """T^2 x KL(teacher || student) over {pedestrian, background} at temperature T, weighted towards people.

    Nearly all cells are background and agree about it; they would swamp the rest. A cell weighs as much as teacher or
    student believe in a pedestrian there (max of both probabilities at T = 1); the teacher's total belief in a picture
    stands for its number of people in mean_over_pictures.

    Args:
        student_logits: (B, h, w).
        teacher_logits: (B, h, w), no gradient flows into it.
        counted: (B, h, w) 1 where the loss counts.
        temperature: T > 0; higher looks more at small probabilities.
    """
    student_logits, teacher_logits = student_logits.float(), teacher_logits.detach().float()
    pt = (teacher_logits / temperature).sigmoid()
    log_ps, log_qs = (functional.logsigmoid(s * student_logits / temperature) for s in (1, -1))
    log_pt, log_qt = (functional.logsigmoid(s * teacher_logits / temperature) for s in (1, -1))
    divergence = pt * (log_pt - log_ps) + (1 - pt) * (log_qt - log_qs)
    belief = teacher_logits.sigmoid()
    weight = belief.maximum(student_logits.detach().sigmoid()) * counted
    return temperature**2 * mean_over_pictures((divergence * weight).sum((1, 2)), (belief * counted).sum((1, 2)))
