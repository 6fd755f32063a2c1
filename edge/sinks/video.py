"""The annotated video: H.264 in an MP4 that has the source's time stamps, and survives being killed.

While it grows, the file is a fragmented MP4, flushed four times in a second of video; when it is closed, FFmpeg's
`hybrid_fragmented` (7.1 and later) turns it into a plain, seekable MP4 in place. The encoder holds no frames back
(no B-frames, no look-ahead), or a killed run would lose those.
"""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import av.error
import cv2
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream

from edge.drawing import draw
from edge.records import Frame, FrameRecord, Image, Pedestrian, Record, SizeWH
from edge.sinks.sink import Sink, broken_off, unwritable

TIME_BASE = Fraction(1, 90_000)  # fine enough for 24, 25, 30 and 30000/1001 frames a second, and for milliseconds
_MUXER = {
    "movflags": "hybrid_fragmented+frag_keyframe",
    "frag_duration": "250000",  # microseconds of video that a kill may cost
    "flush_packets": "1",
}
_ASSUMED_FPS = 25.0
_MOST_STEP = 2**31 - 1  # the longest frame that MP4 can hold, in TIME_BASE: 6.6 hours
_KEYFRAME_EVERY_S = 2.0  # how exactly a player can seek
_ENCODER_THREADS = 2
# What superfast spends on adaptive quantisation and 8x8 transforms goes into sensor noise: without them 1080p takes two
# thirds of the time and half of the size at the same PSNR.
_PARAMS = "aq-mode=0:8x8dct=0:weightp=0"
# Ultrafast with its blocks smoothed takes four fifths of that, at one and a half to two times the size where little
# moves. Real time in 4K needs it.
_LARGE_PX = 2560 * 1440
_LARGE_PARAMS = "no-deblock=0:cabac=1"


