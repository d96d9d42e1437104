"""Every agent on the same tasks at the same frames: `python -m benchmarks.agents`.

For each task and seed: imagination, sac, ppo and cmaes are trained for as many frames as asked
(`agents.train`, each in a process of its own, resumed if it was interrupted). mpc, random and
scripted play the imagination run's model. Then each plays the same episodes. Runs and rows that
are there already are not made again. The evaluations on the way go to OUT_curves.csv, which
`python -m benchmarks.curves` draws.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from aef_worldmodel.errors import UserError
from aef_worldmodel.persistence import list_checkpoints, load_latest
from agents import config as settings
from agents import entry
from agents.evaluate import load_learner
from agents.evaluation import run_episodes
from agents.hardware import HardwareConfig
from agents.planner import PlannerConfig
from agents.provenance import commit, machine
from agents.results import Results, table
from agents.roster import make_policy
from agents.schema import ConfigError, hint
from agents.scripted import RandomConfig, ScriptedConfig
from agents.worlds import has_choices, make_worlds
from benchmarks.record import rows_of

TRAINED = ("imagination", "sac", "ppo", "cmaes")
PLAYED = {"mpc": PlannerConfig(), "random": RandomConfig(), "scripted": ScriptedConfig()}
KEY = ("task", "agent", "seed", "frames")
CURVE_KEY = ("task", "agent", "seed", "trained_frames", "frames")
MEASURES = ("return", "training_minutes", "decisions_per_s", "encoder_frames_per_s")
SEED = 2_000_000  # worlds of the episodes, those of agents.evaluate


@dataclass(frozen=True)
class AgentsConfig:
    """Everything `python -m benchmarks.agents` can be told."""

    tasks: tuple[str, ...] = ("cartpole-swingup", "cheetah-run")
    """Tasks of `envs.tasks()`."""
    agents: tuple[str, ...] = (*TRAINED, *PLAYED)
    """Which of imagination, sac, ppo, cmaes, mpc, random, scripted."""
    seeds: int = 1
    """Each is trained with seeds 0, 1, ..."""
    frames: int = 100_000
    """Of each training."""
    episodes: int = 10
    """That each plays at the end."""
    words: tuple[str, ...] = ()
    """Further words for every training, for instance "words=['hardware.num_envs=4']"."""
    runs: str = "runs/agents"
    """Folder of the runs."""
    out: str = "results/agents.csv"
    """The table."""
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    """The machine, for the playing."""

    def __post_init__(self) -> None:
        """Raise ConfigError for an unknown agent."""
        for name in self.agents:
            if name not in (*TRAINED, *PLAYED):
                raise ConfigError(f"unknown agent {name}: {hint(name, (*TRAINED, *PLAYED))}")


def words_of(asked: AgentsConfig, task: str, agent: str, seed: int) -> list[str]:
    """The command line of a training."""
    return [f"env={task}", f"agent={agent}", f"seed={seed}", f"frames={asked.frames}", *asked.words]


def train(asked: AgentsConfig, task: str, agent: str, seed: int) -> Path:
    """Trains, unless that has been done; the run's folder. Its output goes to RUN.log.

    Raises UserError, naming the log, if a training fails.
    """
    run = Path(asked.runs) / f"{task}-{agent}-{seed}"
    saved = list_checkpoints(run / "checkpoints")
    if saved and load_latest(run / "checkpoints").step >= asked.frames:
        return run
    if not saved and run.exists():
        shutil.rmtree(run)  # ended before its first checkpoint
    words = [f"resume={run}"] if saved else [f"run={run}", *words_of(asked, task, agent, seed)]
    run.parent.mkdir(parents=True, exist_ok=True)
    print(f"python -m agents.train {' '.join(words)}", flush=True)
    with open(f"{run}.log", "a") as log:
        command = [sys.executable, "-m", "agents.train", *words]
        code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT).returncode
    if code:
        raise UserError(
            f"training {run} ended with code {code}: see {run}.log, then run this again"
        )
    return run


def keep_curve(curves: Results, asked: AgentsConfig, run: Path) -> None:
    """Adds a training's evaluations, unless they are there."""
    for row in rows_of(run):
        row |= {"trained_frames": asked.frames}
        if curves.find(row) is None:
            curves.add(row)


def pace(action: Callable[[], object], each: int, seconds: float = 1.0) -> float:
    """Things a second, where one call does `each`; the first call does not count."""
    action()
    calls, begin = 0, time.monotonic()
    while (now := time.monotonic() - begin) < seconds:
        action()
        calls += 1
    return calls * each / now


@torch.no_grad()
def measure(asked: AgentsConfig, run: Path, agent: str) -> dict[str, object]:
    """Returns of the agent on a run's model, decisions/s of the agent alone (N worlds at once)
    and frames/s of the encoder alone."""
    learner, config = load_learner(run, asked.hardware)
    env = make_worlds(config.env, asked.episodes, asked.hardware, SEED)
    playing = PLAYED.get(agent, config.agent)
    policy = make_policy(playing, learner, False, has_choices(env))
    torch.manual_seed(SEED)
    begin = time.monotonic()
    played = run_episodes(learner, policy, env, SEED)
    minutes = (time.monotonic() - begin) / 60
    env.close()
    state, first = learner.model.initial(asked.episodes), torch.zeros(asked.episodes).bool()
    first = first.to(learner.device)
    frames = played.frames[0, :64].to(learner.device)
    with learner.autocast():
        decisions = pace(lambda: policy.act(state, first), asked.episodes)
        encoded = pace(lambda: learner.model.eye.encode(frames), len(frames))
    return {
        "return": played.returns.mean().item(), "std": played.returns.std().item(),
        "episodes": asked.episodes, "playing_minutes": minutes,
        "decisions_per_s": decisions, "encoder_frames_per_s": encoded,
    }  # fmt: skip


def main(argv: Sequence[str]) -> int:
    """Trains and plays what is missing; prints the table."""
    asked = settings.load(argv, AgentsConfig, "agents")
    torch.set_num_threads(asked.hardware.threads)
    found, out = Results(asked.out, KEY), Path(asked.out)
    curves = Results(out.with_name(f"{out.stem}_curves{out.suffix}"), CURVE_KEY)
    for task in asked.tasks:
        for seed in range(asked.seeds):
            for agent in asked.agents:
                key = {"task": task, "agent": agent, "seed": seed, "frames": asked.frames}
                if found.find(key) is not None:
                    continue
                run = train(asked, task, agent if agent in TRAINED else "imagination", seed)
                keep_curve(curves, asked, run)
                state = load_latest(run / "checkpoints").state
                origin = {
                    "training_minutes": state["counters"]["minutes"], "commit": commit(),
                    "hardware": machine(asked.hardware),
                    "command": " ".join(["python -m benchmarks.agents", *argv]),
                }  # fmt: skip
                row = key | measure(asked, run, agent) | origin
                found.add(row)
                print(f"{task} {agent} {seed}: {row['return']:.1f} +- {row['std']:.1f}", flush=True)
    for task in asked.tasks:
        rows = [row for row in found.rows if row["task"] == task]
        print(f"\n{task}\n" + table(rows, "agent", MEASURES))
    return 0


if __name__ == "__main__":
    entry.run(main)
