"""Small controllers on the features (h, z), many at once: C of Ha and Schmidhuber 2018.

Shapes: K controllers of P parameters each, S states a controller, F features, A action.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from aef_worldmodel.world_models.base import State
from agents.base import Policy, as_action

Reads = Literal["hz", "h", "z"]


@dataclass(frozen=True)
class Controller:
    """`tanh(W f + b)`, or with a hidden layer `tanh(W tanh(V f + c) + b)`, of given parameters."""

    recurrent_dim: int
    """H, width of h."""
    latent_dim: int
    """d, width of z."""
    action_dim: int
    """A."""
    reads: Reads = "hz"
    """Which of h and z the controller reads."""
    hidden: int = 0
    """Width of the hidden layer; 0 for none."""
    discrete: bool = False
    """The largest output is chosen and becomes 1 among zeros."""

    @property
    def layers(self) -> list[tuple[int, int]]:
        """Outputs and inputs of each layer, the bias counted as an input."""
        widths = {"h": self.recurrent_dim, "z": self.latent_dim}
        inputs = sum(width for name, width in widths.items() if name in self.reads)
        if not self.hidden:
            return [(self.action_dim, inputs + 1)]
        return [(self.hidden, inputs + 1), (self.action_dim, self.hidden + 1)]

    @property
    def size(self) -> int:
        """P, parameters of a controller."""
        return sum(outputs * inputs for outputs, inputs in self.layers)

    def act(self, parameters: Tensor, state: State) -> Tensor:
        """Return actions (K, S, A) of parameters (K, P) in states (K, S, .)."""
        parts = {"h": state.recurrent, "z": state.latent}
        x = torch.cat([part for name, part in parts.items() if name in self.reads], -1).float()
        begin = 0
        for outputs, inputs in self.layers:
            weight = parameters[:, begin : begin + outputs * inputs].unflatten(1, (outputs, inputs))
            x = torch.tanh(x @ weight[:, :, :-1].transpose(1, 2) + weight[:, None, :, -1])
            begin += outputs * inputs
        return as_action(x, self.discrete)


class ControllerPolicy(Policy):
    """K controllers, each playing an equal share of the N environments, in order.

    `parameters` (K, P) may be replaced between decisions.
    """

    def __init__(self, controller: Controller, parameters: Tensor) -> None:
        self.controller, self.parameters = controller, parameters

    @torch.no_grad()
    def act(self, state: State, first: Tensor) -> Tensor:
        """Return actions (N, A)."""
        shared = state.map(lambda part: part.unflatten(0, (len(self.parameters), -1)))
        with torch.autocast(first.device.type, enabled=False):
            return self.controller.act(self.parameters, shared).flatten(0, 1)
