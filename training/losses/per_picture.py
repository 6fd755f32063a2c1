"""How a batch's loss is made of its pictures' losses."""

from torch import Tensor


def mean_over_pictures(sums: Tensor, people: Tensor) -> Tensor:
    """Mean over the batch of sum / sqrt(people); both (B,).

    Divided by the people of the whole batch, as focal losses are as a rule, one beach with 200 people outweighs 50
    pictures with four. Divided by the people of its own picture, a person of that beach hardly counts. The square root
    lies between the two.
    """
    return (sums / people.clamp(min=1).sqrt()).mean()
