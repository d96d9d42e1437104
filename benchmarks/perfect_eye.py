"""The worth of a perfect autoencoder: `python -m benchmarks.perfect_eye env=walker-walk`.

Dynamics, heads, actor-critic, planner and updates are those of `agents.train`, and so are the
settings. But a frame is the simulator's state vector, or under sees=positions the part that a
single image can show, without velocities; its shape is (1, 1, P). The latent is that vector,
standardised by the first rows. An agent that learns from images has lower returns as far as its
autoencoder falls short.

Each evaluation is one row of the CSV, written at the end of the run; a run whose rows are there is
not made again. Nothing else is kept.
"""

import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

import envs
from aef_worldmodel.autoencoders.base import Code
from aef_worldmodel.autoencoders.networks import Shape
from aef_worldmodel.utils.command import run_command
from aef_worldmodel.utils.config.schema import ConfigError
from aef_worldmodel.utils.tables import Table, read_metrics
from aef_worldmodel.world_models.config import RecurrentConfig
from aef_worldmodel.world_models.dynamics import Dynamics
from aef_worldmodel.world_models.recurrent import RecurrentWorldModel
from agents.algorithms.imagination import ActorCriticConfig
from agents.config import train as settings
from agents.config.hardware import HardwareConfig, describe
from agents.config.train import EnvConfig, TrainConfig
from agents.learning import build
from agents.learning.learner import Learner
from agents.playing import env_factory
from agents.playing.env_factory import VectorWrapper
from agents.playing.evaluation import Episodes
from agents.training import evaluations, trainer
from agents.training.logging.run_logger import RunLogger
from agents.training.provenance import provenance

RUN = ("task", "sees", "settings", "seed")  # identifies a run
LEAST, FARTHEST = 0.1, 10.0  # smallest deviation that divides a number; largest number of a latent
Sees = Literal["state", "positions"]


@dataclass(frozen=True)
class PerfectEyeConfig(TrainConfig):
    """Settings of `python -m benchmarks.perfect_eye`: those of training, and two more."""

    sees: Sees = "state"
    """state for the whole vector, positions for the part without velocities."""
    out: str = "results/perfect_eye.csv"
    """The CSV."""

    def check(self) -> None:
        """Raise ConfigError for settings that a run on state vectors cannot have."""
        if not isinstance(self.agent, ActorCriticConfig):
            raise ConfigError("agent must be imagination or mpc: other agents have no actor-critic")
        if not isinstance(self.world_model, RecurrentConfig):
            raise ConfigError("world_model must be the recurrent one: leave world_model.kind out")
        if self.env.task not in envs.tasks():
            raise ConfigError(
                f"env={self.env.task} has no state vector here: give one of "
                f"{', '.join(envs.tasks())}"
            )
        if self.run or self.resume or self.data or self.init_autoencoder_from:
            raise ConfigError(
                "run, resume, data and init_autoencoder_from have no use here, where no run is "
                "kept and none is read: leave them out"
            )


# -- the world model -----------------------------------------------------------------------


class Standardisation(nn.Module):
    """An autoencoder of state vectors (N, 1, 1, P): z = (x - mean) / std, (N, P).

    It is exact, and the decoder has nothing to explain. Only numbers beyond `FARTHEST` are cut.
    """

    likelihood = "exact"
    mean: Tensor  # (P,)
    std: Tensor  # (P,)

    def __init__(self, size: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))

    @property
    def sigma(self) -> Tensor:
        """Ones (P,): nothing is decoded."""
        return torch.ones_like(self.mean)

    def set_mean(self, frames: Tensor) -> None:
        """Take mean and deviation of vectors (N, 1, 1, P)."""
        self.mean.copy_(frames.flatten(1).mean(0))
        self.std.copy_(frames.flatten(1).std(0).clamp(min=LEAST))

    def preprocess(self, frames: Tensor, dequantise: bool) -> Tensor:
        """Return the vectors (N, 1, 1, P): real numbers need no dequantisation."""
        return frames

    def encode_y(self, y: Tensor, *, sample: bool = True) -> Code:
        """Return the code of vectors (N, 1, 1, P)."""
        latent = ((y.flatten(1) - self.mean) / self.std).clamp(-FARTHEST, FARTHEST)
        return Code(latent, -self.std.log().sum().expand(len(y)), latent)

    def encode(self, frames: Tensor, *, dequantise: bool = False) -> Code:
        """Return the code of vectors (N, 1, 1, P)."""
        return self.encode_y(frames)

    def reconstruction_log_prob(self, code: Code, index: Tensor | None = None) -> Tensor:
        """Return 0 nats (N,): the latent is the whole vector."""
        return torch.zeros_like(code.log_det if index is None else code.log_det[index])


