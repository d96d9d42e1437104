"""agent=sac and agent=ppo: Stable-Baselines3's algorithms on the world model's features (h, z).

The world model keeps learning while they do, so features change their meaning. SAC therefore does
not keep what it saw: it learns from transitions inside the batches the world model has just
filtered, the last `window` of them. PPO learns from what it has just played.

`pip install 'aef-worldmodel[sb3]'`. Shapes: N worlds, F features, A action.
"""

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from aef_worldmodel.dynamics import Dynamics, State
from aef_worldmodel.errors import UserError
from agents.agent import Agent, Rows
from agents.policy import Policy
from agents.schema import ConfigError


@dataclass(frozen=True)
class SacConfig:
    """Soft actor-critic (Haarnoja et al. 2018) on features."""

    kind: Literal["sac"] = "sac"
    """Which agent this is."""
    steps: int = 4
    """Gradient steps an update of the world model."""
    batch: int = 256
    """Transitions of a gradient step."""
    window: int = 32
    """Updates whose batches are drawn from; older features are thrown away."""
    rate: float = 3e-4
    """Adam's learning rate of actor, critics and entropy weight."""
    entropy: float = 0.01
    """Weight of the policy's entropy at first; it is learnt. Adam takes thousands of steps to
    bring it down from SB3's 1, where it drowns small rewards (docs/agents.md)."""
    discount: float = 0.99
    """gamma, a decision."""
    hidden_dim: int = 256
    """Width of the two hidden layers of actor and critics."""

    def __post_init__(self) -> None:
        """Raise ConfigError for a number that makes no sense."""
        check_numbers(self, ("steps", "batch", "window", "hidden_dim"), ("discount",))
        if self.entropy <= 0:
            raise ConfigError(
                f"agent.entropy={self.entropy} must be above 0: it is learnt from there"
            )


@dataclass(frozen=True)
class PpoConfig:
    """Proximal policy optimisation (Schulman et al. 2017) on features."""

    kind: Literal["ppo"] = "ppo"
    """Which agent this is."""
    rollout: int = 128
    """Decisions of each world between two updates of the policy."""
    epochs: int = 10
    """Passes over them."""
    batch: int = 256
    """Decisions of a gradient step."""
    rate: float = 3e-4
    """Adam's learning rate."""
    discount: float = 0.99
    """gamma, a decision."""
    trace: float = 0.95
    """lambda of the advantages."""
    entropy: float = 0.0
    """Weight of the policy's entropy."""
    hidden_dim: int = 256
    """Width of the two hidden layers of actor and critic."""

    def __post_init__(self) -> None:
        """Raise ConfigError for a number that makes no sense."""
        check_numbers(self, ("rollout", "epochs", "batch", "hidden_dim"), ("discount", "trace"))
        if self.entropy < 0:
            raise ConfigError(f"agent.entropy={self.entropy} must be at least 0")


def check_numbers(config: object, counts: tuple[str, ...], shares: tuple[str, ...]) -> None:
    """Raises ConfigError unless counts are at least 1, shares within 0 and 1, the rate above 0."""
    for name in counts:
        if getattr(config, name) < 1:
            raise ConfigError(f"agent.{name}={getattr(config, name)} must be at least 1")
    for name in shares:
        if not 0 <= getattr(config, name) <= 1:
            raise ConfigError(f"agent.{name}={getattr(config, name)} must be within 0 and 1")
    if config.rate <= 0:
        raise ConfigError(f"agent.rate={config.rate} must be above 0")


def import_sb3():
    """The package, or UserError saying how to install it."""
    try:
        import stable_baselines3
    except ImportError as error:
        raise UserError(
            "agent=sac and agent=ppo need Stable-Baselines3: pip install 'aef-worldmodel[sb3]'"
        ) from error
    return stable_baselines3


