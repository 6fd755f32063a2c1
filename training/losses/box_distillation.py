"""Box distillation where the teacher is better: bounded regression of Chen et al., NeurIPS 2017 ("Learning efficient
object detection models with knowledge distillation"), with GIoU in place of the L2 distance."""

from torch import Tensor

from training.losses.giou import giou, giou_loss


def box_distillation_loss(student_xyxy: Tensor, teacher_xyxy: Tensor, target_xyxy: Tensor, weight: Tensor) -> Tensor:
    """Weighted sum of 1 - GIoU(student, teacher) over the cells where the teacher's box beats the student's.

    Args:
        student_xyxy, teacher_xyxy, target_xyxy: (B, 4, h, w) in input pixels.
        weight: (B, h, w), 0 where no box is due.
    """
    teacher_xyxy = teacher_xyxy.detach()
    better = giou(teacher_xyxy, target_xyxy) > giou(student_xyxy.detach(), target_xyxy)
    return giou_loss(student_xyxy, teacher_xyxy, weight * better)
