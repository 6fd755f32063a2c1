"""Boxes, labels and a banner onto a copy of a frame. OpenCV only, one copy, no blending of whole pictures."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge.records import FrameRecord, Image, Pedestrian

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_BLACK = (0, 0, 0)
_WHITE = (255, 255, 255)
_VERDICT_COLOURS = {"pedestrian": (40, 110, 255), "clear": (110, 190, 60), "unknown": (150, 150, 150)}  # BGR
_SIGNAL_TEXTS = {"bad_frame": "BAD FRAME", "no_signal": "NO SIGNAL"}
# Bright colours that differ in lightness as well; without identities all boxes have the first.
_BOX_COLOURS = (
    (0, 230, 255),
    (255, 200, 60),
    (120, 255, 120),
    (200, 140, 255),
    (60, 160, 255),
    (255, 255, 120),
    (180, 255, 220),
    (140, 140, 255),
)
_CELL_PX = 4  # grain of the map of places that are taken


@dataclass(frozen=True, slots=True)
class _Style:
    """Sizes in pixels that suit one picture size."""

    line_px: int
    font_scale: float
    pen_px: int
    text_px: int  # height of a capital letter
    margin_px: int

    @property
    def banner_px(self) -> int:
        return self.text_px + 2 * self.margin_px


def draw(image: Image, record: FrameRecord, into: Image | None = None) -> Image:
    """A copy of `image` with the record's boxes, scores where there is room, and a banner with verdict, count,
    presence and place. Without signal the picture says so in large letters.

    `into`, of the same shape, becomes the copy: new memory for each 4K frame costs more than the drawing.
    """
    canvas = np.empty_like(image) if into is None else into
    np.copyto(canvas, image)
    style = _style(canvas)
    for pedestrian in reversed(record.pedestrians):  # the surest on top
        _draw_box(canvas, pedestrian, style)
    _draw_banner(canvas, record, style)  # after the boxes, which show through it
    if record.signal == "ok":
        _draw_labels(canvas, record.pedestrians, style)
    else:
        _draw_notice(canvas, _SIGNAL_TEXTS[record.signal], style)
    return canvas


def banner_parts(record: FrameRecord) -> tuple[str, ...]:
    """The banner's text from the most to the least important part; on a small picture the last ones are left out."""
    parts = [_SIGNAL_TEXTS.get(record.signal, record.verdict.upper())]
    if record.count is not None:
        parts.append(f"count {record.count}")
    if record.presence is not None:
        parts.append(f"presence {record.presence:.2f}")
    if record.time_s is not None:
        parts.append(clock(record.time_s))
    elif record.name is not None:
        parts.append(record.name)
    return tuple(parts)


def clock(time_s: float) -> str:
    """Seconds as `m:ss.t`, from one hour on as `h:mm:ss.t`; tenths are cut, not rounded, so no time shows early."""
    tenths = int(max(0.0, time_s) * 10 + 1e-6)
    minutes, rest = divmod(tenths, 600)
    seconds = f"{rest // 10:02d}.{rest % 10}"
    return f"{minutes}:{seconds}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{seconds}"


