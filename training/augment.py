"""Random views of labelled pictures: a crop at a random scale, flipped, with the light and faults of a drone's camera.

Boxes are never rotated, since the upright box of a rotated person is loose. A picture smaller than the crop is pasted
on empty ground, so that no grey border is learnt. All of it works on the uint8 crop with OpenCV, about 4 ms a view: on
two cores every millisecond spent here is one that the network does not get.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import numpy.typing as npt

from edge.contract import PAD_VALUE
from edge.errors import InvalidValueError
from edge.records import Boxes, Image, Modality
from edge.scaling import resize_into
from training.datasets import LabelledPicture, ScoredBoxes
from training.targets import Targets

LEAST_VISIBLE = 0.4  # share of a person that must lie in the crop; less is ignored
LEAST_HEIGHT_PX = 5.0  # shorter people are ignored
SCALES = (0.01, 100.0)  # within which scales may be drawn, times the size at which a picture would be recognised
PALETTES = (cv2.COLORMAP_INFERNO, cv2.COLORMAP_JET, cv2.COLORMAP_RAINBOW, cv2.COLORMAP_HOT, cv2.COLORMAP_TURBO)


@dataclass(frozen=True, slots=True)
class InputRule:
    """At which size pictures are recognised, see `edge.geometry.place_by_rule`."""

    default_long_side: int = 960  # px
    max_enlarge: float = 1.5  # times the picture's own size


DEFAULT_INPUT = InputRule()


@dataclass(frozen=True, slots=True)
class ViewSettings:
    """What a user says of how views are drawn; None where the modality's default holds."""

    long_side: int | None = None  # px at which pictures will be recognised; scales are relative to it
    scale: tuple[float, float] | None = None  # smallest and largest
    empty_weight: float | None = None
    emphasis: Mapping[str, float] = field(default_factory=dict)  # source -> how much oftener its pictures are drawn
    max_enlarge: float | None = None  # most that a picture is enlarged to be recognised

    def __post_init__(self) -> None:
        if self.long_side is not None and self.long_side < 1:
            raise InvalidValueError("long_side", "at least 1", self.long_side)
        if self.max_enlarge is not None and not 0 < self.max_enlarge < math.inf:
            raise InvalidValueError("max_enlarge", "positive", self.max_enlarge)
        if self.scale is not None and not SCALES[0] <= self.scale[0] <= self.scale[1] <= SCALES[1]:
            rule = f"two numbers in {SCALES[0]:g}..{SCALES[1]:g}, the smaller one first"
            raise InvalidValueError("scale", rule, self.scale)
        for name, weight in (("empty_weight", self.empty_weight), *self.emphasis.items()):
            if weight is not None and not 0 < weight < math.inf:
                raise InvalidValueError(name, "positive", weight)

    def learning_on(self, rule: InputRule) -> "ViewSettings":
        """The same for a model that learns on: it will go on seeing pictures as its rule says."""
        return replace(self, long_side=self.long_side or rule.default_long_side, max_enlarge=rule.max_enlarge)


@dataclass(frozen=True, slots=True)
class AugmentSettings:
    """How views are drawn. Scales are relative to the size at which the picture would be recognised."""

    crop_px: int = 320
    max_enlarge: float = DEFAULT_INPUT.max_enlarge
    default_long_side: int = DEFAULT_INPUT.default_long_side
    scale_low: float = 0.35
    scale_high: float = 1.5
    aspect_jitter: float = 0.1
    on_a_person: float = 0.6  # share of crops centred near a person
    on_hard_ground: float = 0.6  # share of the other crops centred near a false alarm, where some are known
    empty_weight: float = 2.0  # how much oftener a picture without people is drawn: false alarms cost the most
    invert: float = 0.0  # share of black-hot views (thermal)
    palette: float = 0.0  # share of palette-coloured views (thermal)
    emphasis: Mapping[str, float] = field(default_factory=dict)  # source -> how much oftener its pictures are drawn

    @classmethod
    def of(cls, modality: Modality, crop_px: int = 320, views: ViewSettings | None = None) -> "AugmentSettings":
        """Defaults of a modality, where `views` says nothing else."""
        views, default = views or ViewSettings(), cls(crop_px)
        if modality == "thermal":
            default = cls(crop_px, scale_low=0.6, scale_high=1.4, empty_weight=1.0, invert=0.2, palette=0.15)
        low, high = views.scale or (default.scale_low, default.scale_high)
        return replace(
            default,
            default_long_side=views.long_side or default.default_long_side,
            max_enlarge=views.max_enlarge or default.max_enlarge,
            scale_low=low,
            scale_high=high,
            empty_weight=default.empty_weight if views.empty_weight is None else views.empty_weight,
            emphasis=views.emphasis,
        )