class Spaces(gym.Env):
    """An environment of which nothing but its spaces is used."""

    def __init__(self, features: int, action_dim: int, discrete: bool = False):
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (features,), np.float32)
        box = gym.spaces.Box(-1.0, 1.0, (action_dim,), np.float32)
        self.action_space = gym.spaces.Discrete(action_dim) if discrete else box


class Sb3Agent(Agent):
    """What both have in common: an algorithm of the package whose `train` is called from here."""

    def __init__(self, algorithm, device: torch.device):
        from stable_baselines3.common.logger import Logger

        self.algorithm, self.device = algorithm, device
        algorithm.set_logger(Logger(None, []))

    def policy(self, explore: bool) -> Policy:
        """The network's mode, or draws from it."""
        return Sb3Policy(self.algorithm.policy, explore)

    @abstractmethod
    def train(self) -> None:
        """Calls the algorithm's own `train`."""

    def terms(self) -> dict[str, Tensor]:
        """Trains, and returns what it logged."""
        logged = self.algorithm.logger.name_to_value
        logged.clear()
        self.train()
        names = ("actor_loss", "critic_loss", "ent_coef", "policy_gradient_loss", "value_loss",
                 "entropy_loss", "approx_kl")  # fmt: skip
        found = {name: logged[f"train/{name}"] for name in names if f"train/{name}" in logged}
        return {name: torch.tensor(float(value)) for name, value in found.items()}

    def state_dict(self) -> dict[str, Any]:
        """Networks and optimisers, as the package names them."""
        _, variables = self.algorithm._get_torch_save_params()
        state = dict(self.algorithm.get_parameters())
        return state | {name: getattr(self.algorithm, name).detach() for name in variables}

    def load_state_dict(self, state: dict[str, Any], source: Path) -> None:
        """Goes to a saved state. Raises UserError, naming `source`, for another architecture."""
        names, variables = self.algorithm._get_torch_save_params()
        try:
            self.algorithm.set_parameters({name: state[name] for name in names})
        except (KeyError, RuntimeError, ValueError) as error:
            raise UserError(
                f"{source} was made with another architecture "
                f"({str(error).splitlines()[0]}): use the settings it was trained with"
            ) from error
        with torch.no_grad():
            for name in variables:
                getattr(self.algorithm, name).copy_(state[name])


class Sb3Policy(Policy):
    """A policy network of the package on features, in float32."""

    def __init__(self, network, explore: bool):
        self.network, self.explore = network, explore

    @torch.no_grad()
    def act(self, state: State, first: Tensor) -> Tensor:
        """(N, A), clipped to the box."""
        with torch.autocast(state.latent.device.type, enabled=False):
            features = state.features.float()
            action = self.network._predict(features, deterministic=not self.explore)
        return self.as_row(action)

    def as_row(self, action: Tensor) -> Tensor:
        """What the network gave, (N, A) or choices (N,), as the worlds take it."""
        space = self.network.action_space
        if isinstance(space, gym.spaces.Discrete):
            return F.one_hot(action.long(), int(space.n)).float()
        return action.clamp(-1, 1)


class SacAgent(Sb3Agent):
    """Soft actor-critic on the world model's latest features.

    Args:
        config: how it learns.
        features, action_dim: F, A.
        rows: transitions an update of the world model brings, B (T - 1).
        device: where everything is.
    """

    def __init__(
        self, config: SacConfig, features: int, action_dim: int, rows: int, device: torch.device
    ):
        self.config = config
        width = [config.hidden_dim] * 2
        algorithm = import_sb3().SAC(
            "MlpPolicy", Spaces(features, action_dim), learning_rate=config.rate, buffer_size=1,
            gamma=config.discount, ent_coef=f"auto_{config.entropy}",
            policy_kwargs={"net_arch": width}, device=device,
        )  # fmt: skip
        super().__init__(algorithm, device)
        self.seen = algorithm.replay_buffer = Transitions(
            config.window * rows, features, action_dim, device
        )

    def learn(self, rows: Rows, dream: Dynamics) -> dict[str, Tensor]:
        """`steps` gradient steps on the latest transitions, once there are any."""
        self.seen.put(*transitions(rows))
        return self.terms() if self.seen.count else {}

    def train(self) -> None:
        """SB3's gradient steps."""
        self.algorithm.train(self.config.steps, self.config.batch)

    def state_dict(self) -> dict[str, Any]:
        """With the transitions it learns from."""
        return super().state_dict() | {"seen": self.seen.state_dict()}

    def load_state_dict(self, state: dict[str, Any], source: Path) -> None:
        """Goes to a saved state."""
        super().load_state_dict(state, source)
        self.seen.load_state_dict(state["seen"])


