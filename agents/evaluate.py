"""`python -m agents.evaluate run=RUN_DIR`: plays a trained agent; returns, film, dream strip."""

import csv
import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from aef_worldmodel.errors import UserError, writing
from aef_worldmodel.persistence import load_latest
from aef_worldmodel.video import write_mp4, write_png
from agents import config as settings
from agents import entry
from agents.evaluation import report_dream, run_episodes, score
from agents.hardware import HardwareConfig, describe, resolve
from agents.learner import Learner
from agents.provenance import command, commit, machine
from agents.results import Results
from agents.roster import load_weights_of, make_learner, make_policy
from agents.schema import ConfigError, to_dict
from agents.words import agent_name
from agents.worlds import has_choices, make_worlds

KEY = ("task", "run", "frames", "agent", "settings", "episodes", "seed")  # of a row of a table


@dataclass(frozen=True)
class EvaluateConfig:
    """Everything `python -m agents.evaluate` can be told."""

    run: str | None = None
    """Folder of the run whose last checkpoint plays."""
    agent: settings.AgentConfig | None = None
    """What plays: null for the run's own agent; mpc, random and scripted can play any run."""
    episodes: int = 10
    """Episodes, run as one batch."""
    seed: int = 2_000_000
    """Seed of the worlds; training and its evaluations use others."""
    out: str | None = None
    """Folder for returns.csv, film and strip; null for RUN/evaluation, or RUN/evaluation-AGENT."""
    table: str | None = None
    """A CSV that gets one row with the mean return and where it comes from; null for none."""
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    """The machine to play on."""

    def __post_init__(self) -> None:
        """Raise ConfigError for a number that makes no sense."""
        for name, least in (("episodes", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name}={getattr(self, name)} must be at least {least}")


def load_learner(run: Path, hardware: HardwareConfig) -> tuple[Learner, settings.TrainConfig]:
    """The learner of a run at its last checkpoint, on this machine. Raises as `load_run`."""
    return load_run(run, hardware)[:2]


def load_run(
    run: Path, hardware: HardwareConfig
) -> tuple[Learner, settings.TrainConfig, int]:
    """The learner of a run at its last checkpoint, its settings, and the frames it has seen.

    Raises UserError if `run` is not a run's folder or its checkpoints cannot be read.
    """
    if not (run / "config.yaml").is_file():
        raise UserError(f"run={run} is not the folder of a run: it has no config.yaml")
    config = settings.read(run / "config.yaml")
    config = dataclasses.replace(config, hardware=hardware)
    found = load_latest(run / "checkpoints")
    for sentence in found.skipped:
        print(sentence)
    size, model = config.env.image_size, found.state["learner"]["model"]
    actions = model["cell.input.0.weight"].shape[1] - config.world_model.latent_dim
    discrete = found.meta.get("discrete", False)
    learner = make_learner(config, (3, size, size), actions, discrete)
    load_weights_of(learner, found)
    return learner, config, found.step


def main(argv: Sequence[str]) -> int:
    """Plays, prints the returns and writes what was seen."""
    asked = settings.load(argv, EvaluateConfig, "evaluate")
    if asked.run is None:
        raise ConfigError("run is not set: give run=RUN_DIR, the folder of a trained run")
    hardware = resolve(asked.hardware)
    torch.set_num_threads(hardware.threads)
    torch.manual_seed(asked.seed)
    learner, config, frames = load_run(Path(asked.run), hardware)
    env = make_worlds(config.env, asked.episodes, hardware, asked.seed)
    if env.single_action_space.shape != (learner.model.action_dim,):
        raise UserError(
            f"{asked.run} learnt with {learner.model.action_dim} actions, but env.task="
            f"{config.env.task} of its config.yaml has {env.single_action_space.shape[0]}: put "
            "the task there that it was trained on"
        )
    policy = make_policy(asked.agent or config.agent, learner, False, has_choices(env))
    own = f"evaluation-{agent_name(type(asked.agent))}" if asked.agent else "evaluation"
    out = Path(asked.out or Path(asked.run) / own)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    table = Results(asked.table, KEY) if asked.table else None
    print(describe(hardware))
    begin = time.monotonic()
    episodes = run_episodes(learner, policy, env, asked.seed)
    seconds = time.monotonic() - begin
    report = report_dream(learner, episodes)
    names = ["returns.csv"]
    if report:
        write_mp4(out / "dream.mp4", report.film)
        write_png(out / "dream.png", report.strip)
        names += ["dream.mp4", "dream.png"]
    write_returns(out / "returns.csv", episodes.returns.tolist(), asked.seed)
    mean, std = score(episodes.returns)
    print(f"{config.env.task}: return {mean:.1f} +- {std:.1f} over {asked.episodes} episodes")
    for name, value in report.scores.items() if report else ():
        print(f"  {name} {value:.1f} dB")
    print(f"written to {out}: {', '.join(names)}")
    if table:
        pace = asked.episodes * env.episode_decisions / seconds
        results = {"return": mean, "std": std, "decisions_per_s": pace}
        add_row(table, asked, config, frames, argv, results)
    return 0


def write_returns(path: Path, returns: list[float], seed: int) -> None:
    """One row an episode."""
    with writing(path), open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["episode", "seed", "return"])
        for i, value in enumerate(returns):
            writer.writerow([i, seed + i, f"{value:.2f}"])


def add_row(
    table: Results, asked: EvaluateConfig, config: settings.TrainConfig, frames: int,
    argv: Sequence[str], results: dict,
) -> None:  # fmt: skip
    """Adds what was measured to the table asked for, once."""
    agent, run = asked.agent or config.agent, Path(asked.run)
    changed = {k: v for k, v in to_dict(agent).items() if v != to_dict(type(agent)()).get(k)}
    key = dict(zip(KEY, (
        config.env.task, run.name, frames, agent_name(type(agent)),
        " ".join(f"{k}={v}" for k, v in changed.items()), asked.episodes, asked.seed,
    )))  # fmt: skip
    if table.find(key) is None:
        origin = {"commit": commit(), "hardware": machine(resolve(asked.hardware))}
        table.add(key | results | origin | {"command": command("agents.evaluate", argv)})


if __name__ == "__main__":
    entry.run(main)
