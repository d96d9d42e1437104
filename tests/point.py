"""A world model that needs no learning, for those who act in it."""

import torch

from aef_worldmodel.config import WorldModelConfig
from aef_worldmodel.dynamics import Dynamics, State
from aef_worldmodel.prior import Prior


class Point(Dynamics):
    """A point on a line: an action moves it by up to a half, being at 1 pays most. h and z are
    its position; at temperature 0 nothing is left to chance."""

    def __init__(self):
        super().__init__(WorldModelConfig(latent_dim=1, recurrent_dim=1, hidden_dim=4), 1)

    def step(self, state, action):
        return state.latent + 0.5 * action

    def prior(self, recurrent, previous):
        return Prior(recurrent, torch.full_like(recurrent, 0.02))

    def reward(self, state):
        return -(state.latent[..., 0] - 1).square()

    def continuation(self, state):
        return torch.ones_like(state.latent[..., 0])


def starts(count):
    """States (count, 1) anywhere between -1.5 and 1.5."""
    position = 3 * torch.rand(count, 1) - 1.5
    return State(position, position)
