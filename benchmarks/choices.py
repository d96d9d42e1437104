"""Whether rollouts rank actions as reality does: `python -m benchmarks.choices run=RUN`.

Plans and gradients ask a world model for no more than that. The run's actor plays whole episodes as
it explores. Every STRIDE decisions the environments are put back CHOICES times, and LENGTH other
actions are tried from there, in reality and in imagination: those of the actor with Gaussian noise.
Of the sums of the first 1, 4 and all rewards, for M starts with K choices each, the table has

    r2           share of the variance of all sums that imagination predicts
    correlation  of imagined and real sums, both less the mean of their start
    slope        real change for an imagined one, both against the mean of the start: below 1,
                 imagination exaggerates
    gain         real advantage over its start's mean of the choice that is best in imagination, as
                 a share of the advantage of the best choice
    spread       standard deviation of real sums around the mean of their start

and standard errors of correlation and gain over starts, by bootstrap. Each temperature is one row
of the CSV; rows that are there are not made again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

import envs
from aef_worldmodel.utils.command import run_command
from aef_worldmodel.utils.config.schema import check_bounds
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.tables import Table, compare
from aef_worldmodel.world_models.base import State
from agents.algorithms.imagination.agent import ActorPolicy
from agents.config import train as settings
from agents.learning.learner import Learner
from agents.playing.env_factory import make_envs, state_of
from agents.playing.rollout import EnvLoop
from agents.training.provenance import provenance
from agents.training.runs import LoadedRun
from agents.training.seeds import PROBE_RANDOM
from benchmarks.finished_runs import load_actor_critic

KEY = ("task", "run", "frames", "what")
LENGTH, STRIDE, CHOICES, NOISE, SEED = 8, 25, 12, 0.5, PROBE_RANDOM.of()
SUMS = (1, 4, LENGTH)
MEASURES = ("r2", "correlation", "correlation_se", "slope", "gain", "gain_se", "spread")


@dataclass(frozen=True)
class ChoicesConfig:
    """Settings of `python -m benchmarks.choices`."""

    run: str
    """Folder of a run of agent=imagination or agent=mpc, of a task of `python -m envs`."""
    temperatures: tuple[float, ...] = (0.0,)
    """Of the prior's noise in imagined rollouts: a row for each."""
    episodes: int = 10
    """Real episodes, played as one batch."""
    out: str = "results/choices.csv"
    """The CSV."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number that makes no sense."""
        check_bounds(self, episodes=(1, None))


class Starts(NamedTuple):
    """Moments of N episodes from which other actions are tried; S moments."""

    snapshots: list[dict]  # (S,) of the environments
    states: list[State]  # (S,) of (N, .), in which the actor acted
    actions: list[Tensor]  # (S,) of (LENGTH, N, A): the actor's from there on


def play(learner: Learner, env: Any) -> Starts:
    """Play an episode of the exploring actor in every environment.

    Raises UserError for environments that cannot be put back.
    """
    if state_of(env) is None:
        raise UserError(
            "these environments cannot be put back to try other actions: give a run of one of "
            f"{', '.join(envs.tasks())}"
        )
    loop = EnvLoop(env, learner, ActorPolicy(learner.agent.networks, explore=True))
    loop.reset(SEED)
    snapshots, states, actions = {}, [], []
    for decision in range(env.episode_decisions):
        if decision % STRIDE == 0 and decision + LENGTH <= env.episode_decisions:
            snapshots[decision] = env.state()
        made = loop.step()
        states.append(made.state)
        actions.append(made.action)
    later = [torch.stack(actions[t : t + LENGTH]) for t in snapshots]
    return Starts(list(snapshots.values()), [states[t] for t in snapshots], later)


def choices(taken: Tensor, generator: torch.Generator) -> Tensor:
    """Return CHOICES others (CHOICES, LENGTH, N, A) of actions (LENGTH, N, A) that were taken."""
    noise = torch.randn(CHOICES, *taken.shape, generator=generator)
    return (taken + NOISE * noise).clamp(-1, 1)


def real_rewards(env: Any, snapshot: dict, actions: Tensor) -> Tensor:
    """Return the rewards (LENGTH, N) of actions (LENGTH, N, A) from a snapshot of environments."""
    env.set_state(snapshot)
    return torch.stack([env.step(action)[1] for action in actions])


