"""`python -m agents.collect env=cheetah-run out=data`: writes episodes of any policy to disk.

The format is that of aef_worldmodel.episodes. Episodes are played in batches of `num_envs`, and
each batch depends on its number and the seed alone, so an interrupted collection goes on where it
was: the same command again makes the episodes that are missing.
"""

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from aef_worldmodel.dynamics import State
from aef_worldmodel.episodes import (
    episode_path,
    list_episodes,
    read_info,
    write_episode,
    write_info,
)
from aef_worldmodel.errors import UserError
from agents import config as settings
from agents import entry
from agents.config import EnvConfig
from agents.evaluate import load_run
from agents.hardware import HardwareConfig, describe
from agents.policy import Policy
from agents.progress import Progress
from agents.provenance import command, commit
from agents.roster import make_policy
from agents.schema import ConfigError, to_dict
from agents.scripted import Floor, RandomConfig, ScriptedConfig
from agents.words import agent_name
from agents.worlds import has_choices, make_worlds

PACKAGES = ("aef-worldmodel", "torch", "mujoco", "mujoco-warp", "dm-control", "gymnasium")
SEED = 5_000_000  # worlds that neither training nor evaluation plays


@dataclass(frozen=True)
class CollectConfig:
    """Everything `python -m agents.collect` can be told."""

    env: EnvConfig = field(default_factory=EnvConfig)
    """The task; ignored where a run plays, whose own it is."""
    run: str | None = None
    """Folder of a run whose agent plays; null for `agent` alone."""
    agent: settings.AgentConfig | None = None
    """What plays: null for the run's agent, or random actions where there is no run."""
    explore: bool = True
    """Whether the run's agent explores as in training; false plays as in evaluations."""
    out: str | None = None
    """Folder of the episodes."""
    episodes: int = 100
    """How many episodes there shall be."""
    seed: int = 0
    """Episode i is played in a world seeded by 5,000,000 + 100,000 seed + i."""
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    """The machine."""

    def __post_init__(self) -> None:
        """Raise ConfigError for a number that makes no sense."""
        if self.episodes < 1 or not 0 <= self.seed < 10_000:
            raise ConfigError(
                f"episodes={self.episodes} must be at least 1 and seed={self.seed} within 0 and "
                "9999"
            )


@torch.no_grad()
def play(learner, policy: Policy, env, seed: int) -> list[dict[str, Tensor]]:
    """One whole episode in every world, reset with `seed`, as rows (T, ...) on the CPU.

    Without a learner the policy sees states of width 0.
    """
    count, device = env.num_envs, env.device
    frame, _ = env.reset(seed=seed)
    action = torch.zeros(count, env.single_action_space.shape[0], device=device)
    reward, first = action.new_zeros(count), torch.ones(count, dtype=torch.bool, device=device)
    alive, terminal = first.clone(), torch.zeros_like(first)
    state = learner.model.initial(count) if learner else State(*[action.new_zeros(count, 0)] * 2)
    rows: list[list[dict[str, Tensor]]] = [[] for _ in range(count)]
    while alive.any():
        if learner:
            with learner.autocast():
                state = learner.model.observe(state, action, frame, first)
                action = policy.act(state, first)
        else:
            action = policy.act(state, first)
        _append(rows, alive, frame, action, reward, first, terminal)
        frame, reward, terminated, truncated, info = env.step(action)
        done = (terminated | truncated) & alive
        if done.any():
            last = info["final_obs"]
            _append(rows, done, last, torch.zeros_like(action), reward, torch.zeros_like(first),
                    terminated)  # fmt: skip
        first, alive = torch.zeros_like(first), alive & ~done
    return [
        {name: torch.stack([row[name] for row in world]) for name in world[0]} for world in rows
    ]


def _append(rows, worlds: Tensor, frame, action, reward, first, terminal) -> None:
    names = ("frame", "action", "reward", "first", "terminal")
    values = [value.cpu() for value in (frame, action, reward, first, terminal)]
    for i in worlds.nonzero()[:, 0].tolist():
        rows[i].append({name: value[i].clone() for name, value in zip(names, values)})


