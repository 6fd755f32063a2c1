"""The pixels of a labelled picture."""

from edge.records import Image, SizeWH
from edge.sources.pictures import read_picture
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
