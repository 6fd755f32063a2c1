"""Hard negatives: where a model that is already good still sees people in the training pictures, and nobody is there.

Crops that are drawn at random seldom show the pole, the bin or the dark window that it takes for a person; crops
around its false alarms always do (bootstrapping: Sung & Poggio, MIT AIM-1521, 1994; online: arXiv 1604.03540).
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from edge.errors import InvalidValueError
from edge.model_files import SHIPPED_NAMES, resolve
from edge.recognizer import Recognizer, RecognizerSettings
from edge.records import Boxes, Image
from training.datasets import Dataset, LabelledPicture, load_image
from training.write_aside import write_aside

FAINTEST = 0.12  # score of a false alarm that is worth another look
SIZES = (0.75, 1.0, 1.35)  # of the longest side, relative to the size that training draws its scales around
STORED = "hard-ground.json"


def with_hard_ground(dataset: Dataset, model: str, long_side: int, folder: Path) -> Dataset:
    """The data set whose pictures know the false alarms of `model`; a long look, so it is stored in `folder`.

    Args:
        dataset: what is learnt from.
        model: name of a shipped model, or a model file.
        long_side: px, the size that training draws its scales around.
        folder: of the run; what an earlier part of it has found there is taken, if it looked at the same with the same.

    Raises:
        ModelError: no model.
        InvalidValueError: a model of the other modality.
        ProcessingError: the disk is full.
    """
    stored = folder / STORED
    names = [str(picture.path.resolve()) for picture in dataset.pictures]
    which = model if model in SHIPPED_NAMES else str(Path(model).resolve())
    looked = {"model": which, "long_side": long_side, "pictures": names}
    known = json.loads(stored.read_bytes()) if stored.exists() else None
    if isinstance(known, dict) and known | looked == known:
        found = [np.array(rows, np.float32).reshape(-1, 4) for rows in known["boxes"]]
    else:
        sides = [round(long_side * size) for size in SIZES]
        recognizer = Recognizer(resolve(model, "fp32"), RecognizerSettings(threshold=FAINTEST))
        modality = recognizer.metadata.modality
        if dataset.modality not in (None, modality):
            raise InvalidValueError("mistakes-of", f"a {dataset.modality} model, as the data is", modality)
        shown = tqdm(dataset.pictures, desc="false alarms", disable=not sys.stderr.isatty())
        found = [false_alarms(recognizer, picture, sides).round(1) for picture in shown]  # as they are stored
        text = json.dumps({**looked, "boxes": [rows.tolist() for rows in found]})
        write_aside(stored, lambda file: file.write(text.encode()))
    pairs = zip(dataset.pictures, found, strict=True)
    return dataclasses.replace(
        dataset, pictures=tuple(dataclasses.replace(picture, hard_xyxy=boxes) for picture, boxes in pairs)
    )


def false_alarms(recognizer: Recognizer, picture: LabelledPicture, long_sides: Sequence[int]) -> Boxes:
    """What one look finds at each of these sizes that touches no pedestrian and no ignored region: (N, 4) in pixels.

    One look, also where the model is made for two: training corrects the network, not what two looks agree on.
    """
    image = load_image(picture)
    found = np.concatenate([_one_look(recognizer, image, side) for side in long_sides])
    truth = np.concatenate((picture.boxes_xyxy, picture.ignore_xyxy))
    corners = np.minimum(found[:, None, 2:], truth[:, 2:]) - np.maximum(found[:, None, :2], truth[:, :2])
    alone = ~(corners > 0).all(2).any(1)  # (N, people, 2) -> (N,)
    return np.asarray(found[alone], np.float32)


def _one_look(recognizer: Recognizer, image: Image, long_side: int) -> Boxes:
    network_input = recognizer.preprocess(image, long_side)
    predictions = recognizer.run_graph(network_input.tensor)[0]
    return recognizer.postprocess(predictions, network_input.placement).boxes_xyxy
