"""A small controller, many at once: C of Ha & Schmidhuber 2018 on the features (h, z).

Shapes: K controllers of P parameters each, S states a controller, F features, A action.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from aef_worldmodel.dynamics import State
from agents.policy import Policy, choose

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
    """Which of h and z it sees."""
    hidden: int = 0
    """Width of the hidden layer; 0 for none."""
    discrete: bool = False
    """Whether the largest output is chosen, and becomes 1 among zeros."""

    @property
    def layers(self) -> list[tuple[int, int]]:
        """Outputs and inputs of each layer, the bias counted as an input."""
        seen = {"h": self.recurrent_dim, "z": self.latent_dim}
        inputs = sum(width for name, width in seen.items() if name in self.reads)
        if not self.hidden:
            return [(self.action_dim, inputs + 1)]
        return [(self.hidden, inputs + 1), (self.action_dim, self.hidden + 1)]

    @property
    def size(self) -> int:
        """P, numbers of a controller."""
        return sum(outputs * inputs for outputs, inputs in self.layers)

    def act(self, parameters: Tensor, state: State) -> Tensor:
        """Actions (K, S, A) of parameters (K, P) in states (K, S, .)."""
        parts = {"h": state.recurrent, "z": state.latent}
        x = torch.cat([part for name, part in parts.items() if name in self.reads], -1).float()
        begin = 0
        for outputs, inputs in self.layers:
            weight = parameters[:, begin : begin + outputs * inputs].unflatten(1, (outputs, inputs))
            x = torch.tanh(x @ weight[:, :, :-1].transpose(1, 2) + weight[:, None, :, -1])
            begin += outputs * inputs
        return choose(x, self.discrete)


class ControllerPolicy(Policy):
    """K controllers, each playing an equal share of the N worlds: the first N / K are the first
    one's. `parameters` (K, P) may be replaced between decisions."""

    def __init__(self, controller: Controller, parameters: Tensor):
        self.controller, self.parameters = controller, parameters

    @torch.no_grad()
    def act(self, state: State, first: Tensor) -> Tensor:
        """(N, A)."""
        shared = State(*(part.unflatten(0, (len(self.parameters), -1)) for part in state))
        with torch.autocast(first.device.type, enabled=False):
            return self.controller.act(self.parameters, shared).flatten(0, 1)