def _style(image: Image) -> _Style:
    short_side = min(image.shape[:2])
    font_scale = max(0.36, short_side / 1200)
    pen_px = max(1, round(short_side / 700))
    (_, text_px), _ = cv2.getTextSize("PEDESTRIAN", _FONT, font_scale, pen_px)
    return _Style(math.ceil(short_side / 500), font_scale, pen_px, text_px, max(3, text_px // 2))


def _text_width(text: str, style: _Style) -> int:
    return int(cv2.getTextSize(text, _FONT, style.font_scale, style.pen_px)[0][0])


def _draw_banner(canvas: Image, record: FrameRecord, style: _Style) -> None:
    """A darkened strip on top, with the verdict on its colour; what does not fit is left out."""
    height, width = canvas.shape[:2]
    colour = _VERDICT_COLOURS[record.verdict]
    if style.banner_px * 3 > height:  # too small for words: the colour alone
        cv2.rectangle(canvas, (0, 0), (width - 1, height - 1), colour, 1)
        return
    strip = canvas[: style.banner_px]
    np.right_shift(strip, 2, out=strip)
    x, baseline = 0, style.banner_px - style.margin_px
    for index, part in enumerate(banner_parts(record)):
        text = _printable(part)
        end = x + _text_width(text, style) + 2 * style.margin_px
        if end > width:
            break
        if index == 0:
            canvas[: style.banner_px, x:end] = colour
        at = (x + style.margin_px, baseline)
        cv2.putText(
            canvas, text, at, _FONT, style.font_scale, _BLACK if index == 0 else _WHITE, style.pen_px, cv2.LINE_AA
        )
        x = end


def _draw_notice(canvas: Image, text: str, style: _Style) -> None:
    """Large letters in the middle, over half of the width."""
    height, width = canvas.shape[:2]
    scale = style.font_scale * 0.5 * width / max(1, _text_width(text, style))
    pen_px = max(1, round(scale * 2))
    (text_width, text_height), _ = cv2.getTextSize(text, _FONT, scale, pen_px)
    at = ((width - text_width) // 2, (height + text_height) // 2)
    cv2.putText(canvas, text, at, _FONT, scale, _BLACK, 3 * pen_px, cv2.LINE_AA)
    cv2.putText(canvas, text, at, _FONT, scale, _WHITE, pen_px, cv2.LINE_AA)


def _colour(pedestrian: Pedestrian) -> tuple[int, int, int]:
    return _BOX_COLOURS[(pedestrian.track or 0) % len(_BOX_COLOURS)]


def _draw_box(canvas: Image, pedestrian: Pedestrian, style: _Style) -> None:
    """A bright line with a dark one around it, both outside of the box, so that they never cover a small person."""
    x0, y0, x1, y1 = (round(v) for v in pedestrian.box_xyxy)
    for grow_px, colour, pen_px in (
        (style.line_px * 3 // 2 + 1, _BLACK, max(1, style.line_px // 2)),
        (style.line_px, _colour(pedestrian), style.line_px),
    ):
        cv2.rectangle(canvas, (x0 - grow_px, y0 - grow_px), (x1 + grow_px, y1 + grow_px), colour, pen_px)


def _draw_labels(canvas: Image, pedestrians: tuple[Pedestrian, ...], style: _Style) -> None:
    """Scores, with identity where there is one, above or below a box; left out where a box or label is in the way."""
    height, width = canvas.shape[:2]
    taken: npt.NDArray[np.bool_] = np.zeros((height // _CELL_PX + 1, width // _CELL_PX + 1), np.bool_)
    taken[: style.banner_px // _CELL_PX + 1] = True
    for pedestrian in pedestrians:
        x0, y0, x1, y1 = (max(0, int(v)) // _CELL_PX for v in pedestrian.box_xyxy)
        taken[y0 : y1 + 1, x0 : x1 + 1] = True
    gap_px = 2 * style.line_px + 2
    label_height = style.text_px + 2 * (style.margin_px // 2) + 1
    for pedestrian in pedestrians:
        text = label(pedestrian)
        label_width = _text_width(text, style) + style.margin_px
        left = round(pedestrian.box_xyxy[0]) - style.line_px
        for top in (round(pedestrian.box_xyxy[1]) - gap_px - label_height, round(pedestrian.box_xyxy[3]) + gap_px):
            if left < 0 or top < 0 or left + label_width > width or top + label_height > height:
                continue
            rows = slice(top // _CELL_PX, (top + label_height) // _CELL_PX + 1)
            columns = slice(left // _CELL_PX, (left + label_width) // _CELL_PX + 1)
            if taken[rows, columns].any():
                continue
            taken[rows, columns] = True
            canvas[top : top + label_height, left : left + label_width] = _BLACK
            at = (left + style.margin_px // 2, top + label_height - style.margin_px // 2 - 1)
            cv2.putText(canvas, text, at, _FONT, style.font_scale, _colour(pedestrian), style.pen_px, cv2.LINE_AA)
            break


def label(pedestrian: Pedestrian) -> str:
    """`#7 .93` with an identity, `.93` without; a sure one is `1.0`."""
    score = f"{pedestrian.score:.2f}"
    short = "1.0" if score == "1.00" else score[1:]
    return short if pedestrian.track is None else f"#{pedestrian.track} {short}"


def _printable(text: str) -> str:
    """OpenCV's own font knows ASCII only."""
    return text.encode("ascii", "replace").decode("ascii")
