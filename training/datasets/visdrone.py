"""VisDrone-DET: `annotations/<name>.txt` beside `images/<name>.jpg`, one line a box.

Columns: left, top, width, height in pixels; score (0: not judged); class; truncation (0 none, 1 up to half outside the
picture); occlusion (0 none, 1 up to half, 2 more than half). Classes: 0 ignored region, 1 pedestrian (standing or
walking), 2 people (any other pose), 3 to 10 vehicles, 11 others. VisDrone (Zhu et al., arXiv 1804.07437).

Classes 1 and 2 become pedestrians. Class 0 and a score of 0 become ignore regions. A person who is more than half
hidden becomes one too: such a box holds more background than person, and whether it should be found is a matter of
taste. The official benchmark counts them, so its figures are not comparable with ours. Truncated people stay
pedestrians: their box ends at the border and is what can be seen.

VisDrone is colour. A folder in its layout is thermal where its name says so.
"""

from collections.abc import Iterator
from pathlib import Path

from training.datasets.labels import (
    Kind,
    Label,
    PictureEntry,
    as_dataset,
    check_picture,
    modality_of_words,
    size_from_header,
)
from training.datasets.records import Dataset, DatasetError
from training.datasets.textfile import Line, files_below, list_pictures, read_lines

IGNORED_CLASS = 0
PEDESTRIAN_CLASSES = (1, 2)
HEAVY_OCCLUSION = 2
_COLUMNS = 8


def find_visdrone(path: Path, split: str | None) -> Path | None:
    """The folder with `images/` and `annotations/*.txt`; a `split` may be a sub-folder such as VisDrone2019-DET-val."""
    candidates = [path]
    if split is not None:
        candidates = [path / split, *sorted(path.glob(f"*-{split}")), *sorted(path.glob(f"*-{split}-dev"))]
    for folder in candidates:
        if (folder / "images").is_dir() and files_below(folder / "annotations", {".txt"}):
            return folder
    return None


def read_visdrone(folder: Path) -> Dataset:
    """Read one split. Every picture needs an annotation file; an empty one says that it holds nobody.

    Raises:
        DatasetError: a line with a wrong number of columns, a value out of its range, a box outside its picture, an
            annotation file without a picture or the reverse.
    """
    images, annotations = folder / "images", folder / "annotations"
    label_files: dict[Path, Path] = {}  # of each its picture
    for path in list_pictures(images):
        file = (annotations / path.relative_to(images)).with_suffix(".txt")
        if file in label_files:
            raise DatasetError(f"{path} must have a name of its own, got that of {label_files[file].name}; rename one")
        label_files[file] = path
    for file in files_below(annotations, {".txt"}):
        if file not in label_files:
            raise DatasetError(f"{file} must have a picture of the same name in {images}, got none")
    checked = []
    for file, path in label_files.items():
        labels = _labels(file)
        sequence = path.stem.split("_")[0]  # 0000086_00000_d_0000001 is a frame of sequence 86
        checked.append(check_picture(PictureEntry(path, size_from_header(path), sequence, "visdrone"), labels))
    name = folder.resolve().name
    return as_dataset(name, modality_of_words(name) or "rgb", checked)


def _labels(file: Path) -> Iterator[Label]:
    for line in read_lines(file, ","):
        fields = line.fields[:-1] if line.fields[-1] == "" else line.fields  # many files end each line with a comma
        if len(fields) != _COLUMNS:
            raise DatasetError(
                f"{line.place}: line must have {_COLUMNS} columns (left, top, width, height, score, class, truncation, "
                f"occlusion), got {len(fields)}"
            )
        x, y = line.number(0, "left"), line.number(1, "top")
        width, height = line.number(2, "width"), line.number(3, "height")
        kind = _kind(line)
        yield Label(kind, (x, y, x + width, y + height), f"{line.place}: box")


def _kind(line: Line) -> Kind:
    judged = line.choice(4, "score", range(2))
    class_id = line.choice(5, "class", range(12))
    line.choice(6, "truncation", range(2))
    occlusion = line.choice(7, "occlusion", range(3))
    if class_id == IGNORED_CLASS or not judged:
        return "ignore"
    if class_id not in PEDESTRIAN_CLASSES:
        return "other"
    return "ignore" if occlusion == HEAVY_OCCLUSION else "pedestrian"
