"""Readers of labelled pictures: one file a format, one result for all.

dataset = read_dataset(Path("flights/train"))
dataset.pictures[0].boxes_xyxy    # (N, 4) pedestrians in picture pixels
"""

from collections.abc import Iterable
from pathlib import Path

from training.datasets.coco import find_coco, find_coco_splits, read_coco
from training.datasets.hit_uav import find_hit_uav, read_hit_uav
from training.datasets.pictures import load_as_learnt, load_image, require_decodable
from training.datasets.records import Dataset, DatasetError, LabelledPicture, ScoredBoxes
from training.datasets.split_choice import choose_split, with_split
from training.datasets.visdrone import find_visdrone, read_visdrone
from training.datasets.yolo import find_yolo, read_yolo

__all__ = [
    "Dataset",
    "DatasetError",
    "LabelledPicture",
    "ScoredBoxes",
    "find_by_name",
    "join_datasets",
    "load_as_learnt",
    "load_image",
    "read_dataset",
    "require_decodable",
]

_LAYOUTS = (
    "COCO (annotations.json and images/), VisDrone (annotations/*.txt and images/), YOLO (data.yaml), "
    "HIT-UAV (normal_json/)"
)


def read_dataset(
    path: Path, split: str | None = None, *, usual: str | None = None, require_pedestrians: bool = False
) -> Dataset:
    """Read a labelled folder; its layout is recognised.

    `split` names one of several splits in one folder; where none is named, `usual` is taken: train, or val.

    Raises:
        DatasetError: no known layout, a broken annotation file (file, line and rule are named), a missing picture,
            no picture at all, or, where asked for, no pedestrian.
    """
    if not path.exists():
        raise DatasetError(f"dataset must be a folder that exists, got {str(path)!r}; name a labelled folder")
    dataset = _read(path, split, usual)
    if not dataset.pictures:
        raise DatasetError(f"{path} must hold at least one labelled picture, got none; name another folder")
    if require_pedestrians and not dataset.pedestrians:
        raise DatasetError(
            f"{path} must hold at least one pedestrian, got none in {len(dataset.pictures)} pictures; "
            "check the names of its classes"
        )
    return dataset


def find_by_name(folder: Path, name: str) -> Dataset | None:
    """The data set of that name, as `read_dataset` gave it, in `folder`; None where it is not there.

    Raises:
        DatasetError: it is there, and broken.
    """
    if (folder / name).exists():
        return read_dataset(folder / name, usual="train")
    place, _, split = name.rpartition("-")
    several = place and (folder / place).is_dir() and find_coco(folder / place) is None
    return read_dataset(folder / place, split) if several else None


def join_datasets(datasets: Iterable[Dataset]) -> Dataset:
    """Several data sets as one.

    Raises:
        DatasetError: none given, or thermal and colour mixed: they are different worlds, one network each.
    """
    parts = tuple(datasets)
    if not parts:
        raise DatasetError("datasets must be at least one, got none")
    modalities = {part.modality for part in parts} - {None}
    if len(modalities) > 1:
        told = ", ".join(f"{part.name}: {part.modality}" for part in parts)
        raise DatasetError(f"datasets must share one modality, got {told}; train one network for each")
    return Dataset(
        name="+".join(part.name for part in parts),
        modality=next(iter(modalities), None),
        pictures=tuple(picture for part in parts for picture in part.pictures),
        warnings=tuple(f"{part.name}: {warning}" for part in parts for warning in part.warnings),
    )


def _read(path: Path, split: str | None, usual: str | None = None) -> Dataset:
    name = (path.parent if path.is_file() else path).resolve().name
    coco = find_coco(path)
    if coco is not None:
        if split is not None:
            raise DatasetError(f"split must be left out for {path}, got {split!r}; it holds one set of pictures")
        folders_own = path.is_dir() or find_coco(path.parent) == coco
        return read_coco(coco, name if folders_own else f"{name}/{path.name}")
    splits = find_coco_splits(path)
    if splits:
        chosen = choose_split(path, tuple(splits), split, usual)
        return with_split(read_coco(splits[chosen], name), chosen, tuple(splits), named=split is not None)
    yolo = find_yolo(path)
    if yolo is not None:
        return read_yolo(yolo, split, usual)
    hit_uav = find_hit_uav(path)
    if hit_uav is not None:
        return read_hit_uav(hit_uav, split, usual)
    visdrone = find_visdrone(path, split)
    if visdrone is not None:
        return read_visdrone(visdrone)
    if split is not None and (path / split).is_dir():
        return _read(path / split, None)
    raise DatasetError(f"{path} must be a labelled folder, got no known layout; known are {_LAYOUTS}")