def transitions(rows: Rows) -> tuple[Tensor, ...]:
    """Features, action, reward, next features, done (M, .) of all pairs of rows within an episode:
    row t + 1 holds the reward of row t's action."""
    features = torch.cat([rows["recurrent"], rows["latent"]], -1)  # (B, T, F)
    same = ~rows["first"][:, 1:] & ~rows["terminal"][:, :-1]  # (B, T - 1)
    now, after = (slice(None, -1), slice(1, None))
    parts = (
        features[:, now], rows["action"][:, now], rows["reward"][:, after, None],
        features[:, after], rows["terminal"][:, after, None].float(),
    )  # fmt: skip
    return tuple(part[same] for part in parts)


class Transitions:
    """A ring of transitions that SAC draws from, where it expects a replay buffer.

    Args:
        size: of the ring.
        features, action_dim: F, A.
        device: where they are kept.
    """

    def __init__(self, size: int, features: int, action_dim: int, device: torch.device):
        widths = (features, action_dim, 1, features, 1)
        self.columns = [torch.zeros(size, width, device=device) for width in widths]
        self.count = 0  # ever put

    def put(self, *parts: Tensor) -> None:
        """Adds transitions: features, action, reward, next features, done, each (M, .)."""
        size, new = len(self.columns[0]), len(parts[0])
        index = (self.count + torch.arange(new, device=parts[0].device)) % size
        for column, part in zip(self.columns, parts):
            column[index] = part
        self.count += new

    def sample(self, batch_size: int, env: None = None):
        """Draws with replacement, uniformly."""
        from stable_baselines3.common.type_aliases import ReplayBufferSamples

        full = min(self.count, len(self.columns[0]))
        chosen = torch.randint(full, (batch_size,), device=self.columns[0].device)
        now, action, reward, after, done = (column[chosen] for column in self.columns)
        return ReplayBufferSamples(now, action, after, done, reward)

    def state_dict(self) -> dict[str, Any]:
        """All of it."""
        return {"columns": self.columns, "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes back; from a ring of another size the newest are taken that there is room for."""
        size, old, count = len(self.columns[0]), len(state["columns"][0]), state["count"]
        kept = torch.arange(count)[-min(size, old) :]  # numbers of those that both hold
        for column, saved in zip(self.columns, state["columns"]):
            column[(kept % size).to(column.device)] = saved[kept % old].to(column.device)
        self.count = count


class PpoAgent(Sb3Agent):
    """Proximal policy optimisation on the features as they were when it played.

    Args:
        config: how it learns.
        features, action_dim: F, A.
        worlds: N.
        device: where everything is.
        discrete: actions are choices.
    """

    def __init__(
        self, config: PpoConfig, features: int, action_dim: int, worlds: int,
        device: torch.device, discrete: bool = False,
    ):  # fmt: skip
        from stable_baselines3.common.buffers import RolloutBuffer

        c = self.config = config
        width = {"pi": [c.hidden_dim] * 2, "vf": [c.hidden_dim] * 2}
        algorithm = import_sb3().PPO(
            "MlpPolicy", Spaces(features, action_dim, discrete), learning_rate=c.rate,
            n_steps=c.rollout, batch_size=c.rollout, n_epochs=c.epochs, gamma=c.discount,
            gae_lambda=c.trace, ent_coef=c.entropy, policy_kwargs={"net_arch": width},
            device=device,
        )  # fmt: skip
        super().__init__(algorithm, device)
        algorithm.batch_size = c.batch  # of the rollout of all worlds, below
        algorithm.rollout_buffer = self.rollout = RolloutBuffer(
            c.rollout, algorithm.observation_space, algorithm.action_space, device,
            gae_lambda=c.trace, gamma=c.discount, n_envs=worlds,
        )  # fmt: skip
        self.closed = False  # the rollout is full and its advantages are computed

    def policy(self, explore: bool) -> Policy:
        """What plays the training worlds keeps what it needs to learn."""
        return PpoPolicy(self) if explore else super().policy(explore)

    def learn(self, rows: Rows, dream: Dynamics) -> dict[str, Tensor]:
        """Learns once a rollout is closed, and begins another."""
        if not self.closed:
            return {}
        found = self.terms()
        self.rollout.reset()
        self.closed = False
        return found

    def train(self) -> None:
        """SB3's epochs; it shuffles with numpy's generator, which follows torch's here."""
        np.random.seed(int(torch.randint(2**31, ())))
        self.algorithm.train()

    def state_dict(self) -> dict[str, Any]:
        """With the rollout so far."""
        kept = {name: getattr(self.rollout, name) for name in ROLLOUT}
        return super().state_dict() | {"rollout": kept, "closed": self.closed}

    def load_state_dict(self, state: dict[str, Any], source: Path) -> None:
        """Goes to a saved state. Raises UserError for a rollout of another shape."""
        super().load_state_dict(state, source)
        here, there = self.rollout.rewards.shape, tuple(state["rollout"]["rewards"].shape)
        if here != there:
            raise UserError(
                f"{source} was made with a rollout of {there[0]} decisions in {there[1]} worlds, "
                f"not {here[0]} in {here[1]}: use the settings it was trained with"
            )
        for name in ROLLOUT:
            value = state["rollout"][name]
            setattr(self.rollout, name, value.numpy() if isinstance(value, Tensor) else value)
        self.closed = state["closed"]


ROLLOUT = (
    "observations", "actions", "rewards", "returns", "episode_starts", "values", "log_probs",
    "advantages", "pos", "full",
)  # fmt: skip


class PpoPolicy(Sb3Policy):
    """Draws actions and writes the rollout. An episode that is cut short, not ended, counts as
    going on with the critic's value of its last state."""

    def __init__(self, agent: PpoAgent):
        super().__init__(agent.algorithm.policy, explore=True)
        self.agent = agent
        self.played: tuple[Tensor, ...] | None = None  # the decision whose outcome comes next

    @torch.no_grad()
    def act(self, state: State, first: Tensor) -> Tensor:
        """(N, A), clipped to the box; closes a rollout that is full."""
        agent = self.agent
        with torch.autocast(state.latent.device.type, enabled=False):
            features = state.features.float()
            action, value, log_prob = self.network(features)
        if agent.rollout.full and not agent.closed:
            agent.rollout.compute_returns_and_advantage(value.flatten(), first.cpu().numpy())
            agent.closed = True
        self.played = features, action, first, value.flatten(), log_prob
        return self.as_row(action)

    def outcome(self, reward: Tensor, terminated: Tensor, truncated: Tensor) -> None:
        """Adds the decision to the rollout, if there is room."""
        if self.played is None or self.agent.rollout.full:
            return
        features, action, first, value, log_prob = self.played
        cut = truncated & ~terminated
        reward = reward + self.agent.config.discount * value * cut
        features, action, reward, first = (
            part.cpu().numpy() for part in (features, action, reward, first)
        )
        action = action.reshape(len(action), -1)  # choices have a column of their own
        self.agent.rollout.add(features, action, reward, first, value, log_prob)
        self.played = None