class VideoSink(Sink):
    """All frames of a video source with the boxes drawn in; skipped ones carry the boxes of the last record."""

    def __init__(self, path: Path, size_wh: SizeWH, fps: float | None) -> None:
        """Create the file. `fps` serves for the length of a single frame, and where frames have no time.

        Raises:
            InvalidValueError: the file cannot be created.
        """
        self.warnings: list[str] = []
        self._path = path
        self._size_wh = size_wh
        self._even_wh = SizeWH(size_wh.width + size_wh.width % 2, size_wh.height + size_wh.height % 2)
        self._fps = fps or _ASSUMED_FPS
        self._last: FrameRecord | None = None
        self._last_pts: int | None = None
        self._left_out = 0  # of the source's time, in TIME_BASE
        self._step = max(1, round(1 / (self._fps * TIME_BASE)))  # length of the latest frame, in TIME_BASE
        # Both are used again for every frame. The encoder takes its own copy, as it holds nothing back.
        self._drawn = np.empty((size_wh.height, size_wh.width, 3), np.uint8)
        self._planes = np.empty((self._even_wh.height * 3 // 2, self._even_wh.width), np.uint8)
        self._container: OutputContainer | None = None
        if self._even_wh != size_wh:
            self.warnings.append(
                f"the annotated video is {self._even_wh} instead of {size_wh}: H.264 needs even sides, "
                "so the last row or column is repeated"
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # FFmpeg takes a relative path that begins with `10:30` for a protocol.
            self._container = av.open(str(path.absolute()), "w", format="mp4", options=_MUXER)
        except (OSError, av.error.FFmpegError) as error:
            raise unwritable(path, error) from None
        self._stream = _add_stream(self._container, self._even_wh, self._fps)

    def write(self, record: Record, frame: Frame | None) -> None:
        """Draw and append the frame of a frame record."""
        if isinstance(record, FrameRecord) and frame is not None:
            self.append(frame, self.draw(frame, record))

    def skip(self, frame: Frame) -> None:
        """Append a frame that was not recognised, with the boxes of the last record."""
        if frame.signal != "ok":
            image = self._annotated(frame, FrameRecord.unseen(frame.seq, frame.signal, frame.time_s))
        elif self._last is not None:
            image = self._annotated(frame, replace(self._last, seq=frame.seq, time_s=frame.time_s))
        else:
            image = self._canvas(frame)
        self.append(frame, image)

    def draw(self, frame: Frame, record: FrameRecord) -> Image:
        """The frame with its boxes, which frames that are skipped after it get, too; the next one is drawn over it."""
        self._last = in_pixels_of(record, frame.size_wh, self._size_wh)
        return self._annotated(frame, self._last)

    def append(self, frame: Frame, image: Image) -> None:
        """Encode one picture at its own time.

        Raises:
            ProcessingError: the file cannot be written further.
        """
        if self._container is None:
            return
        time_s = frame.time_s if frame.time_s is not None else frame.seq / self._fps
        pts = round(time_s / TIME_BASE) - self._left_out
        if self._last_pts is not None:
            pts = max(pts, self._last_pts + 1)  # two frames at one time would be refused
            if pts - self._last_pts > _MOST_STEP:
                pts = self._without_gap(pts, self._last_pts + self._step)
            self._step = pts - self._last_pts
        self._last_pts = pts
        try:
            self._mux(self._container, self._encodable(image, pts))
        except (OSError, av.error.FFmpegError) as error:
            self._give_up()
            raise broken_off(self._path, error) from None

    def settle(self) -> None:
        """Finish the file. Raises ProcessingError."""
        self.close()

    def close(self) -> None:
        """Finish the file, so that it can be sought in; a video without a single frame is removed."""
        container, self._container = self._container, None
        if container is None:
            return
        try:
            if self._last_pts is not None:
                self._mux(container, None)
            container.close()
            if self._last_pts is None:
                self._path.unlink(missing_ok=True)
        except (OSError, av.error.FFmpegError) as error:
            raise broken_off(self._path, error) from None

    def _annotated(self, frame: Frame, record: FrameRecord) -> Image:
        """With boxes that are in the video's pixels."""
        return draw(self._canvas(frame), record, into=self._drawn)

    def _without_gap(self, pts: int, next_pts: int) -> int:
        """`next_pts`, from which on the time goes on."""
        self._left_out += pts - next_pts
        hours = float((pts - next_pts) * TIME_BASE) / 3600
        self.warnings.append(f"the source's time jumps by {hours:.1f} h; the annotated video leaves that out")
        return next_pts

    def _canvas(self, frame: Frame) -> Image:
        """The frame at the video's size; grey where there is no picture, like the screen of a lost link."""
        width, height = self._size_wh.width, self._size_wh.height
        if frame.image is None:
            return np.full((height, width, 3), 40, np.uint8)
        if frame.image.shape[:2] == (height, width):
            return frame.image
        note = f"the size of the source changes on the way; the annotated video stays {self._size_wh}"
        if note not in self.warnings:
            self.warnings.append(note)
        return np.asarray(cv2.resize(frame.image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)

    def _encodable(self, image: Image, pts: int) -> av.VideoFrame:
        """The picture in 4:2:0 (BT.601, as OpenCV converts), padded to even sides."""
        right, below = self._even_wh.width - self._size_wh.width, self._even_wh.height - self._size_wh.height
        if right or below:
            image = np.asarray(cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE), np.uint8)
        cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420, dst=self._planes)
        frame = av.VideoFrame.from_numpy_buffer(self._planes, format="yuv420p")
        frame.pts, frame.time_base = pts, TIME_BASE
        return frame

    def _mux(self, container: OutputContainer, frame: av.VideoFrame | None) -> None:
        """Encode and write; None flushes the encoder. The length matters for the last frame alone."""
        for packet in self._stream.encode(frame):
            packet.duration = self._step
            container.mux(packet)

    def _give_up(self) -> None:
        """After a failure the file keeps its last whole fragment; finishing it would fail again."""
        container, self._container = self._container, None
        if container is not None:
            try:
                container.close()
            except (OSError, av.error.FFmpegError):
                return


def in_pixels_of(record: FrameRecord, frame_wh: SizeWH | None, video_wh: SizeWH) -> FrameRecord:
    """The record of a frame of one size with its boxes in a picture of another."""
    if frame_wh is None or frame_wh == video_wh:
        return record
    x, y = video_wh.width / frame_wh.width, video_wh.height / frame_wh.height

    def fitted(one: Pedestrian) -> Pedestrian:
        x0, y0, x1, y1 = one.box_xyxy
        return replace(one, box_xyxy=(x0 * x, y0 * y, x1 * x, y1 * y))

    return replace(record, pedestrians=tuple(map(fitted, record.pedestrians)))


def _add_stream(container: OutputContainer, size_wh: SizeWH, fps: float) -> VideoStream:
    """An H.264 stream for browsers: 4:2:0 of 8 bit, BT.601 and limited range said in the file."""
    large = size_wh.width * size_wh.height > _LARGE_PX
    options = {
        "preset": "ultrafast" if large else "superfast",
        "x264-params": _LARGE_PARAMS if large else _PARAMS,
        "tune": "zerolatency",  # every frame leaves the encoder at once
        "crf": "26",
        "g": str(max(1, round(fps * _KEYFRAME_EVERY_S))),
    }
    rate = max(Fraction(fps).limit_denominator(1001), Fraction(1, 1001))
    stream = container.add_stream("libx264", rate=rate, options=options)
    stream.width, stream.height, stream.pix_fmt = size_wh.width, size_wh.height, "yuv420p"
    context = stream.codec_context
    context.time_base = TIME_BASE
    context.thread_count = _ENCODER_THREADS
    context.colorspace, context.color_range = 6, 1  # SMPTE 170M, limited
    context.color_primaries, context.color_trc = 6, 6
    return stream
