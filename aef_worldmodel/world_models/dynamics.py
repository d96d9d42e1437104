"""The dynamics of the recurrent world model: cell, prior over latents, heads. It sees no frames.

    h_t = cell(h_(t-1), [z_(t-1), a_(t-1)])
    z_t ~ N(z_(t-1) + change(h_t, z_(t-1)), std(h_t, z_(t-1)))

The prior starts as "nothing changes", so that a cell of finite width need not learn to copy a
latent (docs/notebook/cartpole-swingup.md measures the effect).

Shapes: B sequences, T rows, N any batch, d latent, H recurrent, A action.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from aef_worldmodel.nn.layers import GatedCell, mlp, zero_last
from aef_worldmodel.utils.compiling import compilable
from aef_worldmodel.world_models.base import ImaginedPolicy, State, limit_gradients
from aef_worldmodel.world_models.cell_and_heads import CellAndHeads
from aef_worldmodel.world_models.config import RecurrentConfig
from aef_worldmodel.world_models.prior import Prior

PRIOR_FLOOR = 0.03  # smallest standard deviation of the prior


class Dynamics(CellAndHeads):
    """The part of the recurrent world model that imagines and predicts.

    Args:
        config: architecture.
        frame_shape: (C, H, W).
        action_dim: A, of actions in [-1, 1].
    """

    config: RecurrentConfig

    def __init__(
        self, config: RecurrentConfig, frame_shape: tuple[int, ...], action_dim: int
    ) -> None:
        super().__init__(config, frame_shape, action_dim)
        c = config
        self.cell = GatedCell(c.latent_dim + action_dim, c.recurrent_dim)
        self.prior_net = zero_last(mlp(self.feature_dim, 2 * c.latent_dim, c.hidden_dim, 2))
        self.make_heads(c.hidden_dim)

    @property
    def state_dims(self) -> tuple[int, int]:
        """Widths H, d of a state."""
        return self.config.recurrent_dim, self.config.latent_dim

    # -- one step ------------------------------------------------------------------------

    def prior(self, recurrent: Tensor, previous: Tensor) -> Prior:
        """Return p(z_t | h_t, z_(t-1)) over latents (..., d).

        recurrent h_t (..., H); previous z_(t-1) (..., d), zeros before an episode's first frame.
        """
        change, raw = self.prior_net(torch.cat([recurrent, previous], -1)).float().chunk(2, -1)
        return Prior(previous + change, F.softplus(raw) + PRIOR_FLOOR)

    def predict(
        self,
        state: State,
        action: Tensor,
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> State:
        """Return the next state: the prior's centre, or a draw whose noise is scaled."""
        recurrent = self.transition(state, action)
        prior = self.prior(recurrent, state.latent)
        if not temperature:
            return State(recurrent, prior.centre)
        like = prior.mean
        noise = torch.randn(like.shape, generator=generator, device=like.device)
        return State(recurrent, prior.draw(temperature * noise))

    # -- sequences -----------------------------------------------------------------------

    @compilable
    def filter(self, latents: Tensor, actions: Tensor, first: Tensor, start: Tensor) -> Tensor:
        """Return the recurrent states h_t of every row (B, T, H).

        Args:
            latents: (B, T, d).
            actions: (B, T, A).
            first: (B, T) bool, where the state is forgotten.
            start: recurrent state of the first row (B, H).
        """
        embedded = self.cell.embed(torch.cat([latents, actions], -1))  # (B, T, 3H)
        keep = (~first).to(start.dtype)[..., None]  # (B, T, 1)
        state, states = start * keep[:, 0], []
        for t in range(latents.shape[1]):
            states.append(state)
            if t + 1 < latents.shape[1]:
                state = self.cell(embedded[:, t], state) * keep[:, t + 1]
        return torch.stack(states, 1)

    def priors(self, recurrent: Tensor, latents: Tensor, first: Tensor) -> Prior:
        """Return the prior of every row of sequences, over latents (B, T, d).

        recurrent (B, T, H), latents (B, T, d), first (B, T) bool. The latent before a sequence is
        unknown: the prior of a first row whose episode began earlier means nothing.
        """
        before = torch.cat([torch.zeros_like(latents[:, :1]), latents[:, :-1]], 1)
        return self.prior(recurrent, before * ~first[..., None])

    @compilable
    def imagined_step(
        self, state: State, policy: ImaginedPolicy, drawn: tuple[Tensor, ...], noise: Tensor
    ) -> tuple[State, tuple]:
        """Return the state after one imagined decision, and what the policy returned.

        drawn: what the policy is given besides the features; noise (N, d) of the prior.
        """
        decision = policy(state.features, *drawn)
        recurrent = self.transition(state, decision[0])
        return State(recurrent, self.prior(recurrent, state.latent).draw(noise)), decision

    def imagine(
        self,
        start: State,
        policy: ImaginedPolicy,
        horizon: int,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
        gradient_limit: float | None = None,
        policy_noise: Tensor | None = None,
    ) -> tuple[State, list[tuple]]:
        """Roll the prior forward as `WorldModel.imagine`, with all noise drawn at once."""
        like = start.latent
        noise = temperature * torch.randn(
            horizon, *like.shape, generator=generator, device=like.device
        )  # (horizon, N, d)
        states, decisions = [start], []
        for t in range(horizon):
            drawn = () if policy_noise is None else (policy_noise[t],)
            state, decision = self.imagined_step(states[-1], policy, drawn, noise[t])
            limit_gradients(state, gradient_limit)
            states.append(state)
            decisions.append(decision)
        return State(*(torch.stack(part) for part in zip(*states, strict=True))), decisions
