"""An evaluation for people: a printed table, curves, and contact sheets of the worst mistakes.

The contact sheets are made of pictures of the data set, so the data set's licence holds for them: look at them, and
never commit or publish them where it does not allow that.
"""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edge.errors import ProcessingError
from edge.records import Image
from training.datasets import load_image
from training.evaluation import Evaluation, precision_recall
from training.image_files import save_figure, save_sheet
from training.mistakes import Kind, Mistake, count_mistakes, find_mistakes
from training.robustness import VariantScore
from training.rounding import text_of

TILE_PX = 192
SHEET_COLUMNS = 6
SHEET_TILES = 24
_CONTEXT = 3.0  # a crop is so many times as long as the longer side of its box
_LEAST_CROP_PX = 48
_TITLE_PX = 24
_CAPTION_PX = 16

# BGR, told apart with any kind of colour vision as well (Okabe and Ito)
_ORANGE = (0, 159, 230)  # what the tile is about
_BLUE = (178, 114, 0)  # labelled pedestrians
_YELLOW = (66, 228, 240)  # detections
_GREY = (150, 150, 150)  # ignore regions
_BLACK = (0, 0, 0)
_WHITE = (255, 255, 255)
_PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}  # behind text that crosses a line

SHEETS: Mapping[str, tuple[str, tuple[Kind, ...]]] = {
    "misses.png": ("people not seen", ("unseen",)),
    "false_alarms.png": ("alarms about nobody", ("nobody", "double")),
    "loose_boxes.png": ("found, but the box overlaps the label's by less than half", ("loose",)),
}


def table(evaluation: Evaluation) -> str:
    """All figures as plain text, for a terminal."""
    boxes, presence = evaluation.boxes, evaluation.presence
    lines = [
        f"{evaluation.model} on {evaluation.dataset}: {len(evaluation.judged)} pictures, "
        f"{evaluation.pedestrians} pedestrians",
        "",
        f"AP50 {text_of(boxes.ap50)}   AP50:95 {text_of(boxes.ap50_95)}   centre AP {text_of(boxes.centre_ap)}   "
        f"max recall {text_of(boxes.max_recall)}",
        f"presence: AUROC {text_of(presence.auroc)}   calibration error {text_of(presence.calibration_error)} "
        f"(by chance alone {text_of(presence.error_by_chance)})   "
        f"{presence.positives} pictures with and {presence.negatives} without pedestrians",
        "",
        "                   score  precision   recall       F1  count error",
    ]
    for name, point in (("model's threshold", evaluation.at_threshold), ("best F1", evaluation.at_best_f1)):
        lines.append(
            f"{name:18}{point.threshold:6.3f}{text_of(point.precision):>11}{text_of(point.recall):>9}{text_of(point.f1):>9}"
            f"{point.count_mae:>13.2f}"
        )
    lines += [*_mistakes_text(evaluation), "", "height in pixels     pedestrians     AP50"]
    for height in boxes.by_height:
        lines.append(
            f"{_height_text(height.low_px, height.high_px):18}{height.pedestrians:>14}{text_of(height.ap50):>9}"
        )
    width = max(16, *(len(source.source) for source in evaluation.sources))
    lines += ["", f"{'source':{width}}  pictures  pedestrians     AP50   recall  false alarms"]
    for source in evaluation.sources:
        lines.append(
            f"{source.source:{width}}{source.pictures:>10}{source.pedestrians:>13}{text_of(source.ap50):>9}"
            f"{text_of(source.recall):>9}{source.false_alarms:>14}"
        )
    lines.append("recall and false alarms of a source are those at the model's threshold")
    return "\n".join(lines)


def _mistakes_text(evaluation: Evaluation) -> list[str]:
    counts = count_mistakes(evaluation.judged, evaluation.at_threshold.threshold)
    missed, alarms = counts.unseen + counts.loosely_found, counts.loose + counts.double + counts.nobody
    return [
        f"of {missed} missed people {counts.loosely_found} were found with a loose box (IoU below 0.5), "
        f"{counts.unseen} not at all",
        f"of {alarms} false alarms {counts.loose} are loose boxes, {counts.double} second boxes of a person, "
        f"{counts.nobody} about nobody",
    ]


