"""Several networks that teach as one: they err in different places, so their mean errs less than any of them.

Deep ensembles: Lakshminarayanan et al., arXiv 1612.01474. What a student is distilled from in Hinton et al., arXiv
1503.02531, is such an ensemble.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edge.contract import LONGEST_LOG
from edge.errors import InvalidValueError, UnusableInputError
from training.networks.dense import PredictedMaps
from training.networks.student import Student
from training.networks.teacher import Teacher

LEAST_ODDS = 1e-6  # of a mean probability, so that its logit is finite


@dataclass(frozen=True, slots=True)
class MemberSpec:
    """The architecture of one network of an ensemble."""

    kind: str  # student | teacher
    spec: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class EnsembleSpec:
    """The architectures of an ensemble; stored in its file."""

    members: tuple[MemberSpec, ...]

    def to_json(self) -> dict[str, Any]:
        """As a file stores it."""
        return {"members": [{"kind": member.kind, "spec": dict(member.spec)} for member in self.members]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "EnsembleSpec":
        """Back from a file.

        Raises:
            UnusableInputError: it describes something else.
        """
        try:
            return cls(tuple(MemberSpec(**member) for member in values["members"]))
        except (TypeError, KeyError) as error:
            raise UnusableInputError(f"teacher must describe its networks, got {error}; export it again") from None


class Ensemble(nn.Module):
    """Every network sees the same picture; chances are averaged, and boxes, weighted by the chance that each gives.

    Raises:
        InvalidValueError: no network, or none of the strides that they predict at is common to all.
    """

    def __init__(self, members: Sequence[Student | Teacher]) -> None:
        super().__init__()
        common = {stride for member in members for stride in member.strides}
        for member in members:
            common &= {*member.strides}
        if not common:
            named = [list(member.strides) for member in members]
            raise InvalidValueError("members", "networks with a stride in common", f"strides {named}", "leave some out")
        self.members = nn.ModuleList(members)
        self._strides = tuple(sorted(common))

    @property
    def networks(self) -> tuple[Student | Teacher, ...]:
        """All of them, in their order."""
        return tuple(member for member in self.members if isinstance(member, Student | Teacher))

    @property
    def spec(self) -> EnsembleSpec:
        """The architectures of its networks."""
        kinds = ("student" if isinstance(network, Student) else "teacher" for network in self.networks)
        return EnsembleSpec(tuple(MemberSpec(k, n.spec.to_json()) for k, n in zip(kinds, self.networks, strict=True)))

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides at which all of its networks predict."""
        return self._strides

    def forward(self, images: Tensor) -> dict[int, PredictedMaps]:
        """(B, 3, H, W) BGR 0..255, sides multiples of 32 -> predictions by stride."""
        said = [network(images) for network in self.networks]
        return {stride: _mean([predictions[stride] for predictions in said]) for stride in self._strides}


AnyNetwork = Student | Teacher | Ensemble  # each of them can teach


def giver_of(network: AnyNetwork, backbone: str) -> Student | Teacher:
    """The network itself, or an ensemble's first one on that backbone: whose weights a student may start from."""
    if not isinstance(network, Ensemble):
        return network
    return next((one for one in network.networks if one.spec.backbone == backbone), network.networks[0])


def _mean(said: Sequence[PredictedMaps]) -> PredictedMaps:
    chances = torch.stack([predictions.logits.float().sigmoid() for predictions in said])  # (N, B, h, w)
    reaches = torch.stack([p.log_distances.float().clamp(max=LONGEST_LOG).exp() for p in said])  # (N, B, 4, h, w)
    weights = (chances + LEAST_ODDS)[:, :, None]
    reach = (weights * reaches).sum(0) / weights.sum(0)
    return PredictedMaps(said[0].stride, chances.mean(0).logit(LEAST_ODDS), reach.log())
