"""Whether dreams tell better decisions from worse, which is all that plans and gradients ask:

    python -m benchmarks.choices RUN [--temperatures 0] [--episodes 10]

The run's actor plays real episodes as it explores. Every STRIDE decisions all is put back CHOICES
times, and each time other decisions are tried from there, LENGTH of them, in reality and in a
dream: those that the actor took, disturbed by Gaussian noise. Of the sums of the first 1, 4 and
all rewards, M starts with K choices each, reported are

    r2           share of all sums' variance that dreams foretell
    correlation  of dreamt and real sums, both from their start's mean: what choosing lives on
    slope        what a dreamt difference from the start's mean is worth in reality: below 1, dreams
                 boast
    gain         what the choice that dreams best brings above the mean of its start's choices, as
                 a share of what the best one brings
    spread       standard deviation of real sums from their start's mean

and for correlation and gain their standard errors over starts, by bootstrap. One row a temperature
goes to the CSV; rows that are there are not made again.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

import envs
from aef_worldmodel.dynamics import State
from aef_worldmodel.errors import UserError
from agents import entry
from agents.learner import Learner
from agents.provenance import commit, machine
from agents.results import Results, table
from agents.worlds import make_worlds, state_of
from benchmarks.promises import dreamer_of, play

KEY = ("task", "run", "frames", "what")
LENGTH, STRIDE, CHOICES, NOISE, SEED = 8, 25, 12, 0.5, 4_000_000
SUMS = (1, 4, LENGTH)
MEASURES = ("r2", "correlation", "correlation_se", "slope", "gain", "gain_se", "spread")


def choices(taken: Tensor, generator: torch.Generator) -> Tensor:
    """Decisions (LENGTH, N, A) that were taken -> CHOICES others (CHOICES, LENGTH, N, A)."""
    noise = torch.randn(CHOICES, *taken.shape, generator=generator)
    return (taken + NOISE * noise).clamp(-1, 1)


def tried(env, snapshot: dict, decisions: Tensor) -> Tensor:
    """Real rewards (LENGTH, N) of decisions (LENGTH, N, A) from a snapshot of the worlds."""
    env.set_state(snapshot)
    return torch.stack([env.step(action)[1] for action in decisions])


@torch.no_grad()
def dreamt(learner: Learner, start: State, decisions: Tensor, temperature: float) -> Tensor:
    """The same in a dream that begins at the states (N, .)."""
    following = iter(decisions)
    with learner.autocast():
        states, _ = learner.model.imagine(
            start, lambda _: (next(following),), len(decisions), temperature
        )
        return learner.model.reward(State(*(part[1:] for part in states))).float()


def measure(real: Tensor, dream: Tensor) -> dict[str, float]:
    """The measures of sums of rewards, each (M, K)."""
    generator = torch.Generator().manual_seed(0)
    draws = torch.randint(len(real), (200, len(real)), generator=generator)
    apart, supposed = (x - x.mean(1, keepdim=True) for x in (real, dream))
    chosen = apart.gather(1, dream.argmax(1, keepdim=True))[:, 0]  # (M,)
    best = apart.max(1).values  # (M,)
    both, own, other = ((a * b).mean(1) for a, b in
                        ((apart, supposed), (supposed, supposed), (apart, apart)))  # fmt: skip
    correlation = lambda i: both[i].mean(-1) / (own[i].mean(-1) * other[i].mean(-1)).sqrt()  # noqa: E731
    gain = lambda i: chosen[i].mean(-1) / best[i].mean(-1)  # noqa: E731
    everything = torch.arange(len(real))
    found = {
        "r2": 1 - (real - dream).square().mean() / real.var(correction=0),
        "correlation": correlation(everything), "correlation_se": correlation(draws).std(),
        "slope": both.mean() / own.mean(),
        "gain": gain(everything), "gain_se": gain(draws).std(),
        "spread": other.mean().sqrt(),
    }  # fmt: skip
    return {name: value.item() for name, value in found.items()}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.0])
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("results/choices.csv"))
    asked = parser.parse_args(argv)
    learner, config, frames = dreamer_of(asked.run, SEED)
    hardware = config.hardware
    results = Results(asked.out, KEY)
    told = {f"temperature {t:g}": t for t in asked.temperatures}
    key = {what: dict(zip(KEY, (config.env.task, asked.run.name, frames, what))) for what in told}
    if any(results.find(key[what]) is None for what in told):
        source = {"episodes": asked.episodes, "seed": SEED, "commit": commit(),
                  "hardware": machine(hardware), "command":
                  f"python -m benchmarks.choices {asked.run.name}"}  # fmt: skip
        env = make_worlds(config.env, asked.episodes, hardware, SEED)
        for what, sums in compare(learner, env, told).items():
            if results.find(key[what]) is None:
                found = {f"{name}_{n}": value for n, of in zip(SUMS, sums)
                         for name, value in measure(*of).items()}  # fmt: skip
                results.add(key[what] | found | source)
        env.close()
    print(table([results.find(key[what]) for what in told], "what",
                [f"{name}_{n}" for n in SUMS for name in MEASURES]))  # fmt: skip
    return 0


def compare(learner: Learner, env, told: dict[str, float]) -> dict[str, list[tuple]]:
    """For every named temperature, real and dreamt sums (M, CHOICES) of the first SUMS rewards.

    Raises UserError for worlds whose state is not known.
    """
    if state_of(env) is None:
        raise UserError("these worlds cannot be put back to try other decisions: name a run of one "
                        f"of {', '.join(envs.tasks())}, without env.backend")  # fmt: skip
    snapshots, actions = {}, []

    def note(decision: int, action: Tensor) -> None:
        if decision % STRIDE == 0 and decision + LENGTH <= env.episode_decisions:
            snapshots[decision] = env.state()
        actions.append(action)

    states, _ = play(learner, env, SEED, note)
    undrawn = envs.make(learner.config.env.task, env.num_envs, obs="proprio",
                        action_repeat=env.action_repeat)  # fmt: skip
    generator = torch.Generator().manual_seed(SEED)
    real, dreams = [], {what: [] for what in told}
    for decision, snapshot in snapshots.items():
        taken = torch.stack(actions[decision : decision + LENGTH])  # (LENGTH, N, A)
        start = State(*(part[decision] for part in states))  # (N, .)
        for choice in choices(taken, generator):
            real.append(tried(undrawn, snapshot, choice))
            for what, temperature in told.items():
                dreams[what].append(dreamt(learner, start, choice, temperature))
    summed = lambda rewards, n: (  # noqa: E731
        torch.stack(rewards)[:, :n].sum(1).unflatten(0, (-1, CHOICES)).movedim(1, 2).flatten(0, 1)
    )  # (starts CHOICES, LENGTH, N) -> (starts N, CHOICES)
    return {what: [(summed(real, n), summed(dream, n)) for n in SUMS]
            for what, dream in dreams.items()}  # fmt: skip


if __name__ == "__main__":
    entry.run(main)
