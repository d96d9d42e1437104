"""Every agent on the same tasks at the same frames: `python -m benchmarks.agents`.

For each task and seed, imagination, sac, ppo and cmaes are trained for as many frames as asked
(`agents.train`, each in a process of its own, resumed if it was interrupted). mpc, random and
scripted play the model of the imagination run. Then each plays the same episodes. Runs and rows
that are there are not made again. The evaluations on the way go to OUT_curves.csv, which
`python -m benchmarks.curves` draws.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from aef_worldmodel.utils.checkpoint import list_checkpoints, load_latest
from aef_worldmodel.utils.command import run_command
from aef_worldmodel.utils.config.schema import ConfigError, check_bounds
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.registry import suggest
from aef_worldmodel.utils.tables import Table, compare
from agents.base import AgentConfig
from agents.config import train as settings
from agents.config.hardware import HardwareConfig
from agents.learning.build import playing_agent
from agents.playing.env_factory import make_envs
from agents.playing.evaluation import run_episodes, score
from agents.training.provenance import provenance
from agents.training.runs import load_run
from agents.training.seeds import FINAL_EVALUATION
from benchmarks.record import rows_of
from benchmarks.timing import mean_seconds

TRAINED = ("imagination", "sac", "ppo", "cmaes")
PLAYED = ("mpc", "random", "scripted")  # on the model of the imagination run
KEY = ("task", "agent", "seed", "frames")
CURVE_KEY = ("task", "agent", "seed", "trained_frames", "frames")
MEASURES = ("return", "training_minutes", "decisions_per_s", "encoder_frames_per_s")
SEED = FINAL_EVALUATION.of()
ENCODED = 64  # frames at once, to time the encoder


@dataclass(frozen=True)
class AgentsConfig:
    """Settings of `python -m benchmarks.agents`."""

    tasks: tuple[str, ...] = ("cartpole-swingup", "cheetah-run")
    """Tasks of `python -m envs`."""
    agents: tuple[str, ...] = (*TRAINED, *PLAYED)
    """Some of imagination, sac, ppo, cmaes, mpc, random, scripted."""
    seeds: int = 1
    """How often each is trained: with seeds 0, 1, ..."""
    frames: int = 100_000
    """Frames of each training."""
    episodes: int = 10
    """Episodes that each plays at the end."""
    overrides: tuple[str, ...] = ()
    """Further words for every training, for instance [hardware.num_envs=4,pretrain=100]."""
    runs: str = "runs/agents"
    """Folder of the runs."""
    out: str = "results/agents.csv"
    """The table."""
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    """The machine that plays the episodes."""

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown agent or a number that makes no sense."""
        known = (*TRAINED, *PLAYED)
        for name in self.agents:
            if name not in known:
                raise ConfigError(f"unknown agent {name} in agents: {suggest(name, known)}")
        check_bounds(self, seeds=(1, None), frames=(1, None), episodes=(1, 10_000))


def train(asked: AgentsConfig, task: str, agent: str, seed: int) -> Path:
    """Train, unless that is done, and return the run's folder; the output goes to RUN.log.

    Raises UserError, naming the log, if the training fails.
    """
    run = Path(asked.runs) / f"{task}-{agent}-{seed}"
    saved = list_checkpoints(run / "checkpoints")
    if saved and load_latest(run / "checkpoints").step >= asked.frames:
        return run
    if not saved and run.exists():
        shutil.rmtree(run)  # it ended before its first checkpoint
    new = [f"env={task}", f"agent={agent}", f"seed={seed}", f"frames={asked.frames}"]
    words = [f"resume={run}"] if saved else [f"run={run}", *new, *asked.overrides]
    run.parent.mkdir(parents=True, exist_ok=True)
    print(f"python -m agents.train {' '.join(words)}", flush=True)
    with open(f"{run}.log", "a", encoding="utf-8") as log:
        command = [sys.executable, "-m", "agents.train", *words]
        code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT).returncode
    if code:
        raise UserError(f"training {run} ended with code {code}: read {run}.log, then try again")
    return run


def keep_curve(curves: Table, asked: AgentsConfig, run: Path) -> None:
    """Add the evaluations of a training, unless they are there."""
    for row in rows_of(run):
        row |= {"trained_frames": str(asked.frames)}
        if curves.find(row) is None:
            curves.add(row)


@torch.no_grad()
def measure(asked: AgentsConfig, run: Path, agent: str) -> dict[str, object]:
    """Return returns of an agent on a run's model, and how fast agent and encoder are alone."""
    learner, config, *_ = load_run(run, asked.hardware)
    env = make_envs(config.env, asked.episodes, asked.hardware, SEED)
    other = AgentConfig.select(agent) if agent in PLAYED else None
    policy = playing_agent(other, learner).policy(False, learner.model)
    torch.manual_seed(SEED)
    begin = time.monotonic()
    played = run_episodes(learner, policy, env, SEED)
    minutes = (time.monotonic() - begin) / 60
    env.close()
    state = learner.model.initial(asked.episodes)
    first = torch.zeros(asked.episodes, dtype=torch.bool, device=learner.device)
    frames = played.frames[0, :ENCODED].to(learner.device)
    with learner.autocast():
        acting, _ = mean_seconds(lambda: policy.act(state, first))
        encoding, _ = mean_seconds(lambda: learner.model.autoencoder.encode(frames))
    mean, std = score(played.returns)
    return {
        "return": mean,
        "std": std,
        "episodes": asked.episodes,
        "playing_minutes": minutes,
        "decisions_per_s": asked.episodes / acting,
        "encoder_frames_per_s": len(frames) / encoding,
    }


def main(argv: Sequence[str]) -> int:
    """Train and play what is missing, write the rows and print a table for each task."""
    asked = settings.load(argv, AgentsConfig, "benchmarks.agents")
    torch.set_num_threads(asked.hardware.threads or 1)
    table, out = Table(asked.out, KEY), Path(asked.out)
    curves = Table(out.with_name(f"{out.stem}_curves{out.suffix}"), CURVE_KEY)
    source = provenance("benchmarks.agents", argv, asked.hardware)
    for task in asked.tasks:
        for seed in range(asked.seeds):
            for agent in asked.agents:
                key = dict(zip(KEY, (task, agent, seed, asked.frames)))
                if table.find(key) is not None:
                    continue
                run = train(asked, task, agent if agent in TRAINED else "imagination", seed)
                keep_curve(curves, asked, run)
                minutes = load_latest(run / "checkpoints").state["counters"]["minutes"]
                row = measure(asked, run, agent)
                table.add(key | row | {"training_minutes": minutes} | source)
                print(f"{task} {agent} {seed}: {row['return']:.1f} +- {row['std']:.1f}", flush=True)
    for task in asked.tasks:
        rows = [row for row in table.rows if row["task"] == task]
        print(f"\n{task}\n" + compare(rows, "agent", MEASURES))
    return 0


if __name__ == "__main__":
    run_command(main)
