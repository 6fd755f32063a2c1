"""Decodes the two head maps of a file that `kestrel-export --raw-head` wrote, as the full graph does inside.

For compilers that want nothing but convolutions (TensorRT, NCNN, Hailo, OpenVINO). Feed the picture as float32
(B, 3, H, W), BGR, 0..255; nothing is normalised outside. Then, for each picture of the batch:

    predictions = decode_raw_head(logits[0, 0], log_distances[0], stride=metadata.strides[0], calibration=...)

That is one look. Where the metadata have a `second_look`, threshold and calibration are for two, see second_look.py.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from edge.contract import LONGEST_LOG, MAX_DETECTIONS, NOWHERE, Calibration
from edge.network import Predictions

Map = npt.NDArray[np.float32]


def decode_raw_head(logits: Map, log_distances: Map, stride: int, calibration: Calibration) -> Predictions:
    """(h, w) logits and (4, h, w) log distances -> boxes (500, 4) in input pixels, scores, presence.

    A peak is a cell that beats its 8 neighbours; between equals the lower index wins. Distances are those to the left,
    top, right and bottom side, in strides from the cell's centre.
    """
    width = logits.shape[1]
    kept = np.where(_is_peak(logits), logits, np.float32(NOWHERE)).ravel()
    cells = np.argsort(-kept, kind="stable")[:MAX_DETECTIONS]
    cells = cells[kept[cells] > NOWHERE / 2]  # (N,)
    scores = np.zeros(MAX_DETECTIONS, np.float32)
    scores[: len(cells)] = _sigmoid(kept[cells])
    reach = stride * np.exp(np.minimum(log_distances.reshape(4, -1)[:, cells], LONGEST_LOG))  # (4, N)
    x, y = stride * (cells % width + 0.5), stride * (cells // width + 0.5)  # (N,)
    boxes_xyxy = np.zeros((MAX_DETECTIONS, 4), np.float32)
    boxes_xyxy[: len(cells)] = np.stack((x - reach[0], y - reach[1], x + reach[2], y + reach[3]), 1)
    boxes_xyxy[scores == 0] = 0  # also those of peaks so faint that float32 knows no such score
    top = kept[cells[:1]]
    presence = float(_sigmoid(calibration.slope * top + calibration.intercept)[0]) if len(top) else 0.0
    return Predictions(boxes_xyxy, scores, presence)


def _is_peak(logits: Map) -> npt.NDArray[np.bool_]:
    """(h, w): beats the neighbours of lower index, and is not beaten by those of higher index."""
    height, width = logits.shape
    padded = np.pad(logits, 1, constant_values=NOWHERE)  # (h + 2, w + 2)
    around = [padded[y : y + height, x : x + width] for y in range(3) for x in range(3)]
    before, after = np.maximum.reduce(around[:4]), np.maximum.reduce(around[5:])
    return np.asarray((logits > before) & (logits >= after))


def _sigmoid(logits: npt.NDArray[Any]) -> Map:
    return np.asarray(np.exp(-np.logaddexp(0, -logits.astype(np.float64))), np.float32)
