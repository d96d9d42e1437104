"""How far a world model foresees, by its settings: `python -m benchmarks.foresight run=RUN`.

    settings=[defaults,world_model.pixel_weight=1,"ema.model=0.1 lr.model=4e-4"]

For every list of settings over the defaults and every seed, a world model alone learns from the
rows of all environments of the run but the last. On the last environment's rows, rollouts under the
actions that were taken begin 20 rows into sequences of 40. They are judged 1, 5 and 15 decisions
ahead for the model of the last update; for the average of its weights (`ema.model`), each from its
own states; and for the average from the states of the last update ("mixed"):

    reward_K   mean absolute error of the reward, over the mean absolute reward
    latent_K   root mean square error of z, over its standard deviation: 1 is no better than the
               mean
    prior, pixels, latent_std, prior_std   of the last update's model, nats a frame; "_learnt" on
               the rows it learnt from: the difference between the two is overfitting

Each list and seed is one row of the CSV; rows that are there are not made again.
"""

import copy
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aef_worldmodel.data.batch import Batch
from aef_worldmodel.utils.command import run_command
from aef_worldmodel.utils.config.schema import check_bounds
from aef_worldmodel.utils.progress import Progress
from aef_worldmodel.utils.tables import Table, compare
from aef_worldmodel.world_models.base import State, WorldModel
from agents import probe
from agents.config import train as settings
from agents.config.hardware import HardwareConfig, resolve
from agents.config.train import TrainConfig
from agents.learning.learner import Learner
from agents.training.provenance import provenance
from agents.training.recording import Recording

AHEAD, CONTEXT, LENGTH = (1, 5, 15), 20, 40
BATCHES, SIZE = 8, 16  # of sequences that are judged
TERMS = ("prior_std", "latent_std", "prior", "pixels")  # of the loss, where a model has them
KINDS, MODELS = ("reward", "latent"), ("", "_average", "_mixed")
KEY = ("task", "run", "settings", "seed", "updates")
MEASURES = [
    *(
        f"{n}_{k}{w}"
        for n in ("reward", "latent")
        for k in AHEAD
        for w in ("", "_average", "_mixed")
    ),
    *(name + which for name in TERMS for which in ("", "_learnt")),
]
DEFAULTS = "defaults"


@dataclass(frozen=True)
class ForesightConfig:
    """Settings of `python -m benchmarks.foresight`."""

    run: str
    """Folder of a run that has recorded experience in several environments."""
    settings: tuple[str, ...] = (DEFAULTS,)
    """Settings to compare: `defaults`, or words over them."""
    updates: int = 900
    """Updates of each world model."""
    seeds: int = 2
    """How often each is trained: with seeds 0, 1, ..."""
    out: str = "results/foresight.csv"
    """The CSV."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number that makes no sense."""
        check_bounds(self, updates=(1, None), seeds=(1, 1_000))


def part_of(data: Recording, last: bool) -> Recording:
    """Return the recording of the last environment, or of all others."""
    part = copy.copy(data)
    part.count = data.count * ((torch.arange(data.rings) == data.rings - 1) == last)
    return part


def learn(
    config: TrainConfig, data: Recording, updates: int, seed: int, tick: Callable[[], None]
) -> tuple[Learner, WorldModel]:
    """Train a world model alone; return its learner and the average of its weights."""
    average: list[WorldModel] = []
    done = 0

    @torch.no_grad()
    def follow(learner: Learner) -> None:
        nonlocal done
        done += 1
        if not average:
            average.append(copy.deepcopy(learner.model))
        pair = (list(model.parameters()) for model in (average[0], learner.model))
        torch._foreach_lerp_(*pair, max(config.ema.model, 1 / done))
        tick()

    return probe.train(config, data, updates, seed, follow), average[0]


def sequences(data: Recording, recurrent_dim: int) -> Iterator[Batch]:
    """Yield batches of sequences from rest, the same for every model."""
    generator = torch.Generator().manual_seed(99)
    for _ in range(BATCHES):
        batch = Batch.from_rows(data.sample(SIZE, LENGTH, generator))
        batch.first[:, 0] = True
        yield dataclasses.replace(batch, recurrent=torch.zeros(SIZE, LENGTH, recurrent_dim))


