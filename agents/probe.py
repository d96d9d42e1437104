"""`python -m agents.probe run=RUN_DIR`: what different world models see, all else being equal.

Trains the world model alone, from scratch, on what a run has recorded: once for every model and
seed, with the same networks, batches and updates. Then it measures each on fresh episodes of the
run's agent and of random actions (agents/playing/probing.py). One row for a model and seed goes to
a CSV; rows that are in the CSV already are not made again.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from aef_worldmodel.data.batch import Batch
from aef_worldmodel.utils.command import run_command
from aef_worldmodel.utils.config.schema import ConfigError, check_bounds
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.progress import Progress
from aef_worldmodel.utils.tables import Table, compare
from aef_worldmodel.world_models.base import WORLD_MODELS, WorldModelConfig
from agents.algorithms.fixed import CorrelatedNoise, RandomConfig
from agents.config import train as settings
from agents.config.hardware import HardwareConfig, describe
from agents.config.train import TrainConfig, world_model_values
from agents.learning.build import make_learner
from agents.learning.learner import Learner
from agents.playing import probing
from agents.playing.env_factory import make_envs
from agents.playing.evaluation import CONTEXT, run_episodes
from agents.playing.probing import EpisodeBatch
from agents.playing.reference import fingerprint_of, redrawn
from agents.training.provenance import command, commit, machine
from agents.training.recording import Recording
from agents.training.runs import LoadedRun, load_run
from agents.training.seeds import PROBE_AGENT, PROBE_RANDOM

SHARED = ("networks", "width")  # sizes that different kinds have in common
KEY = ("task", "data", "model", "seed", "updates")  # what makes a row the same measurement


@dataclass(frozen=True)
class ProbeConfig:
    """Settings of `python -m agents.probe`."""

    run: str | None = None
    """Folder of the run whose replay is the data and whose agent plays the held-out episodes."""
    models: tuple[str, ...] = ("aef", "vae")
    """World models to compare, by the names that `world_model=` takes."""
    seeds: int = 3
    """How many times each is trained, with seeds 0, 1, ..."""
    updates: int = 2_000
    """Updates of each world model."""
    episodes: int = 8
    """Held-out episodes of the agent, and as many of random actions; probes are fitted on half."""
    out: str | None = None
    """The CSV, for instance results/eye_cheetah-run.csv; null for RUN/probe.csv."""
    trust: bool = False
    """Execute the code that the run's saved settings name: a module that registers its environment
    and is not an installed package."""
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    """The machine."""

    def __post_init__(self) -> None:
        """Raise ValueError for what cannot be probed."""
        check_bounds(self, seeds=(1, 1_000), updates=(1, None), episodes=(2, 1_000))
        for name in self.models:
            world_model_values(name)


def model_config(name: str, usual: WorldModelConfig) -> WorldModelConfig:
    """Return the settings of `world_model=name` with the sizes of `usual`, as far as they fit.

    A world model of the same kind has all other settings of `usual`, too, but for the autoencoder
    and its pixel weight. Raises ConfigError for an unknown name.
    """
    values = world_model_values(name)
    kind = WORLD_MODELS[values.get("kind", "recurrent")].Config
    if type(usual) is kind:
        kept = vars(usual)
        reset = {field.name: field.default for field in dataclasses.fields(kind)}
        kept = kept | {key: reset[key] for key in ("autoencoder", "pixel_weight") if key in reset}
    else:
        names = {field.name for field in dataclasses.fields(kind)}
        kept = {key: value for key, value in vars(usual).items() if key in names & set(SHARED)}
    return kind(**(kept | values))


def held_out(loaded: LoadedRun, asked: ProbeConfig) -> tuple[EpisodeBatch, EpisodeBatch, list[str]]:
    """Return fresh episodes to fit probes on and to judge them on, and the names of the truth."""
    learner = loaded.learner
    if not learner.sees_images:
        raise UserError(f"run={asked.run} sees states: probes are of models that see images")
    env = make_envs(loaded.config.env, asked.episodes, asked.hardware)
    for sentence in redrawn(loaded.images, fingerprint_of(env), asked.run):
        print(sentence)
    torch.manual_seed(0)
    policy = learner.agent.policy(False, learner.model)
    played = run_episodes(learner, policy, env, PROBE_AGENT.of(), filmed=asked.episodes)
    noise = CorrelatedNoise(learner.model.action_dim, loaded.discrete)
    chance = run_episodes(None, noise, env, PROBE_RANDOM.of(), filmed=asked.episodes)
    names = env.proprio_names
    env.close()
    if not (played.alive.all() and chance.alive.all()) or played.frames.shape[1] <= 2 * CONTEXT:
        raise UserError(
            f"episodes of {loaded.config.env.task} end early or within {2 * CONTEXT} decisions: "
            "probes need episodes of one length; give a run of another task"
        )
    parts = ("frames", "actions", "proprio", "rewards")
    both = [torch.cat([getattr(e, name) for e in (played, chance)]) for name in parts]
    return EpisodeBatch(*(x[0::2] for x in both)), EpisodeBatch(*(x[1::2] for x in both)), names


def train(
    config: TrainConfig,
    data: Recording,
    updates: int,
    seed: int,
    tick: Callable[[Learner], None],
) -> Learner:
    """Train a world model alone on recorded rows; `tick` is given the learner at every update."""
    torch.manual_seed(seed)
    config = dataclasses.replace(config, agent=RandomConfig())
    learner = make_learner(config, data.frame_shape, data.action_dim)
    generator = torch.Generator().manual_seed(seed)
    learner.set_mean(data.sample(512, 1, generator)["frame"][:, 0].to(learner.device))
    data.reset(learner.model.state_dims[0])
    replay = config.replay
    for _ in range(updates):
        rows = data.sample(replay.batch_size, replay.sequence_length, generator)
        batch = Batch.from_rows(rows).to(learner.device)
        recurrent, _ = learner.update(batch, act=False)
        data.write(rows["index"], recurrent.cpu())
        tick(learner)
    return learner


def main(argv: Sequence[str]) -> int:
    """Train what is missing, measure it, write the rows and print the table."""
    asked = settings.load(argv, ProbeConfig, "probe")
    if asked.run is None:
        raise ConfigError("run is not set: give run=RUN_DIR, the folder of a run")
    hardware, run = asked.hardware, Path(asked.run)
    torch.set_num_threads(hardware.threads or 1)
    loaded = load_run(run, hardware, asked.trust)
    data, results = Recording(run), Table(asked.out or run / "probe.csv", KEY)
    task = loaded.config.env.task
    keys: list[dict[str, object]] = [
        dict(zip(KEY, (task, run.name, name, seed, asked.updates), strict=True))
        for seed in range(asked.seeds)
        for name in asked.models
    ]
    missing = [key for key in keys if results.find(key) is None]
    print(f"{describe(hardware)}; {len(data):,} recorded rows; {len(missing)} of {len(keys)} to do")
    if missing:
        source = {
            "commit": commit(),
            "hardware": machine(hardware),
            "command": command("agents.probe", argv),
        }
        episodes = held_out(loaded, asked)
        total = len(missing) * asked.updates
        with Progress(f"{task}: world models of {run}", total, "updates") as progress:
            for done, key in enumerate(missing):
                row = examine(key, loaded.config, data, episodes, progress, done * asked.updates)
                results.add(key | row | source)
    rows = [row for row in map(results.find, keys) if row is not None]
    print(compare(rows, "model", probing.MEASURES))
    print(f"mean +- standard deviation over {asked.seeds} seeds; written to {results.path}")
    return 0


def examine(
    key: dict[str, Any],
    config: TrainConfig,
    data: Recording,
    episodes: tuple[EpisodeBatch, EpisodeBatch, list[str]],
    progress: Progress,
    done: int,
) -> dict[str, Any]:
    """Train and measure the model of one row; `done` updates of other rows came before."""
    world = model_config(key["model"], config.world_model)
    config = dataclasses.replace(
        config,
        world_model=world,
        objective=type(config.objective)(),
        init_autoencoder_from=None,
        encoder=None,
    )
    label, begun, count = f"{key['model']} seed {key['seed']}", time.monotonic(), done

    def tick(learner: Learner) -> None:
        nonlocal count
        count += 1
        progress.update(count, model={"name": label})

    learner = train(config, data, key["updates"], key["seed"], tick)
    minutes = (time.monotonic() - begun) / 60
    scores = probing.measure(learner, *episodes, key["seed"])
    bits = f"{scores['bits_per_dim']:.3f} bits/dim" if "bits_per_dim" in scores else "no likelihood"
    progress.print(
        f"{label}: {bits} ({scores.get('likelihood', 'none')}), foreground "
        f"{scores['foreground_psnr_0']:.1f} dB reconstructed"
    )
    chosen = {name: getattr(world, name, "") for name in ("sigma_floor", "pixel_weight")}
    return {"rows": len(data), **chosen, "minutes": minutes} | scores


if __name__ == "__main__":
    run_command(main)
