"""YOLO folders: `data.yaml` names the classes and the picture folders, `labels/<name>.txt` has a line a box.

A line is `class cx cy w h`, the last four as shares of the picture's width and height. The label folder is the picture
folder with its last `images` replaced by `labels`. A picture without a label file holds nobody; one that is listed
twice counts once.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from edge.records import SizeWH
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
from training.datasets.split_choice import choose_split, with_split
from training.datasets.textfile import Line, list_pictures, read_lines

_YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_SPLITS = ("train", "val", "valid", "test")
_COLUMNS = 5
ROUNDING = 1e-6  # by which a share may miss 0..1; boxes are clipped anyway


@dataclass(frozen=True, slots=True)
class YoloDescription:
    """What `data.yaml` says."""

    file: Path
    root: Path  # picture folders are relative to it
    kinds: Mapping[int, Kind]
    folders: Mapping[str, tuple[str, ...]]  # split -> folders, or text files that list pictures


def find_yolo(path: Path) -> Path | None:
    """The description file of a YOLO folder (or the file itself), None where the layout is another."""
    if path.is_file():
        return path if path.suffix in (".yaml", ".yml") else None
    return next((path / name for name in _YAML_NAMES if (path / name).is_file()), None)


def read_yolo(file: Path, split: str | None, usual: str | None = None) -> Dataset:
    """Read one split; without a name the only one there is, or the usual one of several.

    Raises:
        DatasetError: a broken description or line, polygons, a class without a name, a picture that is not there.
    """
    description = _describe(file)
    chosen = choose_split(file, tuple(description.folders), split, usual)
    checked = []
    labels_seen = 0
    for path, below in dict(_pictures(description, chosen)).items():
        label_file = _label_file(path)
        size_wh = size_from_header(path)
        labels = list(_labels(label_file, description, size_wh)) if label_file.is_file() else []
        labels_seen += label_file.is_file()
        scene = scene_of_name(_below(path, below))
        checked.append(check_picture(PictureEntry(path, size_wh, scene, file.resolve().parent.name), labels))
    if checked and not labels_seen:
        expected = _label_file(checked[0].picture.path)
        raise DatasetError(f"{file}: {chosen} must have label files such as {expected}, got none")
    name = file.resolve().parent.name
    read = as_dataset(name, modality_of_words(name), checked)
    return with_split(read, chosen, tuple(description.folders), named=split is not None)


def _describe(file: Path) -> YoloDescription:
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{file}:{mark.line + 1}" if mark else f"{file}"
        raise DatasetError(
            f"{place}: must be YAML; {getattr(error, 'problem', None) or 'it cannot be parsed'}"
        ) from None
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, or a date that there is not
        raise DatasetError(f"{file} must be readable YAML; {error}") from None
    if not isinstance(values, dict):
        raise DatasetError(f"{file}:1: must be a YAML mapping with names and train or val, got {type(values).__name__}")
    root = file.parent / str(values.get("path") or ".")
    if not root.is_dir():
        raise DatasetError(
            f"{file}: path must be a folder, got {str(root)!r}; correct it, or delete it for {file.parent}"
        )
    kinds = {class_id: kind_of_class(name) for class_id, name in _names(file, values.get("names")).items()}
    if "pedestrian" not in kinds.values():
        raise DatasetError(
            f"{file}: names must contain pedestrian, person or people, got {values.get('names')}; rename the class"
        )
    folders = {name: _folders(file, name, values[name]) for name in _SPLITS if values.get(name)}
    if not folders:
        raise DatasetError(f"{file}: one of {', '.join(_SPLITS)} must name a folder of pictures, got none")
    return YoloDescription(file, root, kinds, folders)


def _names(file: Path, names: Any) -> dict[int, str]:
    """Class names by number, from a list or a mapping."""
    rows = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(rows, dict) or not rows:
        raise DatasetError(f"{file}: names must be a list or a mapping of class names, got {names!r}")
    for key, value in rows.items():
        if isinstance(key, bool) or not isinstance(key, int) or not isinstance(value, str):
            raise DatasetError(f"{file}: names must map whole numbers to text, got {key!r}: {value!r}")
    return rows


def _folders(file: Path, name: str, value: Any) -> tuple[str, ...]:
    rows = value if isinstance(value, list) else [value]
    if not all(isinstance(row, str) for row in rows):
        raise DatasetError(f"{file}: {name} must be a folder or a list of folders, got {value!r}")
    return tuple(rows)


def _below(path: Path, root: Path) -> str:
    """The picture's path as it is below `root`."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _pictures(description: YoloDescription, split: str) -> Iterator[tuple[Path, Path]]:
    """Each with the folder that its scene is named in: a split's own, since a scene may reach into another split."""
    for folder in description.folders[split]:
        place = description.root / folder
        if not place.exists() and folder.startswith("../"):
            place = description.root / folder.removeprefix("../")  # Roboflow's files are relative to a folder below
        if place.suffix == ".txt":
            yield from ((path, description.root) for path in _listed_pictures(place))
        else:
            yield from ((path, place) for path in list_pictures(place))


def _listed_pictures(file: Path) -> Iterator[Path]:
    for line in read_lines(file, "\n"):
        path = file.parent / line.fields[0]
        if not path.is_file():
            raise DatasetError(f"{line.place}: line must name a picture, got {line.fields[0]!r}")
        yield path


def _label_file(picture: Path) -> Path:
    parts = list(picture.parts)
    for k in range(len(parts) - 2, -1, -1):
        if parts[k] == "images":
            parts[k] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _labels(file: Path, description: YoloDescription, size_wh: SizeWH) -> Iterator[Label]:
    for line in read_lines(file, None):
        kind = _kind(line, description)
        cx, cy = (
            _share(line, k, name) * side for k, name, side in ((1, "cx", size_wh.width), (2, "cy", size_wh.height))
        )
        width = _share(line, 3, "width") * size_wh.width
        height = _share(line, 4, "height") * size_wh.height
        box = (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
        yield Label(kind, box, f"{line.place}: box")


def _kind(line: Line, description: YoloDescription) -> Kind:
    count = len(line.fields)
    if count > _COLUMNS + 1:
        raise DatasetError(
            f"{line.place}: line must be a box (class cx cy width height), got {count} columns: a polygon; "
            "export the data set as boxes"
        )
    if count != _COLUMNS:
        raise DatasetError(f"{line.place}: line must have {_COLUMNS} columns (class cx cy width height), got {count}")
    number = line.number(0, "class")
    if number not in description.kinds:
        known = ", ".join(map(str, description.kinds))
        raise DatasetError(
            f"{line.place}: class must be one of {known} of {description.file.name}, got {line.fields[0]!r}"
        )
    return description.kinds[int(number)]


def _share(line: Line, position: int, name: str) -> float:
    value = line.number(position, name)
    if not -ROUNDING <= value <= 1 + ROUNDING:
        raise DatasetError(
            f"{line.place}: {name} must be in 0..1, got {line.fields[position]}; "
            "YOLO labels are shares of the picture, not pixels"
        )
    return value
