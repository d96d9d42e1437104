"""`python -m agents.evaluate run=RUN_DIR`: plays a trained agent; returns, film, dream strip."""

import csv
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

import envs
from aef_worldmodel.errors import UserError
from aef_worldmodel.persistence import load_latest, load_weights
from aef_worldmodel.video import write_mp4, write_png
from agents import config as settings
from agents import entry
from agents.evaluation import report_dream, run_episodes
from agents.hardware import HardwareConfig, describe, resolve
from agents.learner import Learner
from agents.schema import ConfigError


@dataclass(frozen=True)
class EvaluateConfig:
    """Everything `python -m agents.evaluate` can be told."""

    run: str | None = None
    """Folder of the run whose last checkpoint plays."""
    episodes: int = 10
    """Episodes, run as one batch."""
    seed: int = 2_000_000
    """Seed of the worlds; training and its evaluations use others."""
    out: str | None = None
    """Folder for returns.csv, film and strip; null for RUN/evaluation."""
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    """The machine to play on."""


def load_learner(run: Path, hardware: HardwareConfig) -> tuple[Learner, settings.TrainConfig]:
    """The learner of a run at its last checkpoint, on this machine.

    Raises UserError if `run` is not a run's folder or its checkpoints cannot be read.
    """
    if not (run / "config.yaml").is_file():
        raise UserError(f"run={run} is not the folder of a run: it has no config.yaml")
    config = settings.read(run / "config.yaml")
    config = dataclasses.replace(config, hardware=hardware)
    found = load_latest(run / "checkpoints")
    for sentence in found.skipped:
        print(sentence)
    size = config.env.image_size
    actions = envs.make(config.env.task, obs="proprio").single_action_space.shape[0]
    learner = Learner(config, (3, size, size), actions)
    load_weights(learner.model, found.state["learner"]["model"], found.path)
    load_weights(learner.agent, found.state["learner"]["agent"], found.path)
    return learner, config


def main(argv: Sequence[str]) -> int:
    """Plays, prints the returns and writes what was seen."""
    asked = settings.load(argv, EvaluateConfig, "evaluate")
    if asked.run is None:
        raise ConfigError("run is not set: give run=RUN_DIR, the folder of a trained run")
    hardware = resolve(asked.hardware)
    torch.set_num_threads(hardware.threads)
    torch.manual_seed(asked.seed)
    learner, config = load_learner(Path(asked.run), hardware)
    env = envs.make(
        config.env.task, asked.episodes, device=hardware.device, seed=asked.seed,
        image_size=config.env.image_size, action_repeat=config.env.action_repeat,
        threads=hardware.threads,
    )  # fmt: skip
    print(describe(hardware))
    episodes = run_episodes(learner, env, asked.seed)
    report = report_dream(learner, episodes)
    out = Path(asked.out or Path(asked.run) / "evaluation")
    write_mp4(out / "dream.mp4", report.film)
    write_png(out / "dream.png", report.strip)
    with open(out / "returns.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["episode", "seed", "return"])
        for i, value in enumerate(episodes.returns.tolist()):
            writer.writerow([i, asked.seed + i, f"{value:.2f}"])
    mean, std = episodes.returns.mean().item(), episodes.returns.std().item()
    print(f"{config.env.task}: return {mean:.1f} +- {std:.1f} over {asked.episodes} episodes")
    for name, value in report.scores.items():
        print(f"  {name} {value:.1f} dB")
    print(f"written to {out}: returns.csv, dream.mp4, dream.png")
    return 0


if __name__ == "__main__":
    entry.run(main)
