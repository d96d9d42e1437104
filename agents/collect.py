"""`python -m agents.collect env=cheetah-run out=data`: write episodes of any policy to disk.

The format is that of aef_worldmodel/data/episodes.py. Episodes are played in batches of
`hardware.num_envs`, and each batch depends on its number and the seed alone, so an interrupted
collection continues where it was: the same command again makes the episodes that are missing.
"""

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aef_worldmodel.data.episodes import (
    episode_path,
    list_episodes,
    read_info,
    write_episode,
    write_info,
)
from aef_worldmodel.utils.command import as_typed, run_command
from aef_worldmodel.utils.config.schema import ConfigError, check_bounds, to_dict
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.progress import Progress
from agents.algorithms.fixed import FixedAgent, RandomConfig
from agents.base import AgentConfig, AgentSpec, Policy
from agents.config import train as settings
from agents.config.hardware import HardwareConfig, describe
from agents.config.train import EnvConfig
from agents.config.trust import trust_word
from agents.learning.build import playing_agent
from agents.learning.learner import Learner
from agents.playing.env_factory import is_discrete, make_envs
from agents.playing.reference import fingerprint_of, redrawn
from agents.playing.rollout import EnvLoop, Transition
from agents.registry import AGENTS, agent_name
from agents.training.provenance import command, commit
from agents.training.runs import load_run
from agents.training.seeds import COLLECTION, HASHED, SPACED

PACKAGES = ("aef-worldmodel", "torch", "mujoco", "mujoco-warp", "dm-control", "gymnasium")
Rows = dict[str, Tensor]


@dataclass(frozen=True)
class CollectConfig:
    """Settings of `python -m agents.collect`."""

    env: EnvConfig = field(default_factory=EnvConfig)
    """The task; not used where a run plays, which has its own."""
    run: str | None = None
    """Folder of a run whose agent plays; null for `agent` alone."""
    agent: AgentConfig | None = None
    """What plays: null for the run's agent, or random actions where there is no run."""
    explore: bool = True
    """Let the run's agent explore as in training; false plays as in evaluations."""
    out: str | None = None
    """Folder of the episodes."""
    episodes: int = 100
    """Number of episodes."""
    seed: int = 0
    """Chooses the episodes; other commands play others."""
    trust: bool = False
    """Execute the code that the run's saved settings name: a module that registers its environment
    and is not an installed package."""
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    """The machine."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number that makes no sense."""
        check_bounds(self, episodes=(1, 100_000), seed=(0, 9_999))


@torch.no_grad()
def play(learner: Learner | None, policy: Policy, env: Any, seed: int | list[int]) -> list[Rows]:
    """Play one whole episode in every environment; return their rows (T, ...) on the CPU.

    Without a learner, the policy sees states of width 0.
    """
    loop = EnvLoop(env, learner, policy)
    loop.reset(seed)
    alive = loop.first.clone()
    rows: list[list[Rows]] = [[] for _ in range(env.num_envs)]
    while alive.any():
        made = loop.step()
        _append(rows, alive, row_of(made))
        done = made.done & alive
        if done.any():
            _append(rows, done, last_row_of(made))
        alive = alive & ~done
    return [{name: torch.stack([row[name] for row in one]) for name in one[0]} for one in rows]


def row_of(made: Transition) -> Rows:
    """Return the rows (N, ...) of a decision."""
    return {
        "frame": made.frame,
        "action": made.action,
        "reward": made.reward,
        "first": made.first,
        "terminal": torch.zeros_like(made.first),
    }


def last_row_of(made: Transition) -> Rows:
    """Return the rows (N, ...) of the last frames of episodes that ended."""
    assert made.final_frame is not None
    return {
        "frame": made.final_frame,
        "action": torch.zeros_like(made.action),
        "reward": made.next_reward,
        "first": torch.zeros_like(made.first),
        "terminal": made.terminated,
    }


def _append(rows: list[list[Rows]], where: Tensor, values: Rows) -> None:
    values = {name: value.cpu() for name, value in values.items()}
    for i in where.nonzero()[:, 0].tolist():
        rows[i].append({name: value[i].clone() for name, value in values.items()})


def describe_policy(asked: CollectConfig, frames: int) -> str:
    """Return what plays, in words: other words are another policy. `frames`: the run's so far."""
    if not asked.run and not asked.agent:
        return "random"
    words = ["agent"]
    if asked.agent:
        usual = to_dict(type(asked.agent)())
        changed = {k: v for k, v in to_dict(asked.agent).items() if v != usual[k]}
        words = [agent_name(asked.agent), *(f"agent.{k}={v}" for k, v in changed.items())]
    if asked.run:
        words.append(f"of {Path(asked.run).name} at {frames} frames")
        words += ["exploring"] if asked.explore else []
    return " ".join(words)