def told(asked: CollectConfig, frames: int) -> str:
    """What plays, in words: another of these is another policy. `frames`: the run's so far."""
    if not asked.run and not asked.agent:
        return "random"
    words = ["agent"]
    if asked.agent:
        usual = to_dict(type(asked.agent)())
        changed = {k: v for k, v in to_dict(asked.agent).items() if v != usual[k]}
        words = [agent_name(type(asked.agent)), *(f"agent.{k}={v}" for k, v in changed.items())]
    if asked.run:
        words.append(f"of {Path(asked.run).name} at {frames} frames")
        words += ["exploring"] if asked.explore else []
    return " ".join(words)


def describe_data(asked: CollectConfig, env: EnvConfig, frames: int, argv: Sequence[str]) -> dict:
    """What goes into info.json."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "absent"
    return {
        "env": to_dict(env),
        "policy": told(asked, frames),
        "seed": asked.seed,
        "worlds": asked.hardware.num_envs,
        "versions": versions,
        "commit": commit(),
        "command": command("agents.collect", argv),
    }


def check_same(folder: Path, info: dict) -> None:
    """Raises UserError if the folder holds episodes of something else."""
    found = read_info(folder)
    for key in ("env", "policy", "seed", "worlds"):
        if found.get(key) != info[key]:
            raise UserError(
                f"out={folder} holds episodes with {key}={found.get(key)}, these have "
                f"{key}={info[key]}: give another folder"
            )


def main(argv: Sequence[str]) -> int:
    """Plays what is missing."""
    asked = settings.load(argv, CollectConfig, "collect")
    if asked.out is None:
        raise ConfigError("out is not set: give out=FOLDER, where the episodes shall be")
    learner, frames, out = None, 0, Path(asked.out)
    torch.set_num_threads(asked.hardware.threads)
    env_config = asked.env
    if asked.run:
        learner, trained, frames = load_run(Path(asked.run), asked.hardware)
        env_config = trained.env
    worlds = asked.hardware.num_envs
    env = make_worlds(env_config, worlds, asked.hardware)
    discrete = has_choices(env)
    if learner:
        policy = make_policy(asked.agent or trained.agent, learner, asked.explore, discrete)
    elif isinstance(asked.agent or RandomConfig(), RandomConfig | ScriptedConfig):
        actions = env.single_action_space.shape[0]
        policy = Floor(asked.agent or RandomConfig(), actions, discrete).policy(explore=True)
    else:
        raise ConfigError("this agent must have learnt before it plays: give run=RUN_DIR, or "
                          "agent=random or agent=scripted")  # fmt: skip
    info = describe_data(asked, env_config, frames, argv)
    if list_episodes(out):
        check_same(out, info)
    else:
        write_info(out, info)
    total = asked.episodes * env.episode_decisions * env_config.action_repeat
    with Progress(f"{env_config.task} into {out}", total) as progress:
        progress.say(describe(asked.hardware))
        for begin in range(0, asked.episodes, worlds):
            numbers = range(begin, min(begin + worlds, asked.episodes))
            if not all(episode_path(out, i).exists() for i in numbers):
                torch.manual_seed(SEED + 100_000 * asked.seed + begin)
                episodes = play(learner, policy, env, SEED + 100_000 * asked.seed + begin)
                for i, rows in zip(numbers, episodes):
                    write_episode(out, i, rows)
                mean = sum(rows["reward"].sum().item() for rows in episodes) / worlds
                progress.values["train_return"] = mean
            done = numbers[-1] + 1
            decisions = done * env.episode_decisions
            progress.update(decisions * env_config.action_repeat, decisions, 0)
    print(f"{out}: {len(list_episodes(out))} episodes; learn from them with "
          f"python -m agents.train data={out}")  # fmt: skip
    return 0


if __name__ == "__main__":
    entry.run(main)
