"""Annotated copies of pictures: `annotated/NAME.jpg`, for sources that are no video."""

import errno
from pathlib import Path

import cv2

from edge.drawing import draw
from edge.records import Frame, FrameRecord, Image, Record
from edge.results import LIST_NAME
from edge.sinks.sink import Sink, broken_off, unwritable

_JPEG_SUFFIXES = (".jpg", ".jpeg")
_QUALITY = 92


class AnnotatedPicturesSink(Sink):
    """One JPEG a picture, at its own size, under its own name; a picture that could not be read has none."""

    def __init__(self, folder: Path) -> None:
        """Raises InvalidValueError where the folder cannot be created."""
        self.warnings: list[str] = []
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(folder, error) from None

    def write(self, record: Record, frame: Frame | None) -> None:
        """Draw and write the picture of a frame record."""
        if isinstance(record, FrameRecord) and frame is not None and frame.image is not None:
            self._save(frame, draw(frame.image, record))

    def close(self) -> None:
        """Nothing stays open."""

    def _save(self, frame: Frame, image: Image) -> None:
        path = self._folder / annotated_name(frame)
        try:
            encoded, content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
            if not encoded:
                self.warnings.append(f"no annotated copy of {frame.name}: the picture is too large for JPEG")
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.tobytes())
            self._list(path)
        except (OSError, cv2.error) as error:
            if getattr(error, "errno", None) != errno.ENAMETOOLONG:
                raise broken_off(path, error) from None
            self.warnings.append(f"no annotated copy of {frame.name}: its name would be too long")

    def _list(self, path: Path) -> None:
        """That it is ours, so that a later run may remove it. Raises OSError."""
        with (self._folder / LIST_NAME).open("a", encoding="utf-8", errors="surrogateescape") as listing:
            listing.write(f"{path.relative_to(self._folder).as_posix()}\n")


def annotated_name(frame: Frame) -> str:
    """The picture's own name; `.jpg` is added where it is no JPEG, so that a.png and a.jpg stay apart."""
    name = frame.name or f"{frame.seq:06d}"
    return name if name.lower().endswith(_JPEG_SUFFIXES) else f"{name}.jpg"
