"""agent=ppo: proximal policy optimisation (Schulman et al. 2017) on features as they were played.

Shapes: N environments, F features, A action.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from aef_worldmodel.data.batch import Batch
from aef_worldmodel.utils.config.schema import check_bounds
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.world_models.base import State, WorldModel
from agents.algorithms.sb3.common import BATCH, Sb3Agent, Sb3Policy, SpacesOnlyEnv, import_sb3
from agents.base import AgentConfig, AgentSpec, Policy, Terms
from agents.registry import AGENTS

EPOCHS = 10  # passes over a rollout
ROLLOUT_FIELDS = (
    "observations",
    "actions",
    "rewards",
    "returns",
    "episode_starts",
    "values",
    "log_probs",
    "advantages",
    "pos",
    "full",
)


@dataclass(frozen=True)
class PpoConfig(AgentConfig):
    """Proximal policy optimisation on features."""

    kind: Literal["ppo"] = "ppo"
    """The agent's name."""
    rollout: int = 128
    """Decisions of each environment between two updates of the policy."""
    discount: float = 0.99
    """gamma, for each decision."""
    return_lambda: float = 0.95
    """lambda of the advantages."""
    entropy: float = 0.0
    """Weight of the policy's entropy."""
    hidden_dim: int = 256
    """Width of actor and critic."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number that makes no sense."""
        check_bounds(
            self,
            rollout=(1, 1_000_000),
            hidden_dim=(1, 16_384),
            discount=(0, 1),
            return_lambda=(0, 1),
            entropy=(0, None),
        )


@AGENTS.register("ppo")
class PpoAgent(Sb3Agent):
    """Proximal policy optimisation from what the training policy has just played."""

    Config = PpoConfig
    config: PpoConfig

    def __init__(self, config: PpoConfig, spec: AgentSpec) -> None:
        super().__init__(config, spec)
        algorithms, width = import_sb3(), [config.hidden_dim] * 2
        from stable_baselines3.common.buffers import RolloutBuffer

        algorithm = algorithms.PPO(
            "MlpPolicy",
            SpacesOnlyEnv(spec),
            learning_rate=spec.actor_lr,
            n_steps=config.rollout,
            batch_size=config.rollout,
            n_epochs=EPOCHS,
            gamma=config.discount,
            gae_lambda=config.return_lambda,
            ent_coef=config.entropy,
            policy_kwargs={"net_arch": {"pi": width, "vf": width}},
            device=spec.device,
        )
        self.set_algorithm(algorithm)
        algorithm.batch_size = BATCH  # of the rollout of all environments, below
        algorithm.rollout_buffer = self.rollout = RolloutBuffer(
            config.rollout,
            algorithm.observation_space,
            algorithm.action_space,
            spec.device,
            gae_lambda=config.return_lambda,
            gamma=config.discount,
            n_envs=spec.num_envs,
        )
        self.closed = False  # the rollout is full and its advantages are computed

    def policy(self, explore: bool, model: WorldModel) -> Policy:
        """Return the network's policy; in training it keeps what it needs to learn."""
        return PpoPolicy(self) if explore else super().policy(explore, model)

    def update(self, batch: Batch, states: State, model: WorldModel) -> Terms:
        """Learn once a rollout is closed, and begin the next one."""
        if not self.closed:
            return {}
        terms = self.train_and_log()
        self.rollout.reset()
        self.closed = False
        return terms

    def train(self) -> None:
        """Take Stable-Baselines3's epochs, shuffled by numpy's generator seeded from torch's."""
        np.random.seed(int(torch.randint(2**31, ())))
        self.algorithm.train()

    def state_dict(self) -> dict[str, Any]:
        """Return networks, optimisers and the rollout so far."""
        kept = {name: getattr(self.rollout, name) for name in ROLLOUT_FIELDS}
        return super().state_dict() | {"rollout": kept, "closed": self.closed}

    def load_state_dict(self, state: dict[str, Any], source: Path) -> None:
        """Restore a saved state. Raises UserError for a rollout of another shape."""
        super().load_state_dict(state, source)
        here, saved = self.rollout.rewards.shape, tuple(state["rollout"]["rewards"].shape)
        if here != saved:
            raise UserError(
                f"{source} was made with a rollout of {saved[0]} decisions in {saved[1]} "
                f"environments, not {here[0]} in {here[1]}: use the settings it was trained with"
            )
        for name in ROLLOUT_FIELDS:
            value = state["rollout"][name]
            setattr(self.rollout, name, value.numpy() if isinstance(value, Tensor) else value)
        self.closed = state["closed"]


class PpoPolicy(Sb3Policy):
    """Draws actions and writes the rollout.

    An episode that is cut short, not terminated, counts as going on with the critic's value of its
    last state.
    """

    def __init__(self, agent: PpoAgent) -> None:
        super().__init__(agent.algorithm.policy, explore=True)
        self.agent = agent
        self.pending: tuple[Tensor, ...] | None = None  # the decision whose outcome is awaited

    @torch.no_grad()
    def act(self, state: State, first: Tensor) -> Tensor:
        """Return actions (N, A), clipped to the box; close a rollout that is full."""
        agent = self.agent
        with torch.autocast(state.latent.device.type, enabled=False):
            features = state.features.float()
            action, value, log_prob = self.network(features)
        if agent.rollout.full and not agent.closed:
            agent.rollout.compute_returns_and_advantage(value.flatten(), first.cpu().numpy())
            agent.closed = True
        self.pending = features, action, first, value.flatten(), log_prob
        return self.as_row(action)

    @torch.no_grad()
    def outcome(
        self,
        reward: Tensor,
        terminated: Tensor,
        truncated: Tensor,
        last: Callable[[], State],
    ) -> None:
        """Add the decision to the rollout, if there is room."""
        if self.pending is None or self.agent.rollout.full:
            return
        features, action, first, value, log_prob = self.pending
        cut = truncated & ~terminated
        if cut.any():
            with torch.autocast(reward.device.type, enabled=False):
                beyond = self.network.predict_values(last().features.float()).flatten()
            reward = reward + self.agent.config.discount * beyond * cut
        action = action.reshape(len(action), -1)  # choices have a column of their own
        obs, act, rew, begun = (x.cpu().numpy() for x in (features, action, reward, first))
        self.agent.rollout.add(obs, act, rew, begun, value, log_prob)
        self.pending = None
