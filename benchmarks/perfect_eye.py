"""What a perfect eye would be worth: the agent reads what others have to see.

    python -m benchmarks.perfect_eye env=walker-walk [key=value...] [--sees state|positions]

Everything of `agents.train` is as it is there (dynamics, heads, actor-critic, planner, updates),
but a frame is the simulator's state vector, or the part of it that a single picture could tell
(positions: no velocities), and the latent is that vector, standardised by the first rows. What
returns an agent of pictures lacks beside this one, its eye has not told it.

One row an evaluation goes to the CSV; a run whose rows are there is not made again. Nothing else is
kept: one that was stopped must begin anew.
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

import envs
from aef_worldmodel.config import WorldModelConfig
from aef_worldmodel.dynamics import Dynamics
from aef_worldmodel.eye import Code
from aef_worldmodel.world_model import WorldModel
from agents import config as settings
from agents import entry
from agents.evaluation import Episodes
from agents.hardware import describe
from agents.imagination import ImaginationConfig
from agents.learner import Learner
from agents.logbook import Logbook
from agents.planner import PlannerConfig
from agents.progress import Progress
from agents.provenance import commit, machine
from agents.results import Results
from agents.roster import make_learner
from agents.schema import ConfigError
from agents.trainer import Trainer
from agents.worlds import Wrapped, restarting

KEY = ("task", "sees", "settings", "seed", "frames")
LEAST, FARTHEST = 0.1, 10.0  # of deviations a number is divided by; and where a latent ends


class PerfectEye(nn.Module):
    """z = (x - mean) / std, of state vectors (N, P): exact, with nothing left to explain, but for
    numbers beyond `FARTHEST`, which end there."""

    likelihood = "exact"

    def __init__(self, size: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))

    @property
    def sigma(self) -> Tensor:
        """There is no decoder: 1."""
        return torch.ones_like(self.mean)

    def set_mean(self, frames: Tensor) -> None:
        """Takes mean and deviation of vectors (N, P)."""
        self.mean.copy_(frames.mean(0))
        self.std.copy_(frames.std(0).clamp(min=LEAST))

    def encode(self, frames: Tensor, *, dequantise: bool = False) -> Code:
        """(N, P) -> Code; reals need no dequantisation."""
        latent = ((frames - self.mean) / self.std).clamp(-FARTHEST, FARTHEST)
        return Code(latent, -self.std.log().sum().expand(len(frames)), latent)

    def pixels(self, code: Code, index: Tensor | None = None) -> Tensor:
        """Nothing is left of the vector given z: 0 nats (N,)."""
        return torch.zeros_like(code.volume if index is None else code.volume[index])


class StateModel(WorldModel):
    """The world model behind a perfect eye; d is P."""

    def __init__(self, config: WorldModelConfig, frame_shape: tuple[int], action_dim: int):
        Dynamics.__init__(self, config, action_dim)
        self.eye = PerfectEye(*frame_shape)


class StateLearner(Learner):
    """A learner of state vectors."""

    world_model = StateModel


class Told(Wrapped):
    """Worlds that are told instead of drawn.

    Args:
        worlds: with obs="proprio".
        sees: "state" for all of it, "positions" for what is no velocity.
    """

    def __init__(self, worlds: envs.BatchedEnv, sees: str):
        super().__init__(worlds)
        names = worlds.proprio_names
        self.kept = [i for i, n in enumerate(names) if sees == "state" or "veloc" not in n]
        space = worlds.single_observation_space
        self.single_observation_space = type(space)(
            space.low[self.kept], space.high[self.kept], dtype=space.dtype
        )

    def reset(self, **options):
        """As the worlds' own."""
        obs, info = self.worlds.reset(**options)
        return obs[:, self.kept], info

    def step(self, action: Tensor):
        """As the worlds' own."""
        obs, reward, terminated, truncated, info = self.worlds.step(action)
        if "final_obs" in info:
            info = info | {"final_obs": info["final_obs"][:, self.kept]}
        return obs[:, self.kept], reward, terminated, truncated, info


