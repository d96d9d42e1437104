"""The part of the world model that dreams: recurrent cell, prior over latents, heads.

    h_t = cell(h_(t-1), [z_(t-1), a_(t-1)])
    z_t ~ N(z_(t-1) + change(h_t, z_(t-1)), std(h_t, z_(t-1)))

The prior starts as "nothing changes": a cell of finite width need not learn to copy a latent
(docs/tried/cartpole-swingup.md has what that is worth).

Shapes: B batch, T time, N any batch, d latent, H recurrent, A action.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aef_worldmodel.config import WorldModelConfig
from aef_worldmodel.distributions import TwoHotHead
from aef_worldmodel.flows import Flow
from aef_worldmodel.networks import GatedCell, mlp, zero_last
from aef_worldmodel.prior import Prior


class State(NamedTuple):
    """Model state of N worlds: recurrent h (N, H) and latent z (N, d), both float32."""

    recurrent: Tensor
    latent: Tensor

    @property
    def features(self) -> Tensor:
        """(..., H + d), what heads and agents read."""
        return torch.cat([self.recurrent, self.latent], -1)


class Dynamics(nn.Module):
    """Steps, imagines and judges states; sees no frames.

    Args:
        config: architecture.
        action_dim: A, of actions in [-1, 1].
    """

    def __init__(self, config: WorldModelConfig, action_dim: int):
        super().__init__()
        c = self.config = config
        self.action_dim = action_dim
        self.cell = GatedCell(c.latent_dim + action_dim, c.recurrent_dim)
        features = c.recurrent_dim + c.latent_dim
        self.prior_net = zero_last(mlp(features, 2 * c.latent_dim, c.hidden_dim, 2))
        self.prior_flow = (
            Flow(c.prior_flow, c.latent_dim, context=features) if c.prior_flow else None
        )
        self.reward_head = TwoHotHead(features, c.hidden_dim, 2)
        self.continue_head = zero_last(mlp(features, 1, c.hidden_dim, 1))
        self.inverse_head = (
            zero_last(mlp(features + c.latent_dim, action_dim, c.hidden_dim, 2))
            if c.inverse_weight else None
        )  # fmt: skip

    # -- one step ------------------------------------------------------------------------

    def initial(self, count: int) -> State:
        """State before the first frame: zeros (N, H), (N, d)."""
        zeros = self.cell.recurrent.weight.new_zeros
        return State(zeros(count, self.config.recurrent_dim), zeros(count, self.config.latent_dim))

    def step(self, state: State, action: Tensor) -> Tensor:
        """Next recurrent state (N, H) after `action` (N, A); the latent comes from the prior or
        from a frame."""
        embedded = self.cell.embed(torch.cat([state.latent, action], -1))
        return self.cell(embedded, state.recurrent)

    def prior(self, recurrent: Tensor, previous: Tensor) -> Prior:
        """p(z_t | h_t, z_(t-1)) over latents (..., d).

        recurrent h_t (..., H); previous z_(t-1) (..., d), zeros before an episode's first frame.
        """
        seen = torch.cat([recurrent, previous], -1)  # (..., H + d)
        change, raw = self.prior_net(seen).float().chunk(2, -1)
        mean, std = previous + change, F.softplus(raw) + self.config.prior_floor
        return Prior(mean, std, self.prior_flow, None if self.prior_flow is None else seen)

    def reward(self, state: State) -> Tensor:
        """Expected reward that arrives with the state (...)."""
        return self.reward_head.mean(state.features)

    def continuation(self, state: State) -> Tensor:
        """Probability that the episode goes on from the state (...)."""
        return torch.sigmoid(self.continue_head(state.features).float()[..., 0])

    # -- sequences -----------------------------------------------------------------------

    def filter(self, latents: Tensor, actions: Tensor, first: Tensor, start: Tensor) -> Tensor:
        """Recurrent states h_t of every row (B, T, H), from latents (B, T, d), actions (B, T, A),
        first (B, T) bool, where the state is forgotten, and the first row's state (B, H)."""
        embedded = self.cell.embed(torch.cat([latents, actions], -1))  # (B, T, 3H)
        keep = (~first).to(start.dtype)[..., None]  # (B, T, 1)
        state, states = start * keep[:, 0], []
        for t in range(latents.shape[1]):
            states.append(state)
            if t + 1 < latents.shape[1]:
                state = self.cell(embedded[:, t], state) * keep[:, t + 1]
        return torch.stack(states, 1)

    def priors(self, recurrent: Tensor, latents: Tensor, first: Tensor) -> Prior:
        """The prior of every row of sequences, over latents (B, T, d): recurrent (B, T, H), latents
        (B, T, d), first (B, T) bool. A first row whose episode began earlier has no latent before
        it; its prior means nothing."""
        before = torch.cat([torch.zeros_like(latents[:, :1]), latents[:, :-1]], 1)
        return self.prior(recurrent, before * ~first[..., None])

    def overshoot(self, states: State, batch: dict[str, Tensor],
                  steps: int) -> tuple[Tensor, Tensor]:
        """How well dreams of `steps` decisions, without noise, meet what came.

        From the states (B, T, .) of every row that has `steps` rows after it; batch: action
        (B, T, A), reward and first (B, T). Returns two means over decisions and rows (): of
        `-(z_(t+k) - mean_k)^2 / (2 v_k)` in nats, summed over d, where v_k is the sum of the
        prior's variances on the way and the latents that came are given; and of the rewards'
        cross-entropies. After latent overshooting, Hafner et al. 2019, section 4.
        """
        rows = states.latent.shape[1] - steps
        later = lambda x, k: x[:, k : k + rows].flatten(0, 1)  # noqa: E731  (B rows, .)
        state = State(*(later(part, 0) for part in states))
        variance, within = 0.0, torch.ones_like(later(batch["first"], 0))
        nats, rewards, count = [], [], []
        for k in range(1, steps + 1):
            recurrent = self.step(state, later(batch["action"], k - 1))
            prior = self.prior(recurrent, state.latent)
            state = State(recurrent, prior.centre)
            variance = variance + prior.std.detach().square()
            within = within & ~later(batch["first"], k)  # no other episode has begun
            missed = later(states.latent, k).detach() - state.latent
            nats.append((-0.5 * missed.square() / variance).sum(-1) * within)
            loss = self.reward_head.loss(state.features, later(batch["reward"], k))
            rewards.append(loss * within)
            count.append(within.sum())
        total = torch.stack(count).sum().clamp(min=1)
        return torch.stack(nats).sum() / total, torch.stack(rewards).sum() / total

    def inverse(self, states: State, batch: dict[str, Tensor]) -> Tensor:
        """Mean squared error (), summed over A, of actions told from the states (B, T, .) they were
        taken in and the latents they led to; batch: action (B, T, A), first (B, T). The inverse
        model of Pathak et al. 2017, section 2.2, here beside a likelihood."""
        seen = torch.cat([states.features[:, :-1], states.latent[:, 1:]], -1)  # (B, T-1, H + 2d)
        missed = batch["action"][:, :-1] - self.inverse_head(seen).float()
        within = ~batch["first"][:, 1:]  # no other episode has begun
        return (missed.square().sum(-1) * within).sum() / within.sum().clamp(min=1)

    def imagine(self, start: State, policy: Callable[[Tensor], tuple], horizon: int,
                temperature: float = 1.0,
                generator: torch.Generator | None = None,
                gradient_limit: float | None = None) -> tuple[State, list[tuple]]:
        """Rolls the prior forward under `policy(features (N, F)) -> (action (N, A), ...)`.

        `temperature` scales the prior's noise; 0 follows its centre. Returns states
        (horizon + 1, N, .), the start first, and the list of what the policy returned.
        Differentiable in the policy and in the dynamics; with a `gradient_limit`, gradients of
        imagined states pass through `shorten` on their way back, decision by decision.
        """
        like = start.latent
        noise = temperature * torch.randn(horizon, *like.shape, generator=generator,
                                          device=like.device)  # (horizon, N, d)
        states, decisions = [start], []
        for t in range(horizon):
            decision = policy(states[-1].features)
            recurrent = self.step(states[-1], decision[0])
            prior = self.prior(recurrent, states[-1].latent)
            state = State(recurrent, prior.draw(noise[t]))
            if gradient_limit is not None:
                for part in state:
                    if part.requires_grad:
                        part.register_hook(lambda g: shorten(g, gradient_limit))
            states.append(state)
            decisions.append(decision)
        return State(*(torch.stack(part) for part in zip(*states))), decisions


def shorten(gradient: Tensor, limit: float) -> Tensor:
    """Gradients of N worlds (N, .), none longer than `limit` times the median length of those that
    have any.

    Where a world is chaotic, gradients grow with every decision they come back through, and a
    batch's mean is what its few longest say (Metz et al., "Gradients are not all you need", 2021).
    """
    length = gradient.norm(dim=-1, keepdim=True)  # (N, 1)
    typical = length.masked_fill(length == 0, math.nan).nanmedian().nan_to_num()
    return gradient * (limit * typical / length.clamp(min=1e-30)).clamp(max=1)
