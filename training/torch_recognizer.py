"""A checkpoint asked like a model file: for judging a teacher, which is never exported.

Same scaling, same peaks, same NMS as the recognizer that flies; only the network runs in PyTorch.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from edge import geometry
from edge.contract import NMS_IOU, PAD_VALUE
from edge.recognizer import scale_into
from edge.records import Image, Modality, Recognition, SizeWH
from edge.thermal import PaletteReader
from training.augment import InputRule
from training.evaluation import SCORE_FLOOR
from training.networks.ensemble import AnyNetwork
from training.networks.peaks import boxes_at, find_peaks

Recognise = Callable[[Image], Recognition]


def as_flown(recognise: Recognise, modality: Modality) -> Recognise:
    """The same for pictures as they come: thermal ones in false colours are turned to grey, as the runtime does."""
    if modality == "rgb":
        return recognise
    palette = PaletteReader()
    return lambda image: recognise(palette.to_grey(image))


@dataclass(frozen=True, slots=True)
class TorchRecognizer:
    """Recognises with one head of a network in evaluation mode; presence is the highest score, not calibrated."""

    network: AnyNetwork
    stride: int
    input_rule: InputRule
    input_multiple: int = 32

    def recognise(self, image: Image) -> Recognition:
        """(H, W, 3) uint8 BGR -> detections in its pixels."""
        started = time.perf_counter()
        frame_wh = SizeWH(image.shape[1], image.shape[0])
        rule = self.input_rule
        placement = geometry.place_by_rule(frame_wh, rule.default_long_side, rule.max_enlarge, self.input_multiple)
        padded = np.full((placement.input_wh.height, placement.input_wh.width, 3), PAD_VALUE, np.uint8)
        scale_into(image, padded, placement)
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
