"""Make a clip from consecutive pictures of a data set: how the shipped thermal clip was made.

python -m training.demo_clip DATASET... --prefix 1_60_50_0_ --fps 10 --out edge/clips/thermal-hit-uav.mp4
"""

from fractions import Fraction
from pathlib import Path
from typing import Annotated

import av
import cv2
import typer

from edge.errors import UnusableInputError
from edge.records import Image
from training.datasets import LabelledPicture, load_image, read_dataset


def frames_of(datasets: list[Path], prefix: str) -> list[LabelledPicture]:
    """Pictures whose names start so, in the order of their names, from all the data sets."""
    found = [p for path in datasets for p in read_dataset(path).pictures if p.path.name.startswith(prefix)]
    if not found:
        raise UnusableInputError(f"--prefix must start the name of a picture, got {prefix!r}; look at the file names")
    return sorted(found, key=lambda p: p.path.name)


def without_strays(images: list[Image]) -> list[Image]:
    """Drop frames that resemble neither neighbour while these resemble each other: names count in another order here
    and there (9, 10, 100, 11), and put a frame of another moment between two that belong together."""
    small = [cv2.resize(cv2.cvtColor(i, cv2.COLOR_BGR2GRAY), (40, 32), interpolation=cv2.INTER_AREA) for i in images]

    def apart(a: int, b: int) -> float:
        return float(cv2.absdiff(small[a], small[b]).mean())

    last = len(images) - 1
    strays = {k for k in range(1, last) if min(apart(k - 1, k), apart(k, k + 1)) > 1.3 * apart(k - 1, k + 1)}
    return [image for k, image in enumerate(images) if k not in strays]


def main(
    datasets: Annotated[list[Path], typer.Argument(help="Labelled folders.")],
    prefix: Annotated[str, typer.Option(help="Start of the names of the clip's pictures.")],
    out: Annotated[Path, typer.Option(help="MP4 to write.")],
    fps: Annotated[int, typer.Option(help="Pictures a second.", min=1)] = 10,
) -> None:
    """Join pictures to an H.264 clip."""
    pictures = frames_of(datasets, prefix)
    images = without_strays([load_image(picture) for picture in pictures])
    with av.open(out, "w") as container:
        size = pictures[0].size_wh
        stream = container.add_stream("libx264", Fraction(fps), {"crf": "26", "preset": "slow"})
        stream.width, stream.height, stream.pix_fmt = size.width, size.height, "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())
    typer.echo(f"wrote {out}: {len(images)} frames of {len(pictures)} pictures")


if __name__ == "__main__":
    typer.run(main)
