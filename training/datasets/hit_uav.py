"""HIT-UAV in its own layout: `normal_json/annotations/<split>.json` and the pictures in `normal_json/<split>/`.

Suo et al., Scientific Data 10, 227 (2023): 2,898 thermal pictures from 60 to 130 m, 640x512, CC BY 4.0. Near COCO, but
images have `filename`, the list of boxes is called `annotation`, `bbox` is top-left x, y, width, height, and ids of
classes begin at 0. The day of the flight (`date_captured`) is the scene.
"""

from collections.abc import Mapping
from pathlib import Path

from training.datasets.coco import CocoFiles, load_document, read_document
from training.datasets.labels import Kind
from training.datasets.records import Dataset
from training.datasets.split_choice import choose_split, with_split

SOURCE = "hit-uav"
_KINDS: Mapping[int, Kind] = {
    0: "pedestrian",  # Person
    1: "other",  # Car
    2: "other",  # Bicycle
    3: "other",  # OtherVehicle
    4: "ignore",  # DontCare
}
_SPLITS = ("train", "val", "test")


def find_hit_uav(path: Path) -> Path | None:
    """The folder `normal_json` at or below `path`, None where the layout is another."""
    for folder in (path, path / "normal_json"):
        if any((folder / "annotations" / f"{split}.json").is_file() for split in _SPLITS):
            return folder
    return None


def read_hit_uav(folder: Path, split: str | None, usual: str | None = None) -> Dataset:
    """Read one split; without a name the only one there is, or the usual one of several.

    Raises:
        DatasetError: no such split, or what `read_coco` refuses.
    """
    there = [name for name in _SPLITS if (folder / "annotations" / f"{name}.json").is_file()]
    chosen = choose_split(folder, there, split, usual)
    files = CocoFiles(folder / "annotations" / f"{chosen}.json", folder / chosen, scene_field="date_captured")
    document = load_document(files.annotations)
    return with_split(read_document(document, files, _KINDS, SOURCE), chosen, there, named=split is not None)
