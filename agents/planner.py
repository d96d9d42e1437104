"""agent=mpc: planning in latent space at every decision, with the learned reward and value.

Candidate action sequences are imagined, scored by discounted rewards plus the critic's value of
the last state, and drawn again around the best: by the cross-entropy method (Hafner et al. 2019,
PlaNet, algorithm 2) or by exponential weights (Williams et al. 2015, MPPI; as Hansen et al. 2024,
TD-MPC2, section 3.2, with trajectories of the policy among the candidates). All worlds are planned
as one batch, and each plan starts from the last decision's, moved on by one.

Shapes: N worlds, K candidates of each, H imagined decisions, A action.
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from aef_worldmodel.dynamics import Dynamics, State
from agents.imagination import ImaginationAgent, ImaginationConfig, lambda_returns
from agents.policy import Policy, choose, quiet
from agents.schema import ConfigError


@dataclass(frozen=True)
class PlannerConfig:
    """Planning with an actor-critic that learns in imagination."""

    kind: Literal["mpc"] = "mpc"
    """Which agent this is."""
    method: Literal["mppi", "cem"] = "mppi"
    """How a plan is made of the best: with exponential weights, or all weighing the same."""
    horizon: int = 6
    """Imagined decisions of a plan, H."""
    candidates: int = 128
    """Action sequences of a world in each round, those of the policy included, K."""
    proposals: int = 16
    """Of these, sequences that the actor plays in the dream, in every round the same."""
    elites: int = 16
    """Best candidates, from which the next plan is made."""
    rounds: int = 4
    """Times the candidates of a decision are drawn."""
    temperature: float = 0.5
    """MPPI: a candidate that is worse by so many deviations of the elites weighs e times less."""
    std_floor: float = 0.05
    """Least standard deviation of a plan's actions; they start at 1."""
    noise: float = 0.0
    """Temperature of the dream: factor on the prior's standard deviation; 0 follows its mean."""
    bootstrap: bool = True
    """Whether the critic's value of the last imagined state counts; otherwise rewards alone."""
    imagination: ImaginationConfig = field(default_factory=ImaginationConfig)
    """The actor-critic that proposes and judges. Playing a trained run takes that run's own."""

    def __post_init__(self) -> None:
        """Raise ConfigError for a plan that cannot be made."""
        for name in ("horizon", "candidates", "elites", "rounds"):
            if getattr(self, name) < 1:
                raise ConfigError(f"agent.{name}={getattr(self, name)} must be at least 1")
        if not 0 <= self.proposals < self.candidates or self.elites > self.candidates:
            raise ConfigError(
                f"agent.candidates={self.candidates} must be more than agent.proposals="
                f"{self.proposals} and no fewer than agent.elites={self.elites}"
            )
        if self.temperature <= 0 or self.std_floor <= 0 or self.noise < 0:
            raise ConfigError(
                f"agent.temperature={self.temperature} and agent.std_floor={self.std_floor} must "
                f"be above 0, agent.noise={self.noise} at least 0"
            )


