"""How likely the world model finds the frames of training as they arrive.

With `monitor=true` each logged row has the mean log-density of the frames since the row before,
and the smallest: `act/log_prob` with its parts `act/prior`, `act/volume` and `act/pixels`, and
`act/lowest`. Nothing was learnt from these frames yet.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from aef_worldmodel.world_models.base import State
from aef_worldmodel.world_models.surprise import PARTS, observe_scored
from agents.learning.learner import Learner
from agents.playing.watching import check_likelihood


class Arrivals:
    """Filters frames as the learner's averaged model does, and sums what it says of them.

    Raises UserError for a model without a likelihood of images.
    """

    def __init__(self, learner: Learner) -> None:
        check_likelihood(learner, "monitor=true")
        self.model = learner.model
        self._clear()

    def _clear(self) -> None:
        self.sums = torch.zeros(len(PARTS) + 1, dtype=torch.float64)  # of the parts, and frames
        self.lowest = torch.tensor(torch.inf, dtype=torch.float64)

    def observe(self, state: State, action: Tensor, frames: Tensor, first: Tensor) -> State:
        """Filter one step as `WorldModel.observe`."""
        state, found = observe_scored(self.model, state, action, frames, first)
        parts = torch.stack([getattr(found, part) for part in PARTS]).double().cpu()  # (3, N)
        self.sums[:-1] += parts.sum(1)
        self.sums[-1] += parts.shape[1]
        self.lowest = torch.minimum(self.lowest, parts.sum(0).min())
        return state

    def take(self) -> dict[str, float]:
        """Return the means and the lowest of the frames since the last call; {} without any."""
        if not self.sums[-1]:
            return {}
        means = (self.sums[:-1] / self.sums[-1]).tolist()
        row = {"act/log_prob": sum(means), "act/lowest": self.lowest.item()}
        self._clear()
        return row | {f"act/{part}": mean for part, mean in zip(PARTS, means, strict=True)}

    def state_dict(self) -> dict[str, Tensor]:
        """Return what was summed since the last row."""
        return {"sums": self.sums.clone(), "lowest": self.lowest.clone()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state_dict` returned; {} begins anew."""
        self._clear()
        if state:
            self.sums, self.lowest = state["sums"].clone(), state["lowest"].clone()
