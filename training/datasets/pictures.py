"""The pixels of a labelled picture."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tqdm import tqdm

from edge.cpu import usable_cores
from edge.records import Image, Modality, SizeWH
from edge.sources.pictures import read_picture
from edge.thermal import PaletteReader
from training.datasets.records import DatasetError, LabelledPicture


def load_image(picture: LabelledPicture) -> Image:
    """Decode a picture to (H, W, 3) uint8 BGR as `kestrel watch` does.

    Raises:
        DatasetError: it cannot be decoded, or its size differs from the annotation's.
    """
    image = read_picture(picture.path).image
    if image is None:
        raise DatasetError(f"{picture.path} must be a picture that OpenCV can decode; it is damaged or missing")
    size_wh = SizeWH(image.shape[1], image.shape[0])
    if size_wh != picture.size_wh:
        raise DatasetError(f"{picture.path} must be {picture.size_wh} as its annotation says, got {size_wh}")
    return image


def load_as_learnt(picture: LabelledPicture, modality: Modality | None) -> Image:
    """The same as a network sees it: thermal pictures in false colours are turned to grey. Errors as there."""
    image = load_image(picture)
    return PaletteReader().to_grey(image) if modality == "thermal" else image


def require_decodable(pictures: Sequence[LabelledPicture]) -> None:
    """Decode all of them once, with a progress bar: better now than in the third hour of a run. Errors as there."""
    with ThreadPoolExecutor(usable_cores()) as threads:
        for _ in tqdm(threads.map(_decode, pictures), "check", len(pictures), unit="picture", disable=None):
            pass


def _decode(picture: LabelledPicture) -> None:
    """Without the image, or all of them would wait in memory."""
    load_image(picture)