class Planner(Policy):
    """Plans in imagination.

    Args:
        config: how.
        model: dreams and knows rewards.
        agent: its averaged actor proposes, its slow critic judges, its discount counts; None to
            plan by rewards alone, without proposals.
        explore: draw the action from the plan's first distribution instead of taking its mean, but
            in quiet worlds.
        discrete: actions are choices; plans are then made of preferences for each.
    """

    def __init__(
        self, config: PlannerConfig, model: Dynamics, agent: ImaginationAgent | None,
        explore: bool, discrete: bool = False,
    ):  # fmt: skip
        self.config, self.model, self.agent, self.explore = config, model, agent, explore
        self.discrete = discrete
        self.discount = (agent.config if agent else config.imagination).discount
        self.plan: Tensor | None = None  # (H, N, A), the last decision's

    @torch.no_grad()
    def act(self, state: State, first: Tensor) -> Tensor:
        """The first action of each world's plan (N, A)."""
        c, (worlds, _) = self.config, state.latent.shape
        like, actions = state.recurrent, self.model.action_dim
        if self.plan is None or self.plan.shape[:2] != (c.horizon, worlds):
            self.plan = like.new_zeros(c.horizon, worlds, actions)
        mean = self.plan.roll(-1, 0) * ~first[:, None]
        mean[-1] = 0
        std = torch.ones_like(mean)
        start = State(*(part.repeat_interleave(c.candidates, 0) for part in state))  # (N K, .)
        proposed = self._propose(state)  # (H, N, P, A)
        for _ in range(c.rounds):
            shape = (c.horizon, worlds, c.candidates - c.proposals, actions)
            drawn = mean[:, :, None] + std[:, :, None] * torch.randn(shape, device=like.device)
            drawn = drawn if self.discrete else drawn.clamp(-1, 1)  # preferences have no bounds
            played = torch.cat([proposed, drawn], 2)  # (H, N, K, A)
            score = self.score(start, played.flatten(1, 2)).view(worlds, c.candidates)
            mean, std = self._refit(played, score)
        self.plan = mean
        action = mean[0]
        if self.explore:
            calm = quiet(worlds, c.imagination.quiet_worlds, like.device)[:, None]
            action = action + ~calm * std[0] * torch.randn_like(action)
        return choose(action, self.discrete)

    def score(self, start: State, actions: Tensor) -> Tensor:
        """Discounted imagined rewards of sequences (H, M, A) from states (M, .), plus the value
        where they end: (M,)."""
        c, sequence = self.config, iter(choose(actions, self.discrete))
        states, _ = self.model.imagine(start, lambda _: (next(sequence),), len(actions), c.noise)
        arrived = State(states.recurrent[1:], states.latent[1:])
        reward, cont = self.model.reward(arrived), self.model.continuation(arrived)  # (H, M)
        value = reward.new_zeros(len(actions) + 1, reward.shape[1])
        if c.bootstrap:
            value[-1] = self.agent.slow_critic.mean(states.features[-1])
        return lambda_returns(reward, cont, value, self.discount, trace=1.0)[0]

    def _propose(self, state: State) -> Tensor:
        """What the actor does in the dream: its mode once, draws otherwise. (H, N, P, A)"""
        c, (worlds, _) = self.config, state.latent.shape
        if not c.proposals:
            return state.latent.new_zeros(c.horizon, worlds, 0, self.model.action_dim)
        actor = self.agent.slow_actor
        start = State(*(part.repeat_interleave(c.proposals, 0) for part in state))  # (N P, .)
        drawn = torch.arange(worlds * c.proposals, device=state.latent.device) % c.proposals > 0

        def play(features: Tensor) -> tuple[Tensor]:
            noise = torch.randn(len(drawn), self.model.action_dim, device=drawn.device)
            return (actor.sample(features, noise * drawn[:, None])[0],)

        _, decisions = self.model.imagine(start, play, c.horizon, c.noise)
        played = torch.stack([decision[0] for decision in decisions])  # (H, N P, A)
        return played.unflatten(1, (worlds, c.proposals)).float()

    def _refit(self, played: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of the best sequences, each (H, N, A); played (H, N, K, A), score
        (N, K)."""
        c = self.config
        best = score.topk(c.elites, 1)  # (N, E)
        index = best.indices[None, :, :, None].expand(len(played), -1, -1, played.shape[-1])
        elite = played.gather(2, index)  # (H, N, E, A)
        weight = torch.full_like(best.values, 1 / c.elites)
        if c.method == "mppi":
            scale = best.values.std(1, correction=0, keepdim=True).clamp(min=1e-6)
            weight = (best.values / (c.temperature * scale)).softmax(1)
        weight = weight[None, :, :, None]
        mean = (weight * elite).sum(2)
        variance = (weight * (elite - mean[:, :, None]).square()).sum(2)
        return mean, variance.sqrt().clamp(c.std_floor, 1)

    def state_dict(self) -> dict[str, Tensor]:
        """The plans, which the next ones start from."""
        return {} if self.plan is None else {"plan": self.plan}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Goes back to them."""
        self.plan = state.get("plan")
