"""Settings of the actor-critic in imagination."""

from dataclasses import dataclass
from typing import Literal

from aef_worldmodel.utils.config.schema import check_bounds
from agents.base import AgentConfig


@dataclass(frozen=True)
class ActorCriticConfig(AgentConfig):
    """What every agent with an actor-critic in imagination has in common."""

    horizon: int = 20
    """Imagined decisions."""
    imagination_batch: int = 128
    """Replayed states from which an update imagines."""
    temperature: float = 1.0
    """Factor on the noise of the prior in imagined rollouts. 1 draws from the prior; 0 follows its
    centre, where everything is easier than in the environment."""
    discount: float = 0.99
    """gamma, for each decision."""
    return_lambda: float = 0.95
    """lambda of the returns."""
    entropy: float = 1e-2
    """Weight of the policy's entropy, against normalised returns."""
    gradient_limit: float | None = 3.0
    """Largest gradient with respect to an imagined state, in medians over the batch; otherwise a
    few chaotic rollouts dominate. null for no limit."""
    critic_replay_steps: int = 300
    """Decisions of the replay whose observed rewards train the critic, episodes permitting."""
    greedy_env_fraction: float = 0.25
    """Share of the training environments, of four or more, that play as evaluations do, without
    noise, so that the agent learns from what goes wrong only there."""
    hidden_dim: int = 256
    """Width of actor and critic."""

    def __post_init__(self) -> None:
        """Raise ValueError for what cannot be imagined or learnt from."""
        check_bounds(
            self,
            horizon=(1, 1_000),
            imagination_batch=(1, 1_000_000),
            critic_replay_steps=(1, 1_000_000),
            hidden_dim=(1, 16_384),
            temperature=(0, None),
            entropy=(0, None),
            discount=(0, 1),
            return_lambda=(0, 1),
            greedy_env_fraction=(0, 1),
        )
        if self.gradient_limit is not None and self.gradient_limit <= 0:
            raise ValueError(
                f"gradient_limit={self.gradient_limit} must be above 0; null is no limit"
            )


@dataclass(frozen=True)
class ImaginationConfig(ActorCriticConfig):
    """Actor-critic trained in imagination."""

    kind: Literal["imagination"] = "imagination"
    """The agent's name."""
