"""`python -m agents.evolve run=RUN_DIR`: CMA-ES controllers on a finished world model.

The protocol of Ha and Schmidhuber 2018: autoencoder and dynamics are fixed, only the controller
evolves, in the real environments or in imagination at a temperature. There is one *stage* for every
combination asked for. A stage writes a row after each evaluation in the real environments, so that
the imagined return stands beside the real one, and a checkpoint after each generation: the same
command again continues where it was.
"""

import dataclasses
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from aef_worldmodel.utils.command import run_command
from aef_worldmodel.utils.config.schema import ConfigError, check_bounds, check_positive
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.progress import Progress
from aef_worldmodel.utils.tables import Table, open_metrics
from agents.algorithms.cmaes.controller import Reads
from agents.algorithms.fixed import RandomConfig
from agents.config import train as settings
from agents.config.hardware import HardwareConfig, describe
from agents.learning.build import make_learner
from agents.learning.learner import Learner
from agents.training.evolution_run import EvolutionRun, Stage
from agents.training.provenance import provenance
from agents.training.runs import LoadedRun, load_run

KEY = ("task", "run", "place", "model", "reads", "temperature", "seed", "generation")


@dataclass(frozen=True)
class EvolveConfig:
    """Settings of `python -m agents.evolve`."""

    run: str | None = None
    """Folder of the run whose world model is used."""
    places: tuple[Literal["dream", "real"], ...] = ("dream", "real")
    """Where controllers are judged."""
    temperatures: tuple[float, ...] = (1.0,)
    """Of imagined rollouts: a stage for each."""
    reads: tuple[Reads, ...] = ("hz",)
    """What controllers read: a stage for each of hz, h and z."""
    models: tuple[Literal["trained", "untrained"], ...] = ("trained",)
    """untrained: freshly drawn dynamics, the control of every claim about them; real only."""
    generations: int = 60
    """Generations of each stage."""
    population: int = 16
    """Controllers of a generation."""
    rollouts: int = 2
    """Episodes of each controller in a generation; the same starts for all controllers."""
    horizon: int = 100
    """Decisions of an imagined episode."""
    decisions: int | None = None
    """Decisions of a real episode that count while controllers evolve, so that a generation takes
    less time; null for the whole episode. Evaluations are always whole."""
    hidden: int = 0
    """Width of the controller's hidden layer; 0 for a linear one."""
    step: float = 0.1
    """First standard deviation of a parameter."""
    seed: int = 0
    """Seed of the evolution and of its environments."""
    eval_every: int = 20
    """Generations between evaluations in the real environments."""
    eval_episodes: int = 10
    """Episodes of an evaluation."""
    out: str | None = None
    """Folder of stages and evolution.csv; null for RUN/evolution."""
    trust: bool = False
    """Execute the code that the run's saved settings name: a module that registers its environment
    and is not an installed package."""
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    """The machine."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number that makes no sense."""
        counts = ("generations", "rollouts", "horizon", "eval_every", "eval_episodes")
        check_bounds(self, **dict.fromkeys(counts, (1, None)))
        check_bounds(self, population=(4, 10_000), hidden=(0, 10_000), seed=(0, 2**32 - 1))
        check_positive(self, "step")
        if self.decisions is not None and self.decisions < 1:
            raise ValueError(f"decisions={self.decisions} must be at least 1; null is all")
        if any(temperature < 0 for temperature in self.temperatures):
            raise ValueError(f"temperatures={list(self.temperatures)} must be at least 0")


def stages(asked: EvolveConfig) -> list[Stage]:
    """Return every combination that makes sense: an untrained model imagines nothing useful."""
    found = []
    for place, model, reads in itertools.product(asked.places, asked.models, asked.reads):
        if place == "dream" and model == "trained":
            found += [Stage(place, model, reads, t) for t in asked.temperatures]
        elif place == "real":
            found.append(Stage(place, model, reads, 0.0))
    return found


def run_stage(run: EvolutionRun, asked: EvolveConfig, out: Path, origin: dict, title: str) -> None:
    """Evolve a stage from where it was left; evaluations become rows of out/evolution.csv."""
    table = Table(out / "evolution.csv", KEY)
    metrics = open_metrics(run.folder / "metrics.csv", "generation", after=run.generation)
    repeat = origin["action_repeat"]
    per_generation = asked.population * asked.rollouts * run.length * repeat  # frames
    begin = time.monotonic()
    with Progress(f"{title}: {run.stage.name}", asked.generations, "generations") as progress:
        while run.generation < asked.generations:
            row = run.step()
            g = run.generation
            metrics.add({"generation": g, "frames": g * per_generation} | row)
            progress.update(g, returns={"best": row["best"], "mean": row["mean"]})
            if g % asked.eval_every == 0 or g == asked.generations:
                judged = run.evaluate()
                progress.update(g, returns={"real": judged["real_mean"]})
                found = {"generation": g, "frames": g * per_generation, **row, **judged}
                found["minutes_here"] = (time.monotonic() - begin) / 60
                shared, source = origin["fixed"], origin["source"]
                table.add(shared | dataclasses.asdict(run.stage) | found | source)
    run.close()


def main(argv: Sequence[str]) -> int:
    """Run every stage."""
    asked = settings.load(argv, EvolveConfig, "evolve")
    if asked.run is None:
        raise ConfigError("run is not set: give run=RUN_DIR, the folder of a trained run")
    chosen = stages(asked)
    if not chosen:
        raise ConfigError(
            "places=[dream] and models=[untrained] leave nothing to do: an untrained model "
            "imagines nothing useful; add places=[real]"
        )
    folder, hardware = Path(asked.run), asked.hardware
    torch.set_num_threads(hardware.threads or 1)
    loaded = load_run(folder, hardware, asked.trust)
    env, out = loaded.config.env, Path(asked.out or folder / "evolution")
    print(describe(hardware))
    origin = {
        "action_repeat": env.action_repeat,
        "fixed": {
            "task": env.task,
            "run": folder.name,
            "seed": asked.seed,
            "population": asked.population,
            "rollouts": asked.rollouts,
        },
        "source": provenance("agents.evolve", argv, hardware),
    }
    for stage in chosen:
        trained = stage.model == "trained"
        learner = loaded.learner if trained else untrained(loaded, asked.seed)
        run = EvolutionRun(stage, asked, learner, env, out / stage.name)
        run_stage(run, asked, out, origin, env.task)
    print(f"written to {out}: evolution.csv, a folder for each stage")
    return 0


def untrained(loaded: LoadedRun, seed: int) -> Learner:
    """Return a learner with the run's autoencoder and dynamics that have learnt nothing.

    Raises UserError for a world model without an autoencoder of its own.
    """
    torch.manual_seed(seed)
    model = loaded.learner.model
    config = dataclasses.replace(loaded.config, agent=RandomConfig())
    fresh = make_learner(config, model.frame_shape, model.action_dim, loaded.discrete)
    try:
        trained = model.get_submodule("autoencoder")
        fresh.model.get_submodule("autoencoder").load_state_dict(trained.state_dict())
    except AttributeError as error:
        raise UserError(
            "models=[untrained] needs a world model with an autoencoder: leave it out"
        ) from error
    return fresh


if __name__ == "__main__":
    run_command(main)