@dataclass(frozen=True, slots=True)
class View:
    """One network input with its ground truth."""

    image: Image
    targets: Targets


def random_view(
    picture: LabelledPicture,
    image: Image,
    background: Callable[[], Image] | None,
    settings: AugmentSettings,
    rng: np.random.Generator,
) -> View:
    """Draw one view. `background` gives an empty picture for what the picture does not fill; without it, grey fills."""
    crop = settings.crop_px
    height, width = image.shape[:2]
    base = min(settings.max_enlarge, settings.default_long_side / max(height, width))
    scale = base * np.exp(rng.uniform(np.log(settings.scale_low), np.log(settings.scale_high)))
    stretch = np.exp(rng.uniform(-settings.aspect_jitter, settings.aspect_jitter) / 2)
    scale_xy = np.array([scale * stretch, scale / stretch])
    window = np.minimum(crop / scale_xy, (width, height))
    origin = _window_origin(_aims(picture, settings, rng), window, (width, height), rng)
    x0, y0 = np.floor(origin).astype(int)
    x1, y1 = np.minimum(np.ceil(origin + window).astype(int), (width, height))
    patch_wh = np.clip(np.round((x1 - x0, y1 - y0) * scale_xy).astype(int), 1, crop)
    patch = np.empty((patch_wh[1], patch_wh[0], 3), np.uint8)
    resize_into(image[y0:y1, x0:x1], patch)  # the very pixels that the recognizer will show
    place = rng.integers(0, crop - patch_wh + 1)
    canvas = _canvas(crop, patch_wh, background, rng)
    canvas[place[1] : place[1] + patch_wh[1], place[0] : place[0] + patch_wh[0]] = patch
    factor = patch_wh / (x1 - x0, y1 - y0)
    shift = place - (x0, y0) * factor
    limits = np.concatenate((place, place + patch_wh))
    targets = _move(picture, factor, shift, limits)
    if rng.random() < 0.5:
        canvas, targets = canvas[:, ::-1], _mirror(targets, crop)
    return View(_disturb(np.ascontiguousarray(canvas), settings, rng), targets)


def _aims(picture: LabelledPicture, settings: AugmentSettings, rng: np.random.Generator) -> Boxes:
    """Boxes of which one shall lie in the view: of people, of false alarms, or none."""
    if len(picture.boxes_xyxy) and rng.random() < settings.on_a_person:
        return picture.boxes_xyxy
    hard = picture.hard_xyxy
    return picture.boxes_xyxy[:0] if hard is None or rng.random() >= settings.on_hard_ground else hard


