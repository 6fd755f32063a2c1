"""A checkpoint asked like a model file: for judging a teacher, which is never exported.

Same scaling, same peaks, same NMS as the recognizer that flies; only the network runs in PyTorch.
"""

import time
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from edge import geometry
from edge.recognizer import interpolation_for
from edge.records import Image, Recognition, SizeWH
from training.evaluation import SCORE_FLOOR
from training.networks.ensemble import AnyNetwork
from training.networks.peaks import boxes_at, find_peaks

PAD_VALUE = 114
NMS_IOU = 0.5


@dataclass(frozen=True, slots=True)
class TorchRecognizer:
    """Recognises with one head of a network in evaluation mode; presence is the highest score, not calibrated."""

    network: AnyNetwork
    stride: int
    default_long_side: int
    max_enlarge: float
    input_multiple: int = 32

    def recognise(self, image: Image) -> Recognition:
        """(H, W, 3) uint8 BGR -> detections in its pixels."""
        started = time.perf_counter()
        frame_wh = SizeWH(image.shape[1], image.shape[0])
        placement = geometry.place_by_rule(frame_wh, self.default_long_side, self.max_enlarge, self.input_multiple)
        content, size = placement.content_wh, placement.input_wh
        padded = np.full((size.height, size.width, 3), PAD_VALUE, np.uint8)
        padded[: content.height, : content.width] = cv2.resize(
            image, (content.width, content.height), interpolation=interpolation_for(placement.shrink)
        )
        prepared = time.perf_counter()
        device = next(self.network.parameters()).device
        images = torch.from_numpy(padded).to(device).permute(2, 0, 1)[None].float()
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():  # float32, as the exported graph computes
            predictions = self.network(images)[self.stride]
            peaks = find_peaks(predictions.logits.float())
            boxes = boxes_at(predictions.log_distances.float(), peaks.cells, self.stride)[0].cpu().numpy()
            scores = peaks.logits[0].sigmoid().cpu().numpy()
        inferred = time.perf_counter()
        keep = (scores >= SCORE_FLOOR) & geometry.centred_in_content(boxes, placement)
        boxes, kept = geometry.to_frame(boxes[keep], placement), scores[keep]
        best = geometry.nms(boxes, kept, NMS_IOU)
        boxes, kept = geometry.clip(boxes[best], frame_wh), kept[best]
        visible = geometry.not_empty(boxes)
        finished = time.perf_counter()
        return Recognition(
            presence=float(scores.max(initial=0.0)),
            boxes_xyxy=boxes[visible],
            scores=kept[visible],
            preprocess_ms=1e3 * (prepared - started),
            infer_ms=1e3 * (inferred - prepared),
            postprocess_ms=1e3 * (finished - inferred),
        )
