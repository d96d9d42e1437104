"""agent=mpc: planning in latent space at every decision, with the learned reward and value.

Candidate action sequences are imagined, scored by discounted rewards plus the critic's value of
the last state, and drawn again around the best with exponential weights (Williams et al., "Model
predictive path integral control", 2015; with trajectories of the policy among the candidates, as
Hansen et al., "TD-MPC2", 2024, section 3.2). All environments are planned as one batch, and each
plan starts from the last decision's, moved on by one.

Shapes: N environments, K candidates of each, P of them from the policy, L imagined decisions, A
action.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from aef_worldmodel.data.batch import Batch
from aef_worldmodel.utils.config.schema import check_bounds
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.world_models.base import State, WorldModel
from agents.algorithms.imagination.actor_critic import ActorCritic
from agents.algorithms.imagination.agent import ActorCriticAgent, greedy_envs
from agents.algorithms.imagination.config import ActorCriticConfig
from agents.algorithms.imagination.returns import lambda_returns
from agents.base import Agent, AgentSpec, Policy, Submit, Terms, as_action
from agents.registry import AGENTS

TEMPERATURE = 0.5  # a candidate worse by so many deviations of the elites weighs e times less
STD_FLOOR = 0.05  # smallest standard deviation of a plan's actions, which start at 1


@dataclass(frozen=True)
class PlanConfig:
    """How a plan is made."""

    horizon: int = 6
    """Imagined decisions of a plan."""
    num_samples: int = 128
    """Action sequences of an environment in each iteration, the policy's included."""
    num_policy_trajectories: int = 16
    """Sequences that the actor plays in imagination, the same in every iteration."""
    num_elites: int = 16
    """Best candidates, from which the next plan is made."""
    iterations: int = 4
    """Times the candidates of a decision are drawn."""
    use_value: bool = True
    """Add the critic's value of the last imagined state; false scores by rewards alone."""

    def __post_init__(self) -> None:
        """Raise ValueError for a plan that cannot be made."""
        check_bounds(
            self,
            horizon=(1, 1_000),
            num_samples=(1, 100_000),
            num_elites=(1, 100_000),
            iterations=(1, 1_000),
        )
        if not 0 <= self.num_policy_trajectories < self.num_samples:
            raise ValueError(
                f"num_policy_trajectories={self.num_policy_trajectories} must be at least 0 and "
                f"below num_samples={self.num_samples}"
            )
        if self.num_elites > self.num_samples:
            raise ValueError(
                f"num_elites={self.num_elites} must be at most num_samples={self.num_samples}"
            )

    @property
    def needs_actor_critic(self) -> bool:
        """Whether plans read an actor or a critic; otherwise the world model is enough."""
        return bool(self.num_policy_trajectories or self.use_value)


@dataclass(frozen=True)
class MpcConfig(ActorCriticConfig):
    """Planning with an actor-critic that learns in imagination."""

    kind: Literal["mpc"] = "mpc"
    """The agent's name."""
    plan: PlanConfig = field(default_factory=PlanConfig)
    """How a plan is made."""


@AGENTS.register("mpc")
class MpcAgent(ActorCriticAgent):
    """An actor-critic that learns in imagination and plans when it plays."""

    Config = MpcConfig
    config: MpcConfig

    def __init__(self, config: MpcConfig, spec: AgentSpec) -> None:
        super().__init__(config, spec)
        self.learns = config.plan.needs_actor_critic  # else the world model is all there is
        if not self.learns:
            self.future_rows = 0

    def policy(self, explore: bool, model: WorldModel) -> Policy:
        """Return a planner in `model`."""
        networks = self.networks if self.learns else None
        return Planner(self.config, model, networks, explore, self.spec.discrete)

    def begin(
        self, batch: Batch, states: Callable[[], State], model: WorldModel, submit: Submit
    ) -> Callable[[], Terms]:
        """Start an update of the actor-critic, where plans use it."""
        return super().begin(batch, states, model, submit) if self.learns else dict

    @classmethod
    def for_run(cls, config: MpcConfig, trained: Agent, spec: AgentSpec) -> Agent:
        """Return a planner that uses the actor-critic of the run, where there is one."""
        agent = cls(config, spec)
        if isinstance(trained, ActorCriticAgent) and getattr(trained, "learns", True):
            agent.networks = trained.networks
        elif agent.learns:
            raise UserError(
                "this run has no actor and no critic to plan with: give "
                "agent.plan.num_policy_trajectories=0 and agent.plan.use_value=false, to plan by "
                "the learned rewards alone"
            )
        return agent


