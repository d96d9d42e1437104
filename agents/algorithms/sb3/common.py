"""What agent=sac and agent=ppo have in common: Stable-Baselines3 on features (h, z).

The world model keeps learning while they learn, so features change their meaning. SAC therefore
learns from transitions inside the batches that the world model has just filtered; PPO learns from
what it has just played. `pip install 'aef-worldmodel[sb3]'`.

Shapes: N environments, F features, A action.
"""

from abc import abstractmethod
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from aef_worldmodel.utils.checkpoint import load_weights
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.world_models.base import State, WorldModel
from agents.base import Agent, AgentSpec, Policy, Terms

BATCH = 256  # transitions or decisions of a gradient step
LOGGED = (
    "actor_loss",
    "critic_loss",
    "ent_coef",
    "policy_gradient_loss",
    "value_loss",
    "entropy_loss",
    "approx_kl",
)


def import_sb3() -> Any:
    """Import the package. Raises UserError saying how to install it."""
    try:
        import stable_baselines3
    except ImportError as error:
        raise UserError(
            "agent=sac and agent=ppo need Stable-Baselines3: pip install 'aef-worldmodel[sb3]'"
        ) from error
    return stable_baselines3


class SpacesOnlyEnv(gym.Env):
    """An environment of which only the spaces are used."""

    def __init__(self, spec: AgentSpec) -> None:
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (spec.feature_dim,), np.float32)
        box = gym.spaces.Box(-1.0, 1.0, (spec.action_dim,), np.float32)
        self.action_space = gym.spaces.Discrete(spec.action_dim) if spec.discrete else box


class Sb3Agent(Agent):
    """An agent whose `train` is Stable-Baselines3's; subclasses make `self.algorithm`."""

    algorithm: Any

    def set_algorithm(self, algorithm: Any) -> None:
        """Take the algorithm, with a logger that writes nothing."""
        from stable_baselines3.common.logger import Logger

        self.algorithm = algorithm
        algorithm.set_logger(Logger(None, []))

    def policy(self, explore: bool, model: WorldModel) -> Policy:
        """Return draws of the network if `explore`, else its mode."""
        return Sb3Policy(self.algorithm.policy, explore)

    @abstractmethod
    def train(self) -> None:
        """Call the algorithm's own `train`."""

    def train_and_log(self) -> Terms:
        """Train and return what the algorithm logged."""
        logged = self.algorithm.logger.name_to_value
        logged.clear()
        self.train()
        found = {name: logged[f"train/{name}"] for name in LOGGED if f"train/{name}" in logged}
        return {name: torch.tensor(float(value)) for name, value in found.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return networks and optimisers, as the package names them."""
        _, variables = self.algorithm._get_torch_save_params()
        state = dict(self.algorithm.get_parameters())
        return state | {name: getattr(self.algorithm, name).detach() for name in variables}

    def weights(self) -> dict[str, Any]:
        """Return the networks alone: rollouts and transitions are for learning."""
        return {"policy": self.algorithm.policy.state_dict()}

    def load_weights(self, state: dict[str, Any], source: Path) -> None:
        """Restore the networks alone. Raises UserError for another architecture."""
        load_weights(self.algorithm.policy, state["policy"], source)

    def load_state_dict(self, state: dict[str, Any], source: Path) -> None:
        """Restore a saved state. Raises UserError, naming `source`, for another architecture."""
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

    def __init__(self, network: Any, explore: bool) -> None:
        self.network, self.explore = network, explore

    @torch.no_grad()
    def act(self, state: State, first: Tensor) -> Tensor:
        """Return actions (N, A), clipped to the box."""
        with torch.autocast(state.latent.device.type, enabled=False):
            features = state.features.float()
            action = self.network._predict(features, deterministic=not self.explore)
        return self.as_row(action)

    def as_row(self, action: Tensor) -> Tensor:
        """Return the network's output, (N, A) or choices (N,), as the environments take it."""
        space = self.network.action_space
        if isinstance(space, gym.spaces.Discrete):
            return F.one_hot(action.long(), int(space.n)).float()
        return action.clamp(-1, 1)
