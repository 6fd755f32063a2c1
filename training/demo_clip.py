"""Make a clip from consecutive pictures of a data set: how the shipped thermal clip was made.

python -m training.demo_clip DATASET... --prefix 1_60_50_0_ --fps 10 --out edge/clips/thermal-hit-uav.mp4
"""

from fractions import Fraction
from pathlib import Path
from typing import Annotated

import av
import cv2
import numpy as np
import typer

from edge.errors import UnusableInputError
from training.datasets import LabelledPicture, read_dataset


def frames_of(datasets: list[Path], prefix: str) -> list[LabelledPicture]:
    """Pictures whose names start so, in the order of their names, from all the data sets."""
    found = [p for path in datasets for p in read_dataset(path).pictures if p.path.name.startswith(prefix)]
    if not found:
        raise UnusableInputError(f"--prefix must start the name of a picture, got {prefix!r}; look at the file names")
    return sorted(found, key=lambda p: p.path.name)


def main(
    datasets: Annotated[list[Path], typer.Argument(help="Labelled folders.")],
    prefix: Annotated[str, typer.Option(help="Start of the names of the clip's pictures.")],
    out: Annotated[Path, typer.Option(help="MP4 to write.")],
    fps: Annotated[int, typer.Option(help="Pictures a second.", min=1)] = 10,
) -> None:
    """Join pictures to an H.264 clip."""
    pictures = frames_of(datasets, prefix)
    with av.open(out, "w") as container:
        size = pictures[0].size_wh
        stream = container.add_stream("libx264", Fraction(fps), {"crf": "26", "preset": "slow"})
        stream.width, stream.height, stream.pix_fmt = size.width, size.height, "yuv420p"
        for picture in pictures:
            image = np.asarray(cv2.imread(str(picture.path)), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())
    typer.echo(f"wrote {out}: {len(pictures)} frames, {sum(len(p.boxes_xyxy) for p in pictures)} labelled pedestrians")


if __name__ == "__main__":
    typer.run(main)
