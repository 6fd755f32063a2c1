"""COCO-format folders: one JSON file beside its pictures.

Known places: `annotations.json` with `images/`; `_annotations.coco.json` with the pictures beside it (Roboflow);
`annotations/instances_<split>.json` with `<split>/`, `images/<split>/` or `images/`; a folder of these a split; or the
JSON file itself.
Classes go by name: pedestrian, person and people are pedestrians; ignore, rider and crowd regions (`iscrowd` = 1) are
ignored; all else is kept as `others`. `source`, `scene` and `modality` of an image are read where given.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from edge.modality import mismatch
from edge.records import Modality, SizeWH
from edge.sources.pictures import read_picture
from training.datasets.labels import (
    Kind,
    Label,
    PictureEntry,
    as_dataset,
    check_picture,
    kind_of_class,
    modality_of_words,
    scene_of_name,
    size_from_header,
)
from training.datasets.records import Dataset, DatasetError

_INSTANCES = "instances_"
LOOKED_AT = 12  # pictures that must look like the modality that others say
_MODALITY_OF_SOURCE: Mapping[str, Modality] = {"hit-uav": "thermal"}


@dataclass(frozen=True, slots=True)
class CocoFiles:
    """One annotation file and the folder that its file names are relative to."""

    annotations: Path
    images: Path
    scene_field: str = "scene"  # of an image; where it is missing, the file name has to do


def find_coco(path: Path) -> CocoFiles | None:
    """The annotation file of a COCO-format folder (or the file itself), None where the layout is another."""
    if path.is_file():
        if path.suffix != ".json":
            return None
        if path.stem.startswith(_INSTANCES) and path.parent.name == "annotations":
            return _instances(path)
        return CocoFiles(path, _first_folder(path.parent / "images", path.parent))
    for name, images in (("annotations.json", "images"), ("_annotations.coco.json", ".")):
        if (path / name).is_file():
            return CocoFiles(path / name, path / images)
    return None


def find_coco_splits(path: Path) -> dict[str, CocoFiles]:
    """The same of each split in one folder: `annotations/instances_<split>.json`, or a COCO-format folder a split."""
    instances = sorted((path / "annotations").glob(f"{_INSTANCES}*.json"))
    splits = {file.stem.removeprefix(_INSTANCES): _instances(file) for file in instances}
    for name in ("train", "val", "valid", "test"):
        found = find_coco(path / name)
        if found is not None:
            splits.setdefault(name, found)
    return splits


def _instances(file: Path) -> CocoFiles:
    root, split = file.parent.parent, file.stem.removeprefix(_INSTANCES)
    return CocoFiles(file, _first_folder(root / split, root / "images" / split, root / "images"))


def read_coco(files: CocoFiles, name: str) -> Dataset:
    """Read one annotation file.

    Raises:
        DatasetError: not JSON, a missing or ill-typed field, a box outside its picture, a picture that is not there.
    """
    document = load_document(files.annotations)
    kinds: dict[int, Kind] = {}
    for entry in document.entries("categories"):
        category_id = entry.integer("id")
        if category_id in kinds:
            raise DatasetError(f"{entry.place}: id must be unique, got {category_id} again")
        kinds[category_id] = kind_of_class(entry.text("name"))
    if "pedestrian" not in kinds.values():
        names = [entry.text("name") for entry in document.entries("categories")]
        raise DatasetError(
            f"{files.annotations}: categories must name pedestrian, person or people, got {names}; rename the class"
        )
    return read_document(document, files, kinds, name)


def read_document(document: "Document", files: CocoFiles, kinds: Mapping[int, Kind], name: str) -> Dataset:
    """Pictures of an annotation file whose category ids mean `kinds`. Errors as for `read_coco`."""
    if not files.images.is_dir():
        raise DatasetError(f"{files.images} must be a folder with the pictures of {files.annotations}; it is missing")
    entries, modalities, silent = _read_images(document, files, name)
    labels: dict[int, list[Label]] = {image_id: [] for image_id in entries}
    for entry in document.entries("annotations", "annotation"):
        image_id = entry.integer("image_id")
        if image_id not in labels:
            raise DatasetError(f"{entry.place}: image_id must be the id of an image, got {image_id}")
        labels[image_id].append(_label(entry, kinds))
    checked = [check_picture(entry, labels[image_id]) for image_id, entry in entries.items()]
    return as_dataset(name, _one_modality(document, modalities, silent, name), checked)


def _one_modality(
    document: "Document", modalities: Counter[Modality], silent: list[Path], name: str
) -> Modality | None:
    """What the pictures say, or else the folder's name; `silent` ones say nothing."""
    if len(modalities) > 1:
        counts = " and ".join(f"{modality} ({count} pictures)" for modality, count in sorted(modalities.items()))
        raise DatasetError(f"{document.file}: modality must be one for all pictures, got {counts}; split the data set")
    modality = next(iter(modalities), None)
    if modality is not None and silent:
        _require_looks(document, [silent[k * len(silent) // LOOKED_AT] for k in range(LOOKED_AT)], modality)
    return modality or modality_of_words(name)


def _require_looks(document: "Document", paths: list[Path], modality: Modality) -> None:
    """Pictures that say nothing of themselves must not be taken for what others say of theirs."""
    images = [read_picture(path).image for path in dict.fromkeys(paths)]
    if mismatch([image for image in images if image is not None], modality):
        raise DatasetError(
            f"{document.file}: modality must be one for all pictures, got {modality} and others that say nothing and "
            f"do not look like it, such as {paths[0].name}; split the data set"
        )


def _read_images(
    document: "Document", files: CocoFiles, name: str
) -> tuple[dict[int, PictureEntry], Counter[Modality], list[Path]]:
    """Pictures by id in file order, how many say which modality, and those that say none."""
    entries: dict[int, PictureEntry] = {}
    silent: list[Path] = []
    paths: set[Path] = set()
    modalities: Counter[Modality] = Counter()
    for entry in document.entries("images"):
        image_id = entry.integer("id")
        if image_id in entries:
            raise DatasetError(f"{entry.place}: id must be unique, got {image_id} again")
        path, file_name = picture_path(entry, files), _file_name(entry)
        if path in paths:
            raise DatasetError(f"{entry.place}: file_name must be unique, got {file_name!r} again; join their labels")
        paths.add(path)
        source = entry.text("source", default=name)
        scene = entry.text(files.scene_field, default="") or scene_of_name(file_name)
        entries[image_id] = PictureEntry(path, _size(entry, path), scene, source)
        modality = _modality(entry, document, source)
        if modality is None:
            silent.append(path)
        else:
            modalities[modality] += 1
    return entries, modalities, silent


def picture_path(entry: "Entry", files: CocoFiles) -> Path:
    """Where the picture of an entry of `images` lies.

    Raises:
        DatasetError: it does not.
    """
    file_name = _file_name(entry)
    for folder in (files.images, files.annotations.parent):  # some tools write images/name.jpg
        if (folder / file_name).is_file():
            return folder / file_name
    raise DatasetError(f"{entry.place}: file_name must name a picture in {files.images}, got {file_name!r}")


def _file_name(entry: "Entry") -> str:
    return entry.text("file_name", "filename")


def _modality(entry: "Entry", document: "Document", source: str) -> Modality | None:
    said = entry.text("modality", default="") or document.info("modality")
    if not said:
        return _MODALITY_OF_SOURCE.get(source)
    for modality in get_args(Modality):
        if said == modality:
            return modality  # type: ignore[no-any-return]  # get_args is untyped
    raise DatasetError(f"{entry.place}: modality must be one of {', '.join(get_args(Modality))}, got {said!r}")


def _size(entry: "Entry", path: Path) -> SizeWH:
    if "width" not in entry.values or "height" not in entry.values:
        return size_from_header(path)
    width, height = entry.integer("width"), entry.integer("height")
    if width < 1 or height < 1:
        raise DatasetError(f"{entry.place}: width and height must be at least 1, got {width}x{height}")
    return SizeWH(width, height)


def _label(entry: "Entry", kinds: Mapping[int, Kind]) -> Label:
    category_id = entry.integer("category_id")
    if category_id not in kinds:
        raise DatasetError(f"{entry.place}: category_id must be the id of a category, got {category_id}")
    kind = kinds[category_id]
    if kind == "pedestrian" and entry.values.get("iscrowd") is not None and _is_crowd(entry):
        kind = "ignore"
    x, y, width, height = entry.box()
    return Label(kind, (x, y, x + width, y + height), f"{entry.place}: bbox")


def _is_crowd(entry: "Entry") -> bool:
    value = entry.integer("iscrowd")
    if value not in (0, 1):
        raise DatasetError(f"{entry.place}: iscrowd must be 0 or 1, got {value}")
    return value == 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a list in the JSON file; `place` names file, list and position."""

    place: str
    values: Mapping[str, Any]

    def integer(self, name: str) -> int:
        """A whole number, also where it is written 7.0 or "7"."""
        value = self._get((name,))
        if type(value) is int:  # ids of 64 bits are more than a float holds
            return value
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = 0.5
        if isinstance(value, bool) or not number.is_integer():
            raise DatasetError(f"{self.place}: {name} must be a whole number, got {value!r}")
        return int(number)

    def text(self, *names: str, default: str | None = None) -> str:
        """The first of `names` that is there; `default` where none is."""
        value = self._get(names, default)
        if not isinstance(value, str):
            raise DatasetError(f"{self.place}: {names[0]} must be text, got {value!r}")
        return value

    def box(self) -> tuple[float, float, float, float]:
        """`bbox`: top-left x, y, width, height in pixels, as four numbers."""
        value = self._get(("bbox",))
        if not isinstance(value, list) or len(value) != 4 or not all(map(_fits_a_float, value)):
            raise DatasetError(f"{self.place}: bbox must be four numbers x, y, width, height, got {value!r}")
        x, y, width, height = map(float, value)
        return x, y, width, height

    def _get(self, names: tuple[str, ...], default: Any = None) -> Any:
        for name in names:
            if self.values.get(name) is not None:
                return self.values[name]
        if default is not None:
            return default
        given = [name for name, value in self.values.items() if value is not None]
        raise DatasetError(f"{self.place}: {names[0]} must be given, got only {', '.join(given) or 'nothing'}")


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed annotation file."""

    file: Path
    values: Mapping[str, Any]

    def entries(self, *names: str) -> list[Entry]:
        """The objects of the first list of `names` that is there."""
        for name in names:
            rows = self.values.get(name)
            if rows is None:
                continue
            if not isinstance(rows, list):
                raise DatasetError(f"{self.file}: {name} must be a list, got {type(rows).__name__}")
            for position, row in enumerate(rows):
                if not isinstance(row, dict):
                    raise DatasetError(f"{self.file}: {name}[{position}] must be an object, got {row!r}")
            return [Entry(f"{self.file}: {name}[{position}]", row) for position, row in enumerate(rows)]
        raise DatasetError(f"{self.file}: {names[0]} must be given, got only {', '.join(self.values) or 'nothing'}")

    def info(self, name: str) -> str:
        """A text of the `info` object; empty where it is not there."""
        info = self.values.get("info")
        value = info.get(name, "") if isinstance(info, dict) else ""
        return value if isinstance(value, str) else ""


def load_document(file: Path) -> Document:
    """Parse an annotation file.

    Raises:
        DatasetError: unreadable, not UTF-8 JSON, or not an object.
    """
    try:
        values = json.loads(file.read_bytes())
    except json.JSONDecodeError as error:
        raise DatasetError(f"{file}:{error.lineno}: must be JSON; {error.msg} at column {error.colno}") from None
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, or thousands of digits
        raise DatasetError(f"{file} must be readable JSON; {error}") from None
    if not isinstance(values, dict):
        raise DatasetError(
            f"{file}:1: must be a JSON object with images and annotations, got a {type(values).__name__}"
        )
    return Document(file, values)


def _fits_a_float(value: object) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < 1 << 63)


def _first_folder(*candidates: Path) -> Path:
    return next((folder for folder in candidates if folder.is_dir()), candidates[0])