@torch.no_grad()
def imagined_rewards(learner: Learner, start: State, actions: Tensor, temperature: float) -> Tensor:
    """Return the rewards (LENGTH, N) of the same actions, imagined from states (N, .)."""
    following = iter(actions)
    with learner.autocast():
        states, _ = learner.model.imagine(
            start, lambda _: (next(following),), len(actions), temperature
        )
        return learner.model.reward(states.map(lambda part: part[1:])).float()


def measure(real: Tensor, imagined: Tensor) -> dict[str, float]:
    """Return the measures of sums of rewards, (M, K) each."""
    generator = torch.Generator().manual_seed(0)
    draws = torch.randint(len(real), (200, len(real)), generator=generator)
    apart, supposed = (x - x.mean(1, keepdim=True) for x in (real, imagined))
    chosen = apart.gather(1, imagined.argmax(1, keepdim=True))[:, 0]  # (M,)
    best = apart.max(1).values  # (M,)
    pairs = ((apart, supposed), (supposed, supposed), (apart, apart))
    both, own, other = ((a * b).mean(1) for a, b in pairs)  # (M,) each

    def correlation(rows: Tensor) -> Tensor:
        return both[rows].mean(-1) / (own[rows].mean(-1) * other[rows].mean(-1)).sqrt()

    def gain(rows: Tensor) -> Tensor:
        return chosen[rows].mean(-1) / best[rows].mean(-1)

    everything = torch.arange(len(real))
    found = {
        "r2": 1 - (real - imagined).square().mean() / real.var(correction=0),
        "correlation": correlation(everything),
        "correlation_se": correlation(draws).std(),
        "slope": both.mean() / own.mean(),
        "gain": gain(everything),
        "gain_se": gain(draws).std(),
        "spread": other.mean().sqrt(),
    }
    return {name: value.item() for name, value in found.items()}


def measure_sums(real: Tensor, imagined: Tensor) -> dict[str, float]:
    """Return the measures of the first SUMS of rewards (S, CHOICES, LENGTH, N) each."""
    found = {}
    for n in SUMS:
        sums = (
            x[:, :, :n].sum(2).movedim(1, 2).flatten(0, 1) for x in (real, imagined)
        )  # (S N, K)
        found |= {f"{name}_{n}": value for name, value in measure(*sums).items()}
    return found


def compare_choices(
    learner: Learner, env: Any, starts: Starts, temperatures: Sequence[float]
) -> dict[float, dict[str, float]]:
    """Return the measures of every temperature; `env` is put back and renders nothing."""
    generator = torch.Generator().manual_seed(SEED)
    real, imagined = [], {t: [] for t in temperatures}
    for snapshot, state, taken in zip(*starts, strict=True):
        for tried in choices(taken, generator):
            real.append(real_rewards(env, snapshot, tried))
            for t, rewards in imagined.items():
                rewards.append(imagined_rewards(learner, state, tried, t))
    shape = (len(starts.snapshots), CHOICES)
    truth = torch.stack(real).unflatten(0, shape)
    return {t: measure_sums(truth, torch.stack(r).unflatten(0, shape)) for t, r in imagined.items()}


def examine(loaded: LoadedRun, episodes: int, temperatures: Sequence[float]) -> dict[float, dict]:
    """Return the measures of a run for every temperature."""
    task, hardware = loaded.config.env, loaded.config.hardware
    env = make_envs(task, episodes, hardware, SEED)
    starts = play(loaded.learner, env)
    env.close()
    env = envs.make(task.task, episodes, obs="proprio", action_repeat=task.action_repeat)
    return compare_choices(loaded.learner, env, starts, temperatures)


def main(argv: Sequence[str]) -> int:
    """Play, try, imagine, write the rows and print the table."""
    asked = settings.load(argv, ChoicesConfig, "benchmarks.choices")
    loaded, table = load_actor_critic(asked.run, SEED), Table(asked.out, KEY)
    run = (loaded.config.env.task, Path(asked.run).name, loaded.frames)
    keys = {t: dict(zip(KEY, (*run, f"temperature {t:g}"))) for t in asked.temperatures}
    if missing := [t for t, key in keys.items() if table.find(key) is None]:
        source = {"episodes": asked.episodes, "seed": SEED}
        source |= provenance("benchmarks.choices", argv, loaded.config.hardware)
        for t, found in examine(loaded, asked.episodes, missing).items():
            table.add(keys[t] | found | source)
    rows = [row for row in map(table.find, keys.values()) if row is not None]
    print(compare(rows, "what", [f"{name}_{n}" for n in SUMS for name in MEASURES]))
    return 0


if __name__ == "__main__":
    run_command(main)
