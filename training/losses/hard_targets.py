"""Hard targets, the teacher's decision as a label: Touvron et al. (DeiT), arXiv 2012.12877, equation 3."""

from torch import Tensor
from torch.nn import functional

from training.losses.per_picture import mean_over_pictures


def hard_target_loss(student_logits: Tensor, teacher_logits: Tensor, counted: Tensor) -> Tensor:
    """Cross-entropy of the student with what the teacher decides: pedestrian where it believes so by more than half.

    Cells are weighed, and pictures averaged, as soft targets are, so that both can be compared at the same weight.

    Args:
        student_logits: (B, h, w).
        teacher_logits: (B, h, w), no gradient flows into it.
        counted: (B, h, w) 1 where the loss counts.
    """
    student_logits, teacher_logits = student_logits.float(), teacher_logits.detach().float()
    decision = (teacher_logits > 0).float()
    cross_entropy = functional.binary_cross_entropy_with_logits(student_logits, decision, reduction="none")
    belief = teacher_logits.sigmoid()
    weight = belief.maximum(student_logits.detach().sigmoid()) * counted
    return mean_over_pictures((cross_entropy * weight).sum((1, 2)), (belief * counted).sum((1, 2)))
