"""`python -m agents.probe run=RUN_DIR`: what different eyes see, everything else being equal.

Trains the world model alone, from scratch, on what a run has recorded: once for every model and
seed, with the same networks, batches and updates. Then it measures each on fresh episodes of the
run's agent and of random actions (see agents/sight.py). One row a model and seed goes to a CSV;
rows that are there already are not made again.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from agents import config as settings
from agents import entry, sight
from agents.evaluate import load_learner
from agents.evaluation import run_episodes
from agents.hardware import HardwareConfig, describe, resolve
from agents.learner import Learner
from agents.progress import duration
from agents.provenance import command, commit, machine
from agents.recording import Recording
from agents.results import Results, table
from agents.roster import make_policy
from agents.schema import ConfigError, hint
from agents.words import option
from agents.worlds import has_choices, make_worlds

MODELS = {  # world_model=..., and what differs from that file
    "aef": ("aef", {}),
    "aef-center": ("aef", {"core": "center"}),
    "aef-corner": ("aef", {"core": "corner"}),
    "aef-pyramid": ("aef", {"decoder": "pyramid"}),
    "expanded": ("expanded", {}),
    "vae": ("vae", {}),
}
KEY = ("task", "data", "model", "seed", "updates")  # what makes a row the same measurement


@dataclass(frozen=True)
class ProbeConfig:
    """Everything `python -m agents.probe` can be told."""

    run: str | None = None
    """Folder of the run whose replay is the data and whose agent plays the held-out episodes."""
    models: tuple[str, ...] = ("aef", "vae")
    """Which eyes: aef (DCT core), aef-center, aef-corner, aef-pyramid (its decoder),
    expanded, vae."""
    seeds: int = 3
    """How many times each is trained, with seeds 0, 1, ..."""
    updates: int = 2_000
    """Updates of each world model."""
    episodes: int = 8
    """Held-out episodes of the agent, and as many of random actions; probes are fitted on half."""
    out: str | None = None
    """The CSV, for instance results/eye_cheetah-run.csv; null for RUN/eye.csv."""
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    """The machine."""

    def __post_init__(self) -> None:
        """Raise ConfigError for what cannot be probed."""
        for name, least in (("seeds", 1), ("updates", 1), ("episodes", 2)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name}={getattr(self, name)} must be at least {least}")
        for name in self.models:
            if name not in MODELS:
                raise ConfigError(f"unknown model {name} in models: {hint(name, MODELS)}")


def held_out(learner: Learner, config: settings.TrainConfig, asked: ProbeConfig):
    """Fresh episodes to fit probes on and to judge them on, and the names of what was true."""
    env = make_worlds(config.env, asked.episodes, config.hardware)
    torch.manual_seed(0)
    policy = make_policy(learner.config.agent, learner, False, has_choices(env))
    played = run_episodes(learner, policy, env, seed=3_000_000, filmed=asked.episodes)
    chance = sight.random_episodes(env, seed=4_000_000)
    names = env.proprio_names
    env.close()
    played = (played.frames, played.actions, played.proprio)
    both = [torch.cat(pair) for pair in zip(played, chance)]  # (2 E, T, ...)
    return sight.Seen(*(x[0::2] for x in both)), sight.Seen(*(x[1::2] for x in both)), names


def train(config: settings.TrainConfig, data: Recording, updates: int, seed: int,
          tick: Callable[[Learner], None]) -> Learner:
    """A world model trained alone on recorded rows. `tick` is given it after every update."""
    torch.manual_seed(seed)
    learner = Learner(config, data.frame_shape, data.action_dim)
    generator = torch.Generator().manual_seed(seed)
    learner.centre(data.sample(512, 1, generator)["frame"][:, 0].to(learner.device))
    data.reset(config.world_model.recurrent_dim)
    for _ in range(updates):
        batch = data.sample(config.batch, config.length, generator)
        index = batch.pop("index")
        batch = {name: value.to(learner.device) for name, value in batch.items()}
        recurrent, _ = learner.update(batch, act=False)
        data.write(index, recurrent.cpu())
        tick(learner)
    return learner


class Pace:
    """Says every ten seconds how far the updates of all rows are, and how long they will take."""

    def __init__(self, total: int):
        self.total, self.done = total, 0
        self.begun = self.said = time.monotonic()

    def tick(self, name: str) -> None:
        """Counts an update of the row `name`."""
        self.done += 1
        now = time.monotonic()
        if now - self.said >= 10:
            left = (self.total - self.done) * (now - self.begun) / self.done
            print(f"{name}: {self.done:,} of {self.total:,} updates of all rows, "
                  f"left {duration(left)}", flush=True)  # fmt: skip
            self.said = now


def main(argv: Sequence[str]) -> int:
    """Trains what is missing, measures it, writes the rows and prints the table."""
    asked = settings.load(argv, ProbeConfig, "probe")
    if asked.run is None:
        raise ConfigError("run is not set: give run=RUN_DIR, the folder of a run")
    hardware, run = resolve(asked.hardware), Path(asked.run)
    torch.set_num_threads(hardware.threads)
    agent, config = load_learner(run, hardware)
    data, results = Recording(run), Results(asked.out or run / "eye.csv", KEY)
    keys = [
        dict(zip(KEY, (config.env.task, run.name, name, seed, asked.updates)))
        for seed in range(asked.seeds) for name in asked.models
    ]  # fmt: skip
    missing = [key for key in keys if results.find(key) is None]
    print(f"{describe(hardware)}; {len(data):,} recorded rows; {len(missing)} of {len(keys)} to do")
    if missing:
        source = {"commit": commit(), "hardware": machine(hardware),
                  "command": command("agents.probe", argv)}  # fmt: skip
        episodes, pace = held_out(agent, config, asked), Pace(len(missing) * asked.updates)
        for key in missing:
            results.add(key | examine(key, config, data, episodes, pace) | source)
    rows = [results.find(key) for key in keys]
    print(table(rows, "model", sight.MEASURES))
    print(f"mean +- standard deviation over {asked.seeds} seeds; written to {results.path}")
    return 0


def examine(key: dict, config: settings.TrainConfig, data: Recording, episodes: tuple,
            pace: Pace) -> dict:
    """Trains and measures the model of one row."""
    file, changes = MODELS[key["model"]]
    chosen = option("world_model", file) | changes | {"training": "joint"}
    world = dataclasses.replace(config.world_model, **chosen)
    config = dataclasses.replace(config, world_model=world)
    label, begun = f"{key['model']} seed {key['seed']}", time.monotonic()
    learner = train(config, data, key["updates"], key["seed"], lambda _: pace.tick(label))
    minutes = (time.monotonic() - begun) / 60
    scores = sight.measure(learner, *episodes, key["seed"])
    print(f"{label}: {scores['bits_per_dim']:.3f} bits/dim ({scores['likelihood']}), body "
          f"{scores['body_15']:.1f} dB 15 decisions ahead", flush=True)  # fmt: skip
    return {"rows": len(data), "sigma_floor": world.sigma_floor,
            "pixel_weight": world.pixel_weight, "minutes": minutes} | scores  # fmt: skip


if __name__ == "__main__":
    entry.run(main)