class StateModel(RecurrentWorldModel):
    """The recurrent world model of state vectors: `frame_shape` is (1, 1, P), and d is P."""

    def __init__(self, config: RecurrentConfig, frame_shape: Shape, action_dim: int):
        size = frame_shape[-1]
        Dynamics.__init__(
            self, dataclasses.replace(config, latent_dim=size), frame_shape, action_dim
        )
        self.autoencoder = Standardisation(size)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters of dynamics and heads; the autoencoder has none."""
        groups = super().parameter_groups()
        return {name: group for name, group in groups.items() if group}


# -- the run -------------------------------------------------------------------------------


class StateEnvs(VectorWrapper):
    """Environments that are observed as state vectors (N, 1, 1, P), or the positions in these.

    Args:
        env: environments with obs="proprio".
        sees: "state" or "positions".
    """

    def __init__(self, env: envs.BatchedEnv, sees: Sees):
        super().__init__(env)
        names = env.proprio_names
        self.kept = [i for i, name in enumerate(names) if sees == "state" or "veloc" not in name]
        shape = (1, 1, len(self.kept))
        self.single_observation_space = gym.spaces.Box(-np.inf, np.inf, shape, np.float32)

    def reset(self, **options: Any) -> tuple:
        """Start new episodes."""
        obs, info = self.env.reset(**options)
        return self.frames(obs), info

    def step(self, action: Tensor) -> tuple:
        """Step the environments."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        if "final_obs" in info:
            info = info | {"final_obs": self.frames(info["final_obs"])}
        return self.frames(obs), reward, terminated, truncated, info

    def frames(self, obs: Tensor) -> Tensor:
        """Return the frames of whole state vectors (N, P)."""
        return obs[:, None, None, self.kept]


class StateTrainer(trainer.Trainer):
    """A run whose frames are state vectors; make and train it within `state_vectors`."""

    def make_learner(self, shape: Shape, actions: int) -> Learner:
        """Make what learns from state vectors."""
        model = StateModel(self.config.world_model, shape, actions)
        model = model.to(self.config.hardware.device)
        return build.make_learner(self.config, shape, actions, self.discrete, model)

    def show(self, episodes: Episodes, logger: RunLogger) -> dict[str, float]:
        """Return nothing: a state vector is not an image."""
        return {}


@contextmanager
def state_vectors(sees: Sees) -> Iterator[None]:
    """Let training make environments that are observed as state vectors."""

    def make_envs(env: EnvConfig, count: int, hardware: HardwareConfig, seed: int = 0) -> StateEnvs:
        options = {"device": hardware.device, "obs": "proprio", "action_repeat": env.action_repeat}
        return StateEnvs(envs.make(env.task, count, seed=seed, **options), sees)

    with ExitStack() as stack:
        for module in (env_factory, evaluations):
            stack.enter_context(mock.patch.object(module, "make_envs", make_envs))
        nothing = lambda trainer, episodes, logger: {}  # noqa: E731 - there is nothing to see
        stack.enter_context(mock.patch.object(evaluations, "show", nothing))
        yield


def train(config: PerfectEyeConfig) -> list[dict[str, float]]:
    """Train in a temporary folder; return the metrics of every evaluation."""
    title = f"{config.env.task} from {config.sees}"
    with tempfile.TemporaryDirectory() as folder, state_vectors(config.sees):
        run = StateTrainer(config, Path(folder))
        with RunLogger(folder, title, config.frames, writers=("csv", "terminal")) as logger:
            logger.print(describe(config.hardware))
            run.train(logger)
        return [row for row in read_metrics(f"{folder}/metrics.csv") if "eval/return" in row]


def main(argv: Sequence[str]) -> int:
    """Train, unless that is done, and write the rows."""
    config = settings.load(argv, PerfectEyeConfig, "benchmarks.perfect_eye")
    config.check()
    torch.set_num_threads(config.hardware.threads or 1)
    apart = ("env", "seed", "frames", "sees", "out")  # not among the settings of a row
    words = " ".join(word for word in argv if word.partition("=")[0] not in apart)
    run = dict(zip(RUN, (config.env.task, config.sees, words, str(config.seed))))
    table = Table(config.out, (*RUN, "frames"))
    if any(run.items() <= row.items() for row in table.rows):
        print(f"{config.out} has the rows of this run: give another file with out= to make them")
        return 0
    source = provenance("benchmarks.perfect_eye", argv, config.hardware)
    for row in train(config):
        kept = {name: row[name] for name in ("frames", "updates", "minutes")}
        kept |= {"return": row["eval/return"], "std": row["eval/std"]}
        table.add(run | kept | source)
    return 0


if __name__ == "__main__":
    run_command(main)
