"""The presence of a frame that was seen as several pictures: the shrunk frame, and tiles of it.

The highest presence of k pictures is too high for the frame: each picture is one more chance of a false alarm. Presence
is calibrated, so its odds are the prior odds times a likelihood ratio: how much likelier the picture is with somebody
in it than without. Somebody who may be in any of k places is then as likely as the mean of these ratios says (Bayes'
rule, the prior spread evenly over the places), so the odds of the frame are the mean of the odds of its pictures. One
picture alone stays as it is; a sure one among many stays sure; a doubt in one of many is none of the frame.

Where a ground deceives in every tile alike, the frame is as deceived as each of them.
"""

from collections.abc import Sequence

_LEAST_CHANCE = 1e-9


def frame_presence(pictures: Sequence[float]) -> float:
    """The presence 0..1 of a frame, from what each of its pictures (overview and tiles) says alone."""
    odds = sum(_odds(presence) for presence in pictures) / len(pictures)
    return odds / (1 + odds)


def _odds(probability: float) -> float:
    p = min(max(probability, _LEAST_CHANCE), 1 - _LEAST_CHANCE)
    return p / (1 - p)
