"""A world model that needs no learning, for tests of agents that act in it."""

import torch

from aef_worldmodel.world_models.config import RecurrentConfig
from aef_worldmodel.world_models.dynamics import Dynamics, State
from aef_worldmodel.world_models.prior import Prior


class Point(Dynamics):
    """A point on a line: an action moves it by up to a half, and the reward is largest at 1.

    h and z are its position; at temperature 0 the model is deterministic. It sees no frames.
    """

    def __init__(self, action_dim=1):
        config = RecurrentConfig(latent_dim=1, recurrent_dim=1, hidden_dim=4)
        super().__init__(config, (3, 16, 16), action_dim)

    def transition(self, state, action):
        return state.latent + 0.5 * action

    def prior(self, recurrent, previous):
        return Prior(recurrent, torch.full_like(recurrent, 0.02))

    def reward(self, state):
        return -(state.latent[..., 0] - 1).square()

    def continuation(self, state):
        return torch.ones_like(state.latent[..., 0])

    def see(self, recurrent, frames):
        raise NotImplementedError

    def decode(self, state):
        raise NotImplementedError

    def loss(self, batch):
        raise NotImplementedError


def starts(count):
    """Return states (count, 1) anywhere between -1.5 and 1.5."""
    position = 3 * torch.rand(count, 1) - 1.5
    return State(position, position)


def spec(action_dim=1, discrete=False, **changes):
    """Return what an agent in such a model is made for."""
    from agents.base import AgentSpec
    from agents.optimisation import mixed_precision

    device = torch.device("cpu")
    kernels = lambda usual=True: mixed_precision(device, "float32")  # noqa: E731
    return AgentSpec((1, 1), action_dim, discrete, device, kernels, **changes)