def _window_origin(
    aims: Boxes, window: npt.NDArray[np.float64], size: tuple[int, int], rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    room = np.maximum(np.asarray(size) - window, 0)
    if len(aims):
        box = aims[rng.integers(len(aims))]
        centre = (box[:2] + box[2:]) / 2
        return np.asarray(np.clip(centre - window * rng.uniform(0.15, 0.85, 2), 0, room), np.float64)
    return np.asarray(rng.uniform(0, 1, 2) * room, np.float64)


def _canvas(
    crop: int, patch_wh: npt.NDArray[np.int64], background: Callable[[], Image] | None, rng: np.random.Generator
) -> Image:
    canvas = np.full((crop, crop, 3), PAD_VALUE, np.uint8)
    if background is None or (patch_wh >= crop).all():
        return canvas
    ground = background()
    side = int(min(*ground.shape[:2], crop * rng.uniform(0.8, 2.0)))
    y, x = (int(rng.integers(0, n - side + 1)) for n in ground.shape[:2])
    return np.asarray(
        cv2.resize(ground[y : y + side, x : x + side], (crop, crop), interpolation=cv2.INTER_AREA), np.uint8
    )


def _move(
    picture: LabelledPicture,
    factor: npt.NDArray[np.float64],
    shift: npt.NDArray[np.float64],
    limits: npt.NDArray[np.int64],
) -> Targets:
    """Boxes of the picture in the view; what is cut away or too small becomes an ignored region."""

    def mapped(boxes: Boxes) -> tuple[Boxes, npt.NDArray[np.int64]]:
        """Clipped boxes, and of each whether it is gone (0), cut or too small (1), or good (2)."""
        moved = boxes * np.tile(factor, 2) + np.tile(shift, 2)
        clipped = np.clip(moved, np.tile(limits[:2], 2), np.tile(limits[2:], 2))
        sides, whole = clipped[:, 2:] - clipped[:, :2], moved[:, 2:] - moved[:, :2]
        visible = sides.prod(1) / np.maximum(whole.prod(1), 1e-6)
        good = (visible >= LEAST_VISIBLE) & (sides[:, 1] >= LEAST_HEIGHT_PX) & (sides[:, 0] >= 2)
        return clipped.astype(np.float32), (visible > 0.02) * (1 + good.astype(int))

    people, state = mapped(picture.boxes_xyxy)
    regions, _ = mapped(picture.ignore_xyxy)
    shown = (regions[:, 2:] > regions[:, :2]).all(1)  # however little of a large region: nobody is labelled there
    ignored = np.concatenate((regions[shown], people[state == 1]))
    if picture.scored is None:
        return Targets(people[state == 2], ignored)
    found, found_state = mapped(picture.scored.boxes_xyxy)
    scored = ScoredBoxes(found[found_state == 2], picture.scored.scores[found_state == 2])
    return Targets(people[state == 2], ignored, scored)


def _mirror(targets: Targets, width: int) -> Targets:
    def mirrored(boxes: Boxes) -> Boxes:
        flipped = boxes.copy()
        flipped[:, [0, 2]] = width - boxes[:, [2, 0]]
        return flipped

    scored = targets.scored and ScoredBoxes(mirrored(targets.scored.boxes_xyxy), targets.scored.scores)
    return Targets(mirrored(targets.boxes_xyxy), mirrored(targets.ignore_xyxy), scored)


def _disturb(image: Image, settings: AugmentSettings, rng: np.random.Generator) -> Image:
    if settings.invert and rng.random() < settings.invert:
        image = 255 - image
    if settings.palette and rng.random() < settings.palette:
        image = np.asarray(cv2.applyColorMap(image[:, :, 0], int(rng.choice(PALETTES))), np.uint8)
    if rng.random() < 0.8:
        image = _relight(image, rng)
    for chance, fault in ((0.12, _blur), (0.12, _noise), (0.12, _compress)):
        if rng.random() < chance:
            image = fault(image, rng)
    return image


def _relight(image: Image, rng: np.random.Generator) -> Image:
    """Exposure, contrast, gamma and colour temperature in one look-up table; saturation by a blend with grey."""
    levels = np.linspace(0, 1, 256)[:, None] ** rng.uniform(0.75, 1.35)
    gains = rng.uniform(0.75, 1.25) * rng.uniform(0.92, 1.08, 3)
    table = np.clip(255 * (levels * gains + rng.uniform(-0.12, 0.12)), 0, 255).astype(np.uint8)  # (256, 3)
    lit = cv2.LUT(image, table[None])
    if rng.random() < 0.4:
        grey = cv2.cvtColor(cv2.cvtColor(lit, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        share = rng.uniform(0.2, 1.0)
        lit = cv2.addWeighted(lit, share, grey, 1 - share, 0)
    return np.asarray(lit, np.uint8)


def _blur(image: Image, rng: np.random.Generator) -> Image:
    if rng.random() < 0.5:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.4)), np.uint8)
    reach = int(rng.integers(1, 4))  # on either side, and through the middle: else the picture would leave its boxes
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    rise = int(rng.integers(-reach, reach + 1))
    cv2.line(kernel, (0, reach - rise), (reach, reach), 1.0)
    kernel = np.maximum(kernel, kernel[::-1, ::-1])
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.uint8)


def _noise(image: Image, rng: np.random.Generator) -> Image:
    grain = rng.normal(0, rng.uniform(2, 12), (*image.shape[:2], 1))
    return np.clip(image + grain, 0, 255).astype(np.uint8)


def _compress(image: Image, rng: np.random.Generator) -> Image:
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 80))])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR) if done else image
    return np.asarray(decoded, np.uint8)


def collate(views: Sequence[View]) -> tuple[npt.NDArray[np.uint8], tuple[Targets, ...]]:
    """Images as (B, 3, H, W) uint8 and their targets."""
    return np.stack([v.image.transpose(2, 0, 1) for v in views]), tuple(v.targets for v in views)
