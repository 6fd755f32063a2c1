"""A decoded frame as BGR, upright, at its own size or straight at the smaller size at which the network wants it.

Both ways end in the same conversion of swscale, with the matrix and range that the video says of itself, as OpenCV's
VideoCapture does: at full size the pictures are the same bit for bit. For 4:2:0 of 8 bit the planes are scaled before
they become BGR, which takes a quarter of the time of converting and then scaling 1080p; other formats go through
swscale's own scaling. What that does to accuracy is measured by `python -m tests.bench_shrink`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from av.filter import Graph
from av.sidedata.sidedata import SideDataContainer
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import Interpolation

from edge.records import Image, SizeWH
from edge.scaling import resize_into

Fit = Callable[[SizeWH], SizeWH]  # the size at which pictures of a source of some size are wanted

_PLANAR = ("yuv420p", "yuvj420p")
_MATRIX = "DISPLAYMATRIX"
_FULL_RANGE = 2  # FFmpeg's AVCOL_RANGE_JPEG


class ToBgr:
    """Frames of one video as BGR, in memory that is used again once nobody holds the picture.

    FFmpeg's filters keep such a pool. New memory for each frame of 1080p takes a millisecond, and as it has to be
    aligned, hardly any fits where an earlier one was: of 60 MB half would lie idle.
    """

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._kind: tuple[int, int, str, int, int] | None = None  # of the frames that the graph is made for

    def image(self, frame: VideoFrame) -> Image:
        """The frame as it lies in memory; bicubic is for formats with no conversion of their own, as OpenCV has it."""
        if frame.format.name not in _PLANAR:  # of more bits, FFmpeg's filter rounds otherwise
            return np.asarray(
                frame.to_ndarray(format="bgr24", interpolation=Interpolation.BICUBIC, threads=1), np.uint8
            )
        kind = (frame.width, frame.height, frame.format.name, int(frame.colorspace), int(frame.color_range))
        if self._graph is None or self._kind != kind:
            self._graph, self._kind = _graph_for(frame), kind
        self._graph.push(frame)
        converted = self._graph.pull()
        assert isinstance(converted, VideoFrame)
        return np.asarray(converted.to_ndarray(), np.uint8)


@dataclass(frozen=True, slots=True)
class Orientation:
    """What a display matrix makes of a picture: its sides exchanged or not, then mirrored; 90 degrees are both."""

    transposed: bool = False
    mirrored: bool = False  # left and right
    upside_down: bool = False

    def applied_to(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The picture (H, W) or (H, W, C) as it is to be shown, contiguous."""
        if self == Orientation():
            return image
        shown = np.swapaxes(image, 0, 1) if self.transposed else image
        shown = shown[:: -1 if self.upside_down else 1, :: -1 if self.mirrored else 1]
        return np.ascontiguousarray(shown)


def orientation_of(frame: VideoFrame) -> Orientation:
    """What the file asks for, by the matrix a b u c d v x y w, under which (x, y) is shown at (ax + cy, bx + dy)."""
    # Not frame.side_data, which holds on to the frame that holds it: some hundred MB, until they are looked for.
    told: Mapping[Any, Any] = SideDataContainer(frame)  # type: ignore[call-arg]  # the stubs leave it out
    if _MATRIX not in told:
        return Orientation()
    a, b, _, c, d = np.frombuffer(bytes(told[_MATRIX]), np.int32)[:5].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(transposed=True, mirrored=c < 0, upside_down=b < 0)
    return Orientation(mirrored=a < 0, upside_down=d < 0)


def upright_image(frame: VideoFrame, orientation: Orientation, to_bgr: ToBgr, fit: Fit | None = None) -> Image:
    """The picture as BGR, turned; with `fit` at that size, if it is smaller than the frame."""
    image = None if fit is None else _shrunk_image(frame, to_bgr, fit, turned=orientation.transposed)
    return orientation.applied_to(to_bgr.image(frame) if image is None else image)


def upright_wh(frame: VideoFrame, orientation: Orientation) -> SizeWH:
    """The size of the whole picture, upright."""
    size_wh = SizeWH(frame.width, frame.height)
    return _turned(size_wh) if orientation.transposed else size_wh


def _shrunk_image(frame: VideoFrame, to_bgr: ToBgr, fit: Fit, *, turned: bool) -> Image | None:
    """None where the frame is not larger than wanted."""
    frame_wh = SizeWH(frame.width, frame.height)
    wanted = _turned(fit(_turned(frame_wh))) if turned else fit(frame_wh)
    if wanted.width >= frame_wh.width or wanted.height >= frame_wh.height:
        return None
    if frame.format.name not in _PLANAR:
        smaller = frame.reformat(wanted.width, wanted.height, "bgr24", interpolation=Interpolation.AREA, threads=1)
        return np.asarray(smaller.to_ndarray(), np.uint8)
    smaller = VideoFrame(wanted.width, wanted.height, "yuv420p")
    for plane, into in zip(frame.planes, smaller.planes, strict=True):
        resize_into(_pixels(plane), _pixels(into))
    smaller.colorspace = frame.colorspace
    smaller.color_range = _FULL_RANGE if frame.format.name == "yuvj420p" else frame.color_range
    return to_bgr.image(smaller)


def _graph_for(frame: VideoFrame) -> Graph:
    graph = Graph()
    time_base = frame.time_base or Fraction(1, 1000)  # not used, but asked for
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=time_base)
    graph.link_nodes(source, graph.add("scale", "flags=bicubic"), graph.add("format", "bgr24"), graph.add("buffersink"))
    graph.configure()
    return graph


def _pixels(plane: VideoPlane) -> npt.NDArray[np.uint8]:
    """A view (H, W) into the plane; its rows lie `line_size` apart."""
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return rows[: plane.height, : plane.width]


def _turned(size_wh: SizeWH) -> SizeWH:
    return SizeWH(size_wh.height, size_wh.width)