def variants_table(rows: Sequence[VariantScore], evaluation: Evaluation) -> str:
    """Accuracy on changed pictures beside that on the pictures as they are, as plain text."""
    lines = [
        f"{'pictures':14}    AP50  of clean    AUROC  how",
        f"{'as they are':14}{text_of(evaluation.boxes.ap50):>8}{'':>10}{text_of(evaluation.presence.auroc):>9}",
    ]
    for row in rows:
        share = "-" if row.share_of_clean is None else f"{row.share_of_clean:.0%}"
        lines.append(f"{row.name:14}{text_of(row.ap50):>8}{share:>10}{text_of(row.auroc):>9}  {row.severity}")
    known = [row.share_of_clean for row in rows if row.share_of_clean is not None]
    if known:
        lines.append(f"{'mean':14}{'':8}{float(np.mean(known)):>10.0%}")
    return "\n".join(lines)


def write_variants(rows: Sequence[VariantScore], evaluation: Evaluation, folder: Path, stem: str) -> tuple[Path, ...]:
    """Write `stem`.txt and `stem`.png: table and bars.

    Raises:
        ProcessingError: a file cannot be written.
    """
    title = f"{evaluation.model} on {evaluation.dataset}"
    text = f"{title}: {len(evaluation.judged)} pictures\n\n{variants_table(rows, evaluation)}\n"
    chart = _write_chart(lambda clean, axes: draw_variants(rows, clean, axes), evaluation, folder / f"{stem}.png")
    return _write_text(text, folder / f"{stem}.txt"), chart


def draw_variants(rows: Sequence[VariantScore], evaluation: Evaluation, axes: Axes) -> None:
    """Share of the clean AP50 that is left, one bar each."""
    for k, row in enumerate(rows):
        share = row.share_of_clean or 0.0
        axes.barh(k, share, color="#0072B2")
        axes.text(share + 0.01, k, f"{share:.0%}, AP50 {text_of(row.ap50)}", va="center", fontsize=8, bbox=_PAPER)
    axes.axvline(1.0, color="#999999", linestyle="--", zorder=0)
    labels = [row.name + "\n" + textwrap.fill(row.severity, 34) for row in rows]
    axes.set_yticks(range(len(rows)), labels, fontsize=7)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.35), xlabel="share of the AP50 on the pictures as they are")
    axes.set_title(f"{evaluation.model} on {evaluation.dataset}, AP50 {text_of(evaluation.boxes.ap50)}", fontsize=10)


def write_report(evaluation: Evaluation, folder: Path) -> tuple[Path, ...]:
    """Write the table, four charts and three contact sheets into a folder that exists.

    Raises:
        ProcessingError: a file cannot be written.
    """
    charts = {
        "precision_recall.png": draw_precision_recall,
        "reliability.png": draw_reliability,
        "ap50_by_height.png": draw_heights,
        "by_source.png": draw_sources,
    }
    files = [_write_text(table(evaluation) + "\n", folder / "figures.txt")]
    files += [_write_chart(draw, evaluation, folder / name) for name, draw in charts.items()]
    for name, (words, kinds) in SHEETS.items():
        title = (
            f"{evaluation.model} on {evaluation.dataset}, threshold {evaluation.at_threshold.threshold:.2f}: {words}"
        )
        sheet = contact_sheet(worst(evaluation, kinds), title, evaluation.at_threshold.threshold)
        files.append(save_sheet(sheet, folder / name))
    return tuple(files)