class Planner(Policy):
    """Plans in imagination.

    Args:
        config: how.
        model: imagines and predicts rewards.
        networks: the averaged actor proposes, the target critic scores, their discount counts;
            None plans by rewards alone, without proposals.
        explore: draw the action from the plan's first distribution instead of taking its mean,
            except in greedy environments.
        discrete: actions are choices; plans are then made of preferences for each.
    """

    def __init__(
        self,
        config: MpcConfig,
        model: WorldModel,
        networks: ActorCritic | None,
        explore: bool,
        discrete: bool = False,
    ) -> None:
        self.config, self.model, self.networks = config, model, networks
        self.explore, self.discrete = explore, discrete
        self.discount = (networks.config if networks else config).discount
        self.plan: Tensor | None = None  # (L, N, A), the last decision's

    @torch.no_grad()
    def act(self, state: State, first: Tensor) -> Tensor:
        """Return the first action of each environment's plan (N, A)."""
        p, (envs, _) = self.config.plan, state.latent.shape
        like, actions = state.recurrent, self.model.action_dim
        if self.plan is None or self.plan.shape[:2] != (p.horizon, envs):
            self.plan = like.new_zeros(p.horizon, envs, actions)
        mean = self.plan.roll(-1, 0) * ~first[:, None]
        mean[-1] = 0
        std = torch.ones_like(mean)
        start = state.map(lambda part: part.repeat_interleave(p.num_samples, 0))  # (N K, .)
        proposed = self._propose(state)  # (L, N, P, A)
        for _ in range(p.iterations):
            shape = (p.horizon, envs, p.num_samples - p.num_policy_trajectories, actions)
            drawn = mean[:, :, None] + std[:, :, None] * torch.randn(shape, device=like.device)
            drawn = drawn if self.discrete else drawn.clamp(-1, 1)  # preferences have no bounds
            candidates = torch.cat([proposed, drawn], 2)  # (L, N, K, A)
            score = self.score(start, candidates.flatten(1, 2)).view(envs, p.num_samples)
            mean, std = self._refit(candidates, score)
        self.plan = mean
        action = mean[0]
        if self.explore:
            greedy = greedy_envs(envs, self.config.greedy_env_fraction, like.device)[:, None]
            action = action + ~greedy * std[0] * torch.randn_like(action)
        return as_action(action, self.discrete)

    def score(self, start: State, actions: Tensor) -> Tensor:
        """Return discounted imagined rewards plus the value of the last state, (M,).

        start: states (M, .); actions: sequences (L, M, A).
        """
        sequence = iter(as_action(actions, self.discrete))
        states, _ = self.model.imagine(start, lambda _: (next(sequence),), len(actions), 0.0)
        arrived = states.map(lambda part: part[1:])
        reward, cont = self.model.reward(arrived), self.model.continuation(arrived)  # (L, M)
        value = reward.new_zeros(len(actions) + 1, reward.shape[1])
        if self.config.plan.use_value and self.networks is not None:
            value[-1] = self.networks.target_critic.mean(states.features[-1])
        return lambda_returns(reward, cont, value, self.discount, return_lambda=1.0)[0]

    def _propose(self, state: State) -> Tensor:
        """Return action sequences of the actor in imagination: its mode once, else draws.

        The result is (L, N, P, A).
        """
        p, (envs, _) = self.config.plan, state.latent.shape
        count = p.num_policy_trajectories
        if not count or self.networks is None:
            return state.latent.new_zeros(p.horizon, envs, 0, self.model.action_dim)
        actor = self.networks.ema_actor
        start = state.map(lambda part: part.repeat_interleave(count, 0))  # (N P, .)
        drawn = torch.arange(envs * count, device=state.latent.device) % count > 0

        def play(features: Tensor) -> tuple[Tensor]:
            noise = torch.randn(len(drawn), self.model.action_dim, device=drawn.device)
            return (actor.sample(features, noise * drawn[:, None])[0],)

        _, decisions = self.model.imagine(start, play, p.horizon, 0.0)
        actions = torch.stack([decision[0] for decision in decisions])  # (L, N P, A)
        return actions.unflatten(1, (envs, count)).float()

    def _refit(self, candidates: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and deviation of the best sequences, (L, N, A) each.

        candidates (L, N, K, A), score (N, K).
        """
        best = score.topk(self.config.plan.num_elites, 1)  # (N, E)
        shape = (len(candidates), -1, -1, candidates.shape[-1])
        elite = candidates.gather(2, best.indices[None, :, :, None].expand(*shape))  # (L, N, E, A)
        scale = best.values.std(1, correction=0, keepdim=True).clamp(min=1e-6)
        weight = (best.values / (TEMPERATURE * scale)).softmax(1)[None, :, :, None]
        mean = (weight * elite).sum(2)
        variance = (weight * (elite - mean[:, :, None]).square()).sum(2)
        return mean, variance.sqrt().clamp(STD_FLOOR, 1)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the plans, from which the next ones start."""
        return {} if self.plan is None else {"plan": self.plan}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the plans."""
        self.plan = state.get("plan")
