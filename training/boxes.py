"""Questions about boxes (N, 4) in picture pixels."""

import numpy as np
import numpy.typing as npt

from edge.records import Boxes


def centred_in(boxes_xyxy: Boxes, targets_xyxy: Boxes) -> npt.NDArray[np.bool_]:
    """(N, M): whether the centre of box n lies in target m."""
    centres = (boxes_xyxy[:, None, :2] + boxes_xyxy[:, None, 2:]) / 2  # (N, 1, 2)
    inside = (targets_xyxy[None, :, :2] <= centres) & (centres <= targets_xyxy[None, :, 2:])  # (N, M, 2)
    return np.asarray(inside.all(-1))