def draw_precision_recall(evaluation: Evaluation, axes: Axes) -> None:
    """The raw curve at an IoU of 0.5, with both operating points."""
    curve = precision_recall(evaluation.judged)
    axes.plot(curve.recall, curve.precision, color="#0072B2", drawstyle="steps-post")
    for label, point, marker in (
        ("model's threshold", evaluation.at_threshold, "o"),
        ("best F1", evaluation.at_best_f1, "^"),
    ):
        if point.precision is not None and point.recall is not None:
            axes.plot(point.recall, point.precision, marker, color="#D55E00", label=f"{label} {point.threshold:.2f}")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower left")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axes.set_title(f"AP50 {text_of(evaluation.boxes.ap50)} on {evaluation.dataset}")


def draw_reliability(evaluation: Evaluation, axes: Axes) -> None:
    """What presence says against what is true; the number of pictures above each bin."""
    axes.plot([0, 1], [0, 1], "--", color="#999999", label="perfectly calibrated")
    for one in evaluation.presence.bins:
        if one.pedestrian_share is None or one.mean_presence is None:
            continue
        axes.bar(one.low, one.pedestrian_share, one.high - one.low, align="edge", color="#56B4E9", edgecolor="white")
        axes.plot(one.mean_presence, one.pedestrian_share, "o", color="#D55E00", markersize=4)
        middle = (one.low + one.high) / 2
        axes.text(middle, one.pedestrian_share + 0.01, str(one.pictures), ha="center", va="bottom", fontsize=7)
    axes.legend(loc="upper left")
    axes.set(xlim=(0, 1), ylim=(0, 1.2), xlabel="presence", ylabel="share of pictures with a pedestrian")
    axes.set_title(
        f"calibration error {text_of(evaluation.presence.calibration_error)}; number of pictures above the bars"
    )


def draw_heights(evaluation: Evaluation, axes: Axes) -> None:
    """AP50 by height, with the number of pedestrians behind each bar."""
    for k, height in enumerate(evaluation.boxes.by_height):
        axes.bar(k, height.ap50 or 0.0, color="#0072B2")
        label = f"{text_of(height.ap50)}\nof {height.pedestrians}"
        axes.text(k, (height.ap50 or 0.0) + 0.01, label, ha="center", va="bottom", fontsize=8)
    names = [_height_text(height.low_px, height.high_px) for height in evaluation.boxes.by_height]
    axes.set_xticks(range(len(names)), names)
    axes.set(ylim=(0, 1.12), xlabel="height of the pedestrian in pixels", ylabel="AP50")
    axes.set_title(f"AP50 by height on {evaluation.dataset}")


def draw_sources(evaluation: Evaluation, axes: Axes) -> None:
    """AP50 and false alarms of each collection."""
    for k, source in enumerate(evaluation.sources):
        axes.barh(k, source.ap50 or 0.0, color="#0072B2")
        alarms = f"{source.false_alarms / source.pictures:.2f} false alarms a picture"
        found = f"AP50 {text_of(source.ap50)} of {source.pedestrians}, " if source.pedestrians else "nobody there, "
        axes.text((source.ap50 or 0.0) + 0.01, k, f"{found}{alarms}", va="center", fontsize=8)
    names = [f"{source.source}\n{source.pictures} pictures" for source in evaluation.sources]
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.9), xticks=np.linspace(0, 1, 6), xlabel="AP50; false alarms at the model's threshold")
    axes.set_title(f"By source on {evaluation.dataset}")


def worst(evaluation: Evaluation, kinds: Sequence[Kind], count: int = SHEET_TILES) -> tuple[Mistake, ...]:
    """The worst mistakes of some kinds at the model's threshold: the surest detections first; of people not seen the
    least noticed first, of these the tallest."""
    mistakes = [m for m in find_mistakes(evaluation.judged, evaluation.at_threshold.threshold) if m.kind in kinds]

    def badness(mistake: Mistake) -> tuple[float, float]:
        height = float(mistake.box_xyxy[3] - mistake.box_xyxy[1])
        return (mistake.score, -height) if mistake.kind == "unseen" else (-mistake.score, 0.0)

    return tuple(sorted(mistakes, key=badness)[:count])


