"""The presence of a frame that was seen as several pictures: the shrunk frame, and tiles of it.

The highest presence of k pictures is too high for the frame: each picture is one more chance of a false alarm. Presence
is calibrated, so its odds are the prior odds times a likelihood ratio: how much likelier the picture is with somebody
in it than without. Somebody who may be in any of k places is then as likely as the mean of these ratios says (Bayes'
rule, the prior spread evenly over the places): a sure picture among many stays sure, a doubt in one of many is none of
the frame.

The prior odds of a frame are even. Those of the pictures that presence was calibrated on are three to one and more,
and the mean of many ratios is about 1 where nobody is: frames of which the tiles know nothing would raise an alarm.

Where a ground deceives in every tile alike, the frame is as deceived as each of them.
"""

from collections.abc import Sequence

_LEAST_CHANCE = 1e-9


def frame_presence(pictures: Sequence[float], share_with_people: float) -> float:
    """The presence 0..1 of a frame, from what each of its pictures (overview and tiles) says alone.

    `share_with_people`, above 0 and below 1, is that of the pictures which their presence was calibrated on.
    """
    odds = sum(_odds(presence) for presence in pictures) / len(pictures) / _odds(share_with_people)
    return odds / (1 + odds)


def _odds(probability: float) -> float:
    p = min(max(probability, _LEAST_CHANCE), 1 - _LEAST_CHANCE)
    return p / (1 - p)
