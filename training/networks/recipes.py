"""From what a command is told to the architecture of a student."""

from edge.errors import InvalidValueError
from training.networks.heads import OWN_HEADS
from training.networks.levels import STRIDE
from training.networks.student import StudentSpec
from training.networks.trunks import recipe_of


def student_spec(
    backbone: str,
    weights: str,
    stride: int,
    *,
    frozen_stages: int | None = None,
    head: str | None = None,
    activation: str = "silu",
    width_multiplier: float = 1.0,
) -> StudentSpec:
    """The student on that backbone; None: as its recipe says.

    Raises:
        InvalidValueError: there is no such backbone, or the choices do not go together.
    """
    if activation != "silu" and backbone not in OWN_HEADS:
        raise InvalidValueError("activation", f"left out unless {' or '.join(OWN_HEADS)} is used", activation)
    recipe = recipe_of(backbone, weights)
    return StudentSpec(
        backbone=backbone,
        stride=stride,
        coarsest=recipe.coarsest,
        frozen_stages=recipe.frozen_stages if frozen_stages is None else frozen_stages,
        mean=recipe.mean,
        std=recipe.std,
        head=head or (recipe.head if stride == STRIDE else "dense"),
        activation=activation,
        width_multiplier=width_multiplier,
    )
