"""What the world models of this package share: a gated cell, and heads on features.

Shapes: B sequences, T rows, N any batch, d latent, H recurrent, A action.
"""

import copy
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from aef_worldmodel.data.batch import Batch
from aef_worldmodel.nn.distributions import TwoHotHead
from aef_worldmodel.nn.layers import GatedCell, mlp, zero_last
from aef_worldmodel.world_models.base import State, WorldModel


class CellAndHeads(WorldModel):
    """A world model with h_t = cell(h_(t-1), [z_(t-1), a_(t-1)]), and two-hot rewards.

    A subclass makes `cell`, and calls `make_heads`.
    """

    cell: GatedCell

    def make_heads(self, hidden: int) -> None:
        """Make the heads of reward and continuation, whose layers are `hidden` wide."""
        self.reward_head = TwoHotHead(self.feature_dim, hidden, 2)
        self.continue_head = zero_last(mlp(self.feature_dim, 1, hidden, 1))

    def transition(self, state: State, action: Tensor) -> Tensor:
        """Return the next recurrent state (N, H) after `action` (N, A)."""
        embedded = self.cell.embed(torch.cat([state.latent, action], -1))
        return self.cell(embedded, state.recurrent)

    def reward(self, state: State) -> Tensor:
        """Return the expected reward that arrives with the state (...)."""
        return self.reward_head.mean(state.features)

    def continuation(self, state: State) -> Tensor:
        """Return the probability that the episode goes on from the state (...)."""
        return torch.sigmoid(self.continue_head(state.features).float()[..., 0])

    def head_losses(self, states: State, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the cross-entropies () of reward and continuation, nats a row."""
        features = states.features
        rewarded = (~batch.first).float()  # no reward arrives with an episode's first frame
        reward = (self.reward_head.loss(features, batch.reward) * rewarded).mean()
        logits = self.continue_head(features).float()[..., 0]
        goes_on = (~batch.terminal).float()
        return reward, F.binary_cross_entropy_with_logits(logits, goes_on)

    def untrained_dynamics(self) -> Self:
        """Return a copy whose cell is freshly drawn, and everything else the same."""
        model, (recurrent, latent) = copy.deepcopy(self), self.state_dims
        cell = GatedCell(latent + self.action_dim, recurrent)
        model.cell = cell.to(next(self.parameters()).device)
        return model