def contact_sheet(mistakes: Sequence[Mistake], title: str, threshold: float) -> Image:
    """Crops around the mistakes, six in a row; BGR. Their data set's licence holds for the sheet."""
    rows = max(1, -(-len(mistakes) // SHEET_COLUMNS))
    sheet = np.full((2 * _TITLE_PX + rows * TILE_PX, SHEET_COLUMNS * TILE_PX, 3), 255, dtype=np.uint8)
    _write(sheet, title, (6, 17), _BLACK)
    legend = (("this one", _ORANGE), ("labelled pedestrian", _BLUE), ("detection", _YELLOW), ("ignored", _GREY))
    for k, (text, colour) in enumerate(legend):
        cv2.rectangle(sheet, (6 + 180 * k, _TITLE_PX + 4), (20 + 180 * k, _TITLE_PX + 18), colour, -1)
        _write(sheet, text, (26 + 180 * k, _TITLE_PX + 16), _BLACK)
    _write(sheet, "pictures of the data set: its licence holds", (730, _TITLE_PX + 16), _BLACK)
    if not mistakes:
        _write(sheet, "none", (6, 2 * _TITLE_PX + 20), _BLACK)
    for k, mistake in enumerate(mistakes):
        top, left = 2 * _TITLE_PX + k // SHEET_COLUMNS * TILE_PX, k % SHEET_COLUMNS * TILE_PX
        sheet[top : top + TILE_PX, left : left + TILE_PX] = _tile(mistake, threshold)
    return sheet


def _tile(mistake: Mistake, threshold: float) -> Image:
    """One square crop, enlarged or shrunk to a tile, with all boxes of the picture that reach into it."""
    image = load_image(mistake.judged.detected.picture)
    x0, y0, x1, y1 = mistake.box_xyxy.tolist()
    side = max(_CONTEXT * max(x1 - x0, y1 - y0), _LEAST_CROP_PX)
    scale = TILE_PX / side
    left, top = (x0 + x1 - side) / 2, (y0 + y1 - side) / 2
    to_tile = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])
    interpolation = cv2.INTER_NEAREST if scale > 1 else cv2.INTER_LINEAR
    warped = cv2.warpAffine(image, to_tile, (TILE_PX, TILE_PX), flags=interpolation, borderValue=(60, 60, 60))
    tile = np.asarray(warped, dtype=np.uint8)
    detected = mistake.judged.detected
    strong = detected.boxes_xyxy[detected.scores >= threshold]
    layers = ((detected.picture.ignore_xyxy, _GREY), (detected.picture.boxes_xyxy, _BLUE), (strong, _YELLOW))
    for boxes_xyxy, colour in (*layers, (mistake.box_xyxy[None], _ORANGE)):
        for box in (boxes_xyxy - np.array([left, top, left, top])) * scale:
            a, b, c, d = (int(v) for v in np.clip(np.round(box), -TILE_PX, 2 * TILE_PX))
            cv2.rectangle(tile, (a, b), (c, d), colour, 2 if colour == _ORANGE else 1)
    tile[:_CAPTION_PX] = tile[-_CAPTION_PX:] = 0
    _write(tile, f"{mistake.kind} {mistake.score:.2f}, {y1 - y0:.0f} px", (4, 12), _WHITE)
    _write(tile, detected.picture.path.stem[-24:], (4, TILE_PX - 5), _WHITE)
    tile[-1] = tile[:, -1] = 255
    return tile


def _write(image: Image, text: str, at: tuple[int, int], colour: tuple[int, int, int]) -> None:
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.38, colour, 1, cv2.LINE_AA)


def _write_chart(draw: Callable[[Evaluation, Axes], Any], evaluation: Evaluation, file: Path) -> Path:
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    draw(evaluation, figure.add_subplot())
    return save_figure(figure, file, dpi=120)


def _write_text(text: str, file: Path) -> Path:
    try:
        file.write_text(text)
    except OSError as error:
        raise ProcessingError(f"{file} cannot be written: {error.strerror}") from None
    return file


def _height_text(low_px: float, high_px: float | None) -> str:
    return f"{low_px:.0f} and more" if high_px is None else f"{low_px:.0f} to {high_px:.0f}"
