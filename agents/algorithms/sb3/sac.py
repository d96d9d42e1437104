"""agent=sac: soft actor-critic (Haarnoja et al. 2018) on the world model's latest features.

Shapes: B sequences, T rows, M transitions, F features, A action.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from aef_worldmodel.data.batch import Batch
from aef_worldmodel.utils.config.schema import check_bounds
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.world_models.base import State, WorldModel
from agents.algorithms.sb3.common import BATCH, Sb3Agent, SpacesOnlyEnv, import_sb3
from agents.base import AgentConfig, AgentSpec, Terms
from agents.registry import AGENTS

WINDOW = 32  # updates whose batches are drawn from; older features are thrown away


@dataclass(frozen=True)
class SacConfig(AgentConfig):
    """Soft actor-critic on features."""

    kind: Literal["sac"] = "sac"
    """The agent's name."""
    gradient_steps: int = 4
    """Gradient steps for each update of the world model."""
    entropy: float = 0.01
    """First weight of the policy's entropy; the weight is learnt. Adam takes thousands of steps
    to bring it down from Stable-Baselines3's 1, which drowns small rewards."""
    discount: float = 0.99
    """gamma, for each decision."""
    hidden_dim: int = 256
    """Width of actor and critics."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number that makes no sense."""
        check_bounds(self, gradient_steps=(1, 10_000), hidden_dim=(1, 16_384), discount=(0, 1))
        if self.entropy <= 0:
            raise ValueError(f"entropy={self.entropy} must be above 0: it is learnt from there")


@AGENTS.register("sac")
class SacAgent(Sb3Agent):
    """Soft actor-critic from transitions inside the latest batches."""

    Config = SacConfig
    config: SacConfig

    def __init__(self, config: SacConfig, spec: AgentSpec) -> None:
        super().__init__(config, spec)
        if spec.discrete:
            raise UserError("agent=sac cannot choose among discrete actions: give agent=ppo")
        self.set_algorithm(
            import_sb3().SAC(
                "MlpPolicy",
                SpacesOnlyEnv(spec),
                learning_rate=spec.actor_lr,
                buffer_size=1,
                gamma=config.discount,
                ent_coef=f"auto_{config.entropy}",
                policy_kwargs={"net_arch": [config.hidden_dim] * 2},
                device=spec.device,
            )
        )
        rows = spec.batch_size * (spec.sequence_length - 1)
        self.buffer = self.algorithm.replay_buffer = TransitionBuffer(WINDOW * rows, spec)

    def update(self, batch: Batch, states: State, model: WorldModel) -> Terms:
        """Take the gradient steps on the latest transitions, once there are any."""
        self.buffer.put(*transitions(batch, states))
        return self.train_and_log() if self.buffer.count else {}

    def train(self) -> None:
        """Take Stable-Baselines3's gradient steps."""
        self.algorithm.train(self.config.gradient_steps, BATCH)

    def state_dict(self) -> dict[str, Any]:
        """Return networks, optimisers and the transitions."""
        return super().state_dict() | {"seen": self.buffer.state_dict()}

    def load_state_dict(self, state: dict[str, Any], source: Path) -> None:
        """Restore a saved state. Raises UserError for another architecture."""
        super().load_state_dict(state, source)
        self.buffer.load_state_dict(state["seen"])


def transitions(batch: Batch, states: State) -> tuple[Tensor, ...]:
    """Return features, action, reward, next features and done (M, .) of all pairs of rows.

    Both rows are of one episode; row t + 1 holds the reward of row t's action.
    """
    features = states.features  # (B, T, F)
    same = ~batch.first[:, 1:] & ~batch.terminal[:, :-1]  # (B, T - 1)
    now, after = (slice(None, -1), slice(1, None))
    parts = (
        features[:, now],
        batch.action[:, now],
        batch.reward[:, after, None],
        features[:, after],
        batch.terminal[:, after, None].float(),
    )
    return tuple(part[same] for part in parts)


class TransitionBuffer:
    """A ring of transitions in the place of Stable-Baselines3's replay buffer.

    Args:
        size: of the ring.
        spec: widths F, A and the device.
    """

    def __init__(self, size: int, spec: AgentSpec) -> None:
        widths = (spec.feature_dim, spec.action_dim, 1, spec.feature_dim, 1)
        self.columns = [torch.zeros(size, width, device=spec.device) for width in widths]
        self.count = 0  # transitions ever put

    def put(self, *parts: Tensor) -> None:
        """Add transitions: features, action, reward, next features, done, (M, .) each."""
        size, new = len(self.columns[0]), len(parts[0])
        index = (self.count + torch.arange(new, device=parts[0].device)) % size
        for column, part in zip(self.columns, parts, strict=True):
            column[index] = part
        self.count += new

    def sample(self, batch_size: int, env: None = None) -> Any:
        """Draw uniformly, with replacement."""
        from stable_baselines3.common.type_aliases import ReplayBufferSamples

        full = min(self.count, len(self.columns[0]))
        chosen = torch.randint(full, (batch_size,), device=self.columns[0].device)
        now, action, reward, after, done = (column[chosen] for column in self.columns)
        return ReplayBufferSamples(now, action, after, done, reward)

    def state_dict(self) -> dict[str, Any]:
        """Return all transitions."""
        return {"columns": self.columns, "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them; from a ring of another size, the newest that fit."""
        size, old, count = len(self.columns[0]), len(state["columns"][0]), state["count"]
        kept = torch.arange(count)[-min(size, old) :]  # numbers of those that both hold
        for column, saved in zip(self.columns, state["columns"], strict=True):
            column[(kept % size).to(column.device)] = saved[kept % old].to(column.device)
        self.count = count
