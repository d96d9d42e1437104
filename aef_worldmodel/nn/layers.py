"""Layers: dense networks, a gated recurrent cell."""

from typing import cast

import torch
from torch import Tensor, nn


def mlp(inputs: int, outputs: int, hidden: int, layers: int) -> nn.Sequential:
    """Return `layers` hidden layers of Linear, LayerNorm, SiLU, then a Linear.

    Maps (..., inputs) to (..., outputs).
    """
    blocks: list[nn.Module] = []
    for i in range(layers):
        blocks += [nn.Linear(hidden if i else inputs, hidden), nn.LayerNorm(hidden), nn.SiLU()]
    return nn.Sequential(*blocks, nn.Linear(hidden, outputs))


def zero_last(network: nn.Sequential) -> nn.Sequential:
    """Set the output layer to zero, so that a head starts by predicting its default."""
    output = cast(nn.Linear, network[-1])
    nn.init.zeros_(output.weight)
    nn.init.zeros_(output.bias)
    return network


class GatedCell(nn.Module):
    """Layer-normalised GRU cell.

    `embed` maps the inputs, for all times at once where they are known. A step is then one matrix
    product and `h' = (1 - u) h + u tanh(r * c)`, with u, r, c from the normalised sum of both.
    """

    def __init__(self, inputs: int, hidden: int):
        super().__init__()
        self.hidden = hidden
        self.input = nn.Sequential(
            nn.Linear(inputs, hidden),
            nn.LayerNorm(hidden),
            nn.SiLU(),
            nn.Linear(hidden, 3 * hidden),
        )
        self.recurrent = nn.Linear(hidden, 3 * hidden, bias=False)
        self.norm = nn.LayerNorm(3 * hidden)

    def embed(self, inputs: Tensor) -> Tensor:
        """Return the part of the gates that does not depend on the state. (..., I) -> (..., 3H)."""
        return self.input(inputs)

    def forward(self, embedded: Tensor, state: Tensor) -> Tensor:
        """Return the next state (N, H) float32 from embedded (N, 3H) and state (N, H) float32."""
        reset, candidate, update = self.norm(embedded + self.recurrent(state)).chunk(3, -1)
        candidate = torch.tanh(torch.sigmoid(reset) * candidate)
        update = torch.sigmoid(update - 1)
        return torch.lerp(state, candidate.float(), update.float())
