"""Channel-wise feature distillation: Shu et al., "Channel-wise Knowledge Distillation for Dense Prediction",
arXiv 2011.13256, equations 3 and 4."""

from torch import Tensor
from torch.nn import functional


def channel_wise_loss(student_maps: Tensor, teacher_maps: Tensor, temperature: float = 1.0) -> Tensor:
    """T^2 / C x sum over channels of KL(teacher || student), where a channel is a distribution over its cells.

    So only *where* a channel responds is learnt, not how strongly; mean over the batch.

    Args:
        student_maps: (B, C, h, w), brought to the teacher's channels.
        teacher_maps: (B, C, h, w), no gradient flows into it.
        temperature: T > 0; higher looks at larger parts of a picture.
    """
    batch, channels = student_maps.shape[:2]
    log_ps = functional.log_softmax(student_maps.float().flatten(2) / temperature, dim=2)  # (B, C, h*w)
    log_pt = functional.log_softmax(teacher_maps.detach().float().flatten(2) / temperature, dim=2)
    divergence = functional.kl_div(log_ps, log_pt, reduction="sum", log_target=True)
    return temperature**2 * divergence / (batch * channels)


def standardised(maps: Tensor) -> Tensor:
    """(B, C, h, w) with mean 0 and variance 1 over the cells of each channel of each picture; a flat one becomes 0.

    Features of any scale then mean the same at the same temperature; mmrazor and MMYOLO distil so, too.
    """
    return functional.instance_norm(maps.float(), eps=1e-5)
