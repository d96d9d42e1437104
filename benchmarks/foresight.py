"""How far a world model foresees, by its settings:

    python -m benchmarks.foresight RUN "" "world_model.pixel_weight=1" [--updates 900] [--seeds 2]

For every quoted list of settings (over the defaults) and seed, a world model alone learns from
what the run's worlds but the last have recorded. On the last world's rows, dreams with the actions
that were taken begin 20 rows into sequences of 40. Reported, 1, 5 and 15 decisions ahead, for the
model of the last update, for the average of its weights (`average_rate`), each from its own states,
and for averaged dynamics from the states of the last update ("mixed"):

    reward_K   mean absolute error of the reward, over the mean absolute reward
    latent_K   root mean square error of z, over its standard deviation: 1 is as bad as its mean
    prior, pixels, latent_std   of the last update's model, nats a frame; "_learnt" on the rows it
               learnt from: what lies between the two is remembered, not read

One row a list and seed goes to the CSV; rows that are there already are not made again.
"""

import argparse
import copy
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from aef_worldmodel.dynamics import Dynamics, State
from aef_worldmodel.world_model import WorldModel
from agents import config as settings
from agents import entry, probe
from agents.hardware import HardwareConfig, resolve
from agents.learner import Learner
from agents.provenance import commit, machine
from agents.recording import Recording
from agents.results import Results, table

AHEAD, CONTEXT, LENGTH = (1, 5, 15), 20, 40
BATCHES, SIZE = 8, 16  # of sequences that are judged
TERMS = ("prior_std", "latent_std", "prior", "pixels")  # of WorldModel.loss
KEY = ("task", "run", "settings", "seed", "updates")
MEASURES = [
    f"{kind}_{k}{which}" for kind in ("reward", "latent") for k in AHEAD
    for which in ("", "_average", "_mixed")
] + [name + which for name in TERMS for which in ("", "_learnt")]  # fmt: skip


def only(data: Recording, last: bool, recurrent_dim: int) -> Recording:
    """The recording of the last world, or of all others, for models with so large an h."""
    part = copy.copy(data)
    kept = torch.arange(data.worlds) == data.worlds - 1
    part.count = data.count * (kept if last else ~kept)
    part.reset(recurrent_dim)
    return part


def learn(config: settings.TrainConfig, data: Recording, updates: int, seed: int,
          tick: Callable[[], None]) -> tuple[Learner, WorldModel]:
    """A world model trained alone, and the average of its weights."""
    average, done = None, 0

    @torch.no_grad()
    def follow(learner: Learner) -> None:
        nonlocal average, done
        average, done = average or copy.deepcopy(learner.model), done + 1
        torch._foreach_lerp_(
            list(average.parameters()), list(learner.model.parameters()),
            max(config.average_rate, 1 / done),
        )  # fmt: skip
        tick()

    return probe.train(config, data, updates, seed, follow), average


@torch.no_grad()
def errors(dynamics: Dynamics, states: State, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Sums over sequences (B, LENGTH, .) of a dream's errors, and of what they are counted in."""
    actions = iter(batch["action"][:, CONTEXT:].transpose(0, 1))
    start = State(*(part[:, CONTEXT] for part in states))
    dreamt, _ = dynamics.imagine(start, lambda _: (next(actions),), max(AHEAD), temperature=0.0)
    sums = {}
    for k in AHEAD:
        within = ~batch["first"][:, CONTEXT + 1 : CONTEXT + k + 1].any(1)  # (B,) no new episode
        reward, real = dynamics.reward(State(*(p[k] for p in dreamt))), batch["reward"]
        missed = (dreamt.latent[k] - states.latent[:, CONTEXT + k]).square().mean(-1)
        spread = (states.latent[:, CONTEXT + k] - states.latent.mean((0, 1))).square().mean(-1)
        for name, value in (
            ("reward_error", (reward - real[:, CONTEXT + k]).abs()),
            ("reward", real[:, CONTEXT + k].abs()), ("missed", missed), ("spread", spread),
        ):  # fmt: skip
            sums[f"{name}_{k}"] = (value * within).sum()
    return sums


def sequences(data: Recording) -> Iterator[dict[str, Tensor]]:
    """Batches of sequences from rest, the same for every model."""
    generator = torch.Generator().manual_seed(99)
    for _ in range(BATCHES):
        batch = data.sample(SIZE, LENGTH, generator)
        batch["first"][:, 0] = True
        yield batch | {"recurrent": torch.zeros(SIZE, data.recurrent.shape[1])}


@torch.no_grad()
def likelihood(learner: Learner, data: Recording) -> dict[str, float]:
    """Means of TERMS."""
    with learner.autocast():
        terms = [learner.model.loss(batch).terms for batch in sequences(data)]
    return {name: torch.stack([t[name] for t in terms]).mean().item() for name in TERMS}


@torch.no_grad()
def judge(learner: Learner, average: WorldModel, data: Recording) -> dict[str, float]:
    """Errors of dreams."""
    model = learner.model
    totals, scores = {"": [], "_average": [], "_mixed": []}, {}
    for batch in sequences(data):
        with learner.autocast():
            states, averaged = (
                m.follow(batch["frame"], batch["action"], batch["first"]) for m in (model, average)
            )
            totals[""].append(errors(model, states, batch))
            totals["_average"].append(errors(average, averaged, batch))
            totals["_mixed"].append(errors(average, states, batch))
    for which, sums in totals.items():
        total = {name: sum(s[name] for s in sums).item() for name in sums[0]}
        for k in AHEAD:
            scores[f"reward_{k}{which}"] = total[f"reward_error_{k}"] / total[f"reward_{k}"]
            scores[f"latent_{k}{which}"] = (total[f"missed_{k}"] / total[f"spread_{k}"]) ** 0.5
    return scores


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("settings", nargs="+", help='for instance "world_model.pixel_weight=1"')
    parser.add_argument("--updates", type=int, default=900)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("results/foresight.csv"))
    asked = parser.parse_args(argv)
    data, hardware = Recording(asked.run), resolve(HardwareConfig(device="cpu", threads=1))
    torch.set_num_threads(1)
    task = settings.read(asked.run / "config.yaml").env.task
    results, rows = Results(asked.out, KEY), []
    source = {"commit": commit(), "hardware": machine(hardware), "command":
              f"python -m benchmarks.foresight {asked.run.name} \"SETTINGS\" "
              f"--updates {asked.updates}"}  # fmt: skip
    pace = probe.Pace(len(asked.settings) * asked.seeds * asked.updates)
    for words in asked.settings:
        given = [f"env={task}", "hardware=cpu", "hardware.threads=1", *words.split()]
        config = settings.load(given)
        for seed in range(asked.seeds):
            key = dict(zip(KEY, (task, asked.run.name, words or "defaults", seed, asked.updates)))
            if results.find(key) is None:
                begun = time.monotonic()
                label = f"{key['settings']}, seed {seed}"
                size = config.world_model.recurrent_dim
                learnt, held = (only(data, last, size) for last in (False, True))
                learner, average = learn(config, learnt, asked.updates, seed,
                                         lambda label=label: pace.tick(label))  # fmt: skip
                minutes = (time.monotonic() - begun) / 60
                scores = judge(learner, average, held) | likelihood(learner, held)
                seen = likelihood(learner, learnt)
                scores |= {f"{name}_learnt": value for name, value in seen.items()}
                results.add(key | scores | {"minutes": minutes} | source)
            rows.append(results.find(key))
    print(table(rows, "settings", MEASURES))
    return 0


if __name__ == "__main__":
    entry.run(main)