@torch.no_grad()
def errors(model: WorldModel, states: State, batch: Batch) -> dict[str, Tensor]:
    """Return sums over sequences (B, LENGTH, .) of a rollout's errors, and of their units."""
    actions = iter(batch.action[:, CONTEXT:].transpose(0, 1))
    start = states.map(lambda part: part[:, CONTEXT])
    imagined, _ = model.imagine(start, lambda _: (next(actions),), max(AHEAD), temperature=0.0)
    sums = {}
    for k in AHEAD:
        within = ~batch.first[:, CONTEXT + 1 : CONTEXT + k + 1].any(1)  # (B,) no new episode
        reward, real = model.reward(imagined.map(lambda p, k=k: p[k])), batch.reward[:, CONTEXT + k]
        latent = states.latent[:, CONTEXT + k]  # (B, d)
        values = {
            "reward_error": (reward - real).abs(),
            "reward": real.abs(),
            "latent_error": (imagined.latent[k] - latent).square().mean(-1),
            "latent": (latent - states.latent.mean((0, 1))).square().mean(-1),
        }
        sums |= {f"{name}_{k}": (value * within).sum() for name, value in values.items()}
    return sums


@torch.no_grad()
def likelihood(learner: Learner, data: Recording) -> dict[str, float]:
    """Return means of those of TERMS that the model has."""
    width = learner.model.state_dims[0]
    with learner.autocast():
        terms = [learner.model.loss(batch).terms for batch in sequences(data, width)]
    known = [name for name in TERMS if name in terms[0]]
    return {name: torch.stack([t[name] for t in terms]).mean().item() for name in known}


@torch.no_grad()
def judge(learner: Learner, average: WorldModel, data: Recording) -> dict[str, float]:
    """Return the errors of rollouts."""
    model = learner.model
    totals: dict[str, list[dict[str, Tensor]]] = {which: [] for which in MODELS}
    for batch in sequences(data, model.state_dims[0]):
        rows = batch.frame, batch.action, batch.first
        with learner.autocast():
            states, averaged = (m.filter_frames(*rows) for m in (model, average))
            totals[""].append(errors(model, states, batch))
            totals["_average"].append(errors(average, averaged, batch))
            totals["_mixed"].append(errors(average, states, batch))
    scores = {}
    for which, sums in totals.items():
        total = {name: sum(s[name] for s in sums).item() for name in sums[0]}
        for k in AHEAD:
            scores[f"reward_{k}{which}"] = total[f"reward_error_{k}"] / total[f"reward_{k}"]
            scores[f"latent_{k}{which}"] = (
                total[f"latent_error_{k}"] / total[f"latent_{k}"]
            ) ** 0.5
    return scores


def examine(
    config: TrainConfig, data: Recording, updates: int, seed: int, tick: Callable[[], None]
) -> dict[str, Any]:
    """Train and judge one model; return the numbers of its row."""
    begun = time.monotonic()
    learnt, held_out = part_of(data, last=False), part_of(data, last=True)
    learner, average = learn(config, learnt, updates, seed, tick)
    minutes = (time.monotonic() - begun) / 60
    scores = judge(learner, average, held_out) | likelihood(learner, held_out)
    remembered = likelihood(learner, learnt)
    return scores | {f"{n}_learnt": v for n, v in remembered.items()} | {"minutes": minutes}


def main(argv: Sequence[str]) -> int:
    """Train and judge what is missing, write the rows and print the table."""
    asked = settings.load(argv, ForesightConfig, "benchmarks.foresight")
    data, hardware = Recording(asked.run), resolve(HardwareConfig(device="cpu", threads=1))
    torch.set_num_threads(1)
    task = settings.read(Path(asked.run) / "config.yaml").env.task
    configs = {words: config_of(task, words) for words in asked.settings}
    table, run = Table(asked.out, KEY), Path(asked.run).name
    keys = [
        dict(zip(KEY, (task, run, words, seed, asked.updates)))
        for words in asked.settings
        for seed in range(asked.seeds)
    ]
    missing = [key for key in keys if table.find(key) is None]
    source = provenance("benchmarks.foresight", argv, hardware)
    done, total = 0, len(missing) * asked.updates
    with Progress(f"{task}: world models of {run}", total, "updates") as progress:

        def tick() -> None:
            nonlocal done
            done += 1
            progress.update(done, model={"settings": key["settings"], "seed": key["seed"]})

        for key in missing:
            found = examine(configs[key["settings"]], data, asked.updates, key["seed"], tick)
            table.add(key | found | source)
    rows = [row for row in map(table.find, keys) if row is not None]
    print(compare(rows, "settings", MEASURES))
    return 0


def config_of(task: str, words: str) -> TrainConfig:
    """Return the settings of one world model."""
    changes = [] if words == DEFAULTS else words.split()
    return settings.load([f"env={task}", "hardware=cpu", "hardware.threads=1", *changes])


if __name__ == "__main__":
    run_command(main)