class StateTrainer(Trainer):
    """A run whose frames are state vectors; `sees` says of what, as in `Told`."""

    def __init__(self, config: settings.TrainConfig, run: Path, sees: str):
        self.sees = sees
        super().__init__(config, run)

    def make_worlds(self, count: int, seed: int, training: bool):
        """Ours, with obs="proprio"."""
        env, hardware = self.config.env, self.config.hardware
        made = envs.make(env.task, count, device=hardware.device, seed=seed, obs="proprio",
                         action_repeat=env.action_repeat)  # fmt: skip
        told = Told(made, self.sees)
        return restarting(told, env) if training else told

    def make_learner(self, shape: tuple[int, ...], actions: int) -> StateLearner:
        """Takes the length of the vector as that of the latent."""
        world_model = dataclasses.replace(self.config.world_model, latent_dim=shape[0])
        config = dataclasses.replace(self.config, world_model=world_model)
        return make_learner(config, shape, actions, kind=StateLearner)

    def show(self, episodes: Episodes, book: Logbook) -> dict[str, float]:
        """There is nothing to look at."""
        return {}


class Returns(Logbook):
    """A logbook that also hands on every evaluation."""

    def __init__(self, run: Path, progress: Progress, evaluated):
        super().__init__(run, progress)
        self.evaluated = evaluated

    def write(self, row: dict[str, float]) -> None:
        """Records the row."""
        super().write(row)
        if "eval/return" in row:
            self.evaluated(row | {"minutes": self.progress.elapsed / 60})


def refuse(config: settings.TrainConfig) -> None:
    """Raises ConfigError for settings under which there is no state vector to read, or no
    actor-critic to read it."""
    if not isinstance(config.agent, ImaginationConfig | PlannerConfig):
        raise ConfigError("only agent=imagination and agent=mpc can be given a perfect eye")
    if config.env.task not in envs.tasks() or config.env.backend:
        raise ConfigError(f"env.task={config.env.task} has no state vector here: give one of "
                          f"{', '.join(envs.tasks())}, without env.backend")  # fmt: skip
    if config.run or config.resume or config.data or config.eye:
        raise ConfigError("run, resume, data and eye mean nothing here: no run is kept, none read")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="settings, as agents.train takes them")
    parser.add_argument("--sees", choices=("state", "positions"), default="state")
    parser.add_argument("--out", type=Path, default=Path("results/perfect_eye.csv"))
    asked = parser.parse_args(argv)
    config = settings.load(asked.words)
    refuse(config)
    torch.set_num_threads(config.hardware.threads)
    words = [w for w in asked.words if w.split("=")[0] not in ("env", "seed", "frames")]
    results = Results(asked.out, KEY)
    about = {"task": config.env.task, "sees": asked.sees, "settings": " ".join(words),
             "seed": config.seed}  # fmt: skip
    source = {"commit": commit(), "hardware": machine(config.hardware), "command": " ".join(
        ["python -m benchmarks.perfect_eye", *asked.words, "--sees", asked.sees])}  # fmt: skip

    def evaluated(row: dict[str, float]) -> None:
        kept = {"frames": row["frames"], "updates": row["updates"], "minutes": row["minutes"],
                "return": row["eval/return"], "std": row["eval/std"]}  # fmt: skip
        results.add(about | kept | source)

    if any(all(row[name] == str(about[name]) for name in about) for row in results.rows):
        print(f"{asked.out} has these rows already: give another --out to make them again")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        trainer = StateTrainer(config, Path(folder), asked.sees)
        progress = Progress(f"{config.env.task}, {asked.sees} told", config.frames)
        progress.say(describe(config.hardware))
        with Returns(Path(folder), progress, evaluated) as book:
            trainer.train(book)
    return 0


if __name__ == "__main__":
    entry.run(main)