def describe_data(asked: CollectConfig, env: EnvConfig, frames: int, argv: Sequence[str]) -> dict:
    """Return what goes into info.json."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "absent"
    return {
        "env": to_dict(env),
        "policy": describe_policy(asked, frames),
        "seed": asked.seed,
        "seeds": HASHED,
        "worlds": asked.hardware.num_envs,
        "versions": versions,
        "commit": commit(),
        "command": command("agents.collect", argv),
    }


def check_same(folder: Path, info: dict) -> str:
    """Return how the seeds of the folder's episodes are made.

    Raises UserError if it holds episodes of something else.
    """
    found = read_info(folder)
    for key in ("env", "policy", "seed", "worlds"):
        if found.get(key) != info[key]:
            raise UserError(
                f"out={folder} holds episodes with {key}={found.get(key)}, these have "
                f"{key}={info[key]}: give another folder"
            )
    return str(found.get("seeds", SPACED))


def fixed_policy(asked: CollectConfig, env: Any) -> Policy:
    """Return the policy of an agent that needs no run. Raises ConfigError for one that does."""
    config = asked.agent or RandomConfig()
    kind = AGENTS[agent_name(config)]
    if not issubclass(kind, FixedAgent):
        raise ConfigError(
            f"agent={agent_name(config)} must learn before it plays: give run=RUN_DIR, or "
            "agent=random or agent=scripted"
        )
    device = torch.device(asked.hardware.device)
    spec = AgentSpec(
        state_dims=(0, 0),
        action_dim=env.single_action_space.shape[0],
        discrete=is_discrete(env),
        device=device,
    )
    return kind(config, spec).fixed_policy()


def main(argv: Sequence[str]) -> int:
    """Play what is missing."""
    asked = settings.load(argv, CollectConfig, "collect")
    if asked.out is None:
        raise ConfigError("out is not set: give out=FOLDER, the folder for the episodes")
    torch.set_num_threads(asked.hardware.threads or 1)
    loaded, learner, frames, env_config = None, None, 0, asked.env
    if asked.run:
        loaded = load_run(Path(asked.run), asked.hardware, asked.trust)
        learner, frames, env_config = loaded.learner, loaded.frames, loaded.config.env
    env = make_envs(env_config, asked.hardware.num_envs, asked.hardware)
    if learner:
        policy = playing_agent(asked.agent, learner).policy(asked.explore, learner.model)
    else:
        policy = fixed_policy(asked, env)
    images = fingerprint_of(env)
    for sentence in redrawn(loaded.images, images, asked.run) if loaded else ():
        print(sentence)
    out, info = Path(asked.out), describe_data(asked, env_config, frames, argv)
    info["images"] = images
    kind = HASHED
    if list_episodes(out):
        kind = check_same(out, info)
    else:
        write_info(out, info)
    with Progress(f"{env_config.task} into {out}", asked.episodes, "episodes") as progress:
        progress.print(describe(asked.hardware))
        collect(asked, learner, policy, env, progress, kind)
    learn = as_typed("agents.train", f"data={out}") + trust_word(env_config.task)
    print(f"{out}: {len(list_episodes(out))} episodes; learn from them with {learn}")
    return 0


def collect(
    asked: CollectConfig,
    learner: Learner | None,
    policy: Policy,
    env: Any,
    progress: Progress,
    seeds: str = HASHED,
) -> None:
    """Play and write the batches of episodes that are missing, with that kind of seeds."""
    out, count = Path(str(asked.out)), asked.hardware.num_envs
    for begin in range(0, asked.episodes, count):
        numbers = range(begin, min(begin + count, asked.episodes))
        shown = {}
        if not all(episode_path(out, i).exists() for i in numbers):
            seed = COLLECTION.envs(asked.seed, begin, count, seeds)
            torch.manual_seed(COLLECTION.of(asked.seed, begin, seeds))
            episodes = play(learner, policy, env, seed)
            for i, rows in zip(numbers, episodes):
                write_episode(out, i, rows)
            mean = sum(rows["reward"].sum().item() for rows in episodes) / count
            shown = {"return": {"of the last batch": mean}}
        progress.update(numbers[-1] + 1, **shown)


if __name__ == "__main__":
    run_command(main)
