"""What dreams promise, beside what comes: whether an agent learns in a world that is too easy.

    python -m benchmarks.promises RUN [--temperatures 0 0.5 1] [--episodes 10] [--worst 0.1]

The run's actor plays real episodes as it explores, noise and all. From states on the way dreams of
as many decisions begin, under the same actor. Reported, mean over the starts:

    reward_A_B   mean reward a decision, from A to B decisions after the start
    value        the critic's value of the start
    return       discounted sum of the rewards of the next LENGTH decisions, and of the critic's
                 value at their end
    critic_end   the critic's value, LENGTH decisions later

One row for what came, one for the dreams of each temperature; rows that are there are not made
again. With --worst only from the share of starts after which least came: where the agent failed.
"""

import argparse
import itertools
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from aef_worldmodel.dynamics import State
from aef_worldmodel.persistence import load_latest
from agents import entry
from agents.config import TrainConfig
from agents.hardware import HardwareConfig, resolve
from agents.learner import Learner
from agents.provenance import commit, machine
from agents.results import Results, table
from agents.worlds import make_worlds
from benchmarks.gradients import load_dreamer

KEY = ("task", "run", "frames", "what")
LENGTH, STRIDE, SEED = 100, 25, 2_000_000
ENDS = (1, 6, 16, 31, 61, 101)  # first decision of each span of rewards, and the end of the last
SPANS = [f"reward_{a}_{b - 1}" for a, b in itertools.pairwise(ENDS)]
MEASURES = (*SPANS, "return", "value", "critic_end")


@torch.no_grad()
def play(learner: Learner, env, seed: int = SEED,
         note: Callable[[int, Tensor], None] = lambda decision, action: None,
         ) -> tuple[State, Tensor]:
    """One episode of the exploring actor in every world: the states (T, N, .) in which it decided,
    and the reward (T, N) that each decision brought. `note` hears of every decision, its number
    and action (N, A), before it is carried out."""
    frame, _ = env.reset(seed=seed)
    state = learner.model.initial(env.num_envs)
    action = torch.zeros(env.num_envs, learner.model.action_dim)
    first = torch.ones(env.num_envs, dtype=torch.bool)
    states, rewards = [], []
    for decision in range(env.episode_decisions):
        with learner.autocast():
            state = learner.model.observe(state, action, frame, first)
            action = learner.agent.actor.sample(state.features)[0].float()
        note(decision, action)
        frame, reward, *_ = env.step(action)
        states.append(state)
        rewards.append(reward)
        first = torch.zeros_like(first)
    return State(*(torch.stack(part) for part in zip(*states))), torch.stack(rewards)


@torch.no_grad()
def dream(learner: Learner, start: State, temperature: float) -> tuple[State, Tensor]:
    """Dreams of the exploring actor: states (LENGTH + 1, M, .), and rewards (LENGTH, M)."""
    model, actor = learner.model, learner.agent.actor
    with learner.autocast():
        states, _ = model.imagine(start, lambda f: (actor.sample(f)[0],), LENGTH, temperature)
        reward = model.reward(State(*(part[1:] for part in states)))
    return states, reward.float()


@torch.no_grad()
def measure(learner: Learner, states: State, reward: Tensor) -> dict[str, float]:
    """The measures of states (LENGTH + 1, M, .) and the rewards (LENGTH, M) between them."""
    discount = learner.agent.config.discount
    with learner.autocast():
        value = learner.agent.slow_critic.mean(states.features[[0, -1]]).float().mean(1)
    spans = (reward[a - 1 : b - 1].mean().item() for a, b in itertools.pairwise(ENDS))
    found = dict(zip(SPANS, spans))
    weight = discount ** torch.arange(LENGTH)
    total = (weight @ reward.mean(1) + discount**LENGTH * value[1]).item()
    return found | {"return": total, "value": value[0].item(), "critic_end": value[1].item()}


def windows(rows: Tensor, length: int) -> Tensor:
    """Of rows (T, N, ...), `length` at a time from every STRIDE-th on: (length, M, ...). All end
    where LENGTH rewards have come."""
    starts = range(0, len(rows) // STRIDE * STRIDE - LENGTH, STRIDE)
    return torch.cat([rows[t : t + length] for t in starts], 1)


def worst(reward: Tensor, share: float) -> Tensor:
    """Which of M starts, whose rewards (LENGTH, M) came, are the share with the least: indices."""
    return reward.sum(0).argsort()[: max(1, round(share * reward.shape[1]))]


def dreamer_of(run: Path, seed: int) -> tuple[Learner, TrainConfig, int]:
    """Learner and settings of a run, on one thread of the CPU, and the frames it has seen; `seed`
    is what the actor's noise begins with."""
    hardware = resolve(HardwareConfig(device="cpu", threads=1))
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    learner, config = load_dreamer(run, hardware)
    return learner, config, load_latest(run / "checkpoints").step


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.0, 0.5, 1.0])
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--worst", type=float, default=1.0)
    parser.add_argument("--out", type=Path, default=Path("results/promises.csv"))
    asked = parser.parse_args(argv)
    learner, config, frames = dreamer_of(asked.run, SEED)
    hardware = config.hardware
    results = Results(asked.out, KEY)
    source = {"episodes": asked.episodes, "seed": SEED, "commit": commit(),
              "hardware": machine(hardware), "command":
              f"python -m benchmarks.promises {asked.run.name} --episodes {asked.episodes} "
              f"--worst {asked.worst:g}"}  # fmt: skip
    env = make_worlds(config.env, asked.episodes, hardware, SEED)
    states, reward = play(learner, env)
    env.close()
    came = State(*(windows(part, LENGTH + 1) for part in states)), windows(reward, LENGTH)
    chosen = worst(came[1], asked.worst)
    came = State(*(part[:, chosen] for part in came[0])), came[1][:, chosen]
    start = State(*(part[0] for part in came[0]))
    of_which = "" if asked.worst == 1 else f", worst {asked.worst:g}"
    told = {f"dreams, temperature {t:g}{of_which}": t for t in asked.temperatures}
    rows = []
    for what in (f"what came{of_which}", *told):
        key = dict(zip(KEY, (config.env.task, asked.run.name, frames, what)))
        if results.find(key) is None:
            of = dream(learner, start, told[what]) if what in told else came
            results.add(key | measure(learner, *of) | source)
        rows.append(results.find(key))
    print(table(rows, "what", MEASURES))
    return 0


if __name__ == "__main__":
    entry.run(main)
