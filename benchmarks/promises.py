"""Imagined rewards and values beside real ones: `python -m benchmarks.promises run=RUN`.

An agent learns nothing real in a world model that is too easy. The run's actor plays whole episodes
as it explores, noise included. From states on the way, rollouts of as many decisions are imagined
under the same actor. The table has means over the starts:

    reward_A_B   mean reward of a decision, from A to B decisions after the start
    return       discounted sum of the rewards of the next LENGTH decisions and of the critic's
                 value at their end
    value        the critic's value at the start
    critic_end   the critic's value LENGTH decisions later

One row is for the real rewards and one for the rollouts of each temperature; rows that are there
are not made again. worst=0.1 keeps the tenth of the starts that the least reward follows: where the
agent failed.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aef_worldmodel.utils.command import run_command
from aef_worldmodel.utils.config.schema import check_bounds, check_positive
from aef_worldmodel.utils.tables import Table, compare
from aef_worldmodel.world_models.base import State
from agents.algorithms.imagination.agent import ActorPolicy
from agents.config import train as settings
from agents.learning.learner import Learner
from agents.playing.env_factory import make_envs
from agents.playing.rollout import EnvLoop
from agents.training.provenance import provenance
from agents.training.seeds import FINAL_EVALUATION
from benchmarks.finished_runs import load_actor_critic

KEY = ("task", "run", "frames", "what")
LENGTH, STRIDE, SEED = 100, 25, FINAL_EVALUATION.of()
ENDS = (1, 6, 16, 31, 61, 101)  # first decision of each span of rewards, and the end of the last
SPANS = [f"reward_{a}_{b - 1}" for a, b in itertools.pairwise(ENDS)]
MEASURES = (*SPANS, "return", "value", "critic_end")
Rollouts = tuple[State, Tensor]  # states (LENGTH + 1, M, .), rewards (LENGTH, M) between them


@dataclass(frozen=True)
class PromisesConfig:
    """Settings of `python -m benchmarks.promises`."""

    run: str
    """Folder of a run of agent=imagination or agent=mpc."""
    temperatures: tuple[float, ...] = (0.0, 0.5, 1.0)
    """Of the prior's noise in imagined rollouts: a row for each."""
    episodes: int = 10
    """Real episodes, played as one batch."""
    worst: float = 1.0
    """Share of the starts that counts: those that the least reward follows."""
    out: str = "results/promises.csv"
    """The CSV."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number that makes no sense."""
        check_bounds(self, episodes=(1, None), worst=(0, 1))
        check_positive(self, "worst")


def play(learner: Learner, env: Any) -> tuple[State, Tensor]:
    """Play an episode of the exploring actor in every environment.

    Returns the states (T, N, .) in which it acted, and the reward (T, N) of each action.
    """
    loop = EnvLoop(env, learner, ActorPolicy(learner.agent.networks, explore=True))
    loop.reset(SEED)
    made = (loop.step() for _ in range(env.episode_decisions))
    states, rewards = zip(*((step.state, step.next_reward) for step in made), strict=True)
    return State(*map(torch.stack, zip(*states, strict=True))), torch.stack(rewards)


@torch.no_grad()
def imagine(learner: Learner, start: State, temperature: float) -> Rollouts:
    """Return rollouts of the exploring actor from states (M, .)."""
    model, actor = learner.model, learner.agent.networks.actor
    with learner.autocast():
        states, _ = model.imagine(start, lambda x: (actor.sample(x)[0],), LENGTH, temperature)
        reward = model.reward(states.map(lambda part: part[1:]))
    return states, reward.float()


@torch.no_grad()
def measure(learner: Learner, states: State, reward: Tensor) -> dict[str, float]:
    """Return the measures of rollouts."""
    networks, ends = learner.agent.networks, states.features[[0, -1]]
    with learner.autocast():
        value, critic_end = networks.target_critic.mean(ends).float().mean(1)
    spans = (reward[a - 1 : b - 1].mean().item() for a, b in itertools.pairwise(ENDS))
    discount = networks.config.discount
    total = discount ** torch.arange(LENGTH) @ reward.mean(1) + discount**LENGTH * critic_end
    values = {"return": total, "value": value, "critic_end": critic_end}
    return dict(zip(SPANS, spans)) | {name: number.item() for name, number in values.items()}


def windows(rows: Tensor, length: int) -> Tensor:
    """Return `length` rows from every STRIDE-th on, (T, N, ...) -> (length, M, ...).

    All begin where LENGTH rewards follow.
    """
    starts = range(0, len(rows) // STRIDE * STRIDE - LENGTH, STRIDE)
    return torch.cat([rows[t : t + length] for t in starts], 1)


def worst(reward: Tensor, share: float) -> Tensor:
    """Return the indices of the share of M starts that the least of rewards (LENGTH, M) follows."""
    return reward.sum(0).argsort()[: max(1, round(share * reward.shape[1]))]


def main(argv: Sequence[str]) -> int:
    """Play, imagine, write the rows and print the table."""
    asked = settings.load(argv, PromisesConfig, "benchmarks.promises")
    loaded = load_actor_critic(asked.run, SEED)
    learner, config, frames = loaded.learner, loaded.config, loaded.frames
    env = make_envs(config.env, asked.episodes, config.hardware, SEED)
    states, reward = play(learner, env)
    env.close()
    chosen = worst(windows(reward, LENGTH), asked.worst)
    real = states.map(lambda part: windows(part, LENGTH + 1)[:, chosen])
    start, rewards = real.map(lambda part: part[0]), windows(reward, LENGTH)[:, chosen]
    which = "" if asked.worst == 1 else f", worst {asked.worst:g}"
    rollouts: dict[str, Any] = {f"real{which}": lambda: (real, rewards)}
    for t in asked.temperatures:
        rollouts[f"imagined, temperature {t:g}{which}"] = lambda t=t: imagine(learner, start, t)
    table, rows = Table(asked.out, KEY), []
    source = {"episodes": asked.episodes, "seed": SEED}
    source |= provenance("benchmarks.promises", argv, config.hardware)
    for what, make in rollouts.items():
        key = dict(zip(KEY, (config.env.task, Path(asked.run).name, frames, what)))
        if table.find(key) is None:
            table.add(key | measure(learner, *make()) | source)
        rows.append(table.find(key))
    print(compare(rows, "what", MEASURES))
    return 0


if __name__ == "__main__":
    run_command(main)
