"""`python -m agents.evolve run=RUN_DIR`: CMA-ES controllers on a finished world model.

The protocol of Ha & Schmidhuber 2018: V and M are fixed, only C evolves, in the real worlds or in
the dream at a temperature. One *stage* for every combination asked for; a stage writes a row after
each evaluation in the real worlds, so that dream return stands beside real return, and a
checkpoint after each generation: the same command again goes on where it was.
"""

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from aef_worldmodel.dynamics import State
from aef_worldmodel.persistence import list_checkpoints, load_latest, save_checkpoint
from agents import config as settings
from agents import entry
from agents.controller import Controller, ControllerPolicy, Reads
from agents.evaluate import load_learner
from agents.evaluation import run_episodes, score
from agents.evolution import Evolution, dreamt_returns
from agents.hardware import HardwareConfig, describe
from agents.metrics_file import MetricsFile
from agents.progress import Progress
from agents.provenance import command, commit, machine
from agents.results import Results
from agents.roster import make_learner
from agents.schema import ConfigError
from agents.worlds import has_choices, make_worlds

START_SEED, EVAL_SEED = 7_000_000, 8_000_000  # worlds that nothing else plays
KEY = ("task", "run", "place", "model", "reads", "temperature", "seed", "generation")
# what stays from a stage's first generation to its last
KEPT = ("population", "rollouts", "hidden", "step", "seed")


@dataclass(frozen=True)
class EvolveConfig:
    """Everything `python -m agents.evolve` can be told."""

    run: str | None = None
    """Folder of the run whose world model is used."""
    places: tuple[Literal["dream", "real"], ...] = ("dream", "real")
    """Where controllers are judged."""
    temperatures: tuple[float, ...] = (1.0,)
    """Of the dream: a stage for each."""
    reads: tuple[Reads, ...] = ("hz",)
    """What controllers see: a stage for each of hz, h and z."""
    models: tuple[Literal["trained", "untrained"], ...] = ("trained",)
    """untrained: dynamics as they are at first, the control of every claim about M; real only."""
    generations: int = 60
    """Of each stage."""
    population: int = 16
    """Controllers of a generation."""
    rollouts: int = 2
    """Episodes of each controller in a generation; the same starts for all controllers."""
    horizon: int = 100
    """Decisions of a dreamt episode."""
    decisions: int | None = None
    """Decisions of a real episode that count while controllers evolve, so that a generation takes
    less time; null for all of it. Evaluations are always whole."""
    hidden: int = 0
    """Width of the controller's hidden layer; 0 for a linear one."""
    step: float = 0.1
    """First standard deviation of a parameter."""
    seed: int = 0
    """Seed of the evolution and of its worlds."""
    eval_every: int = 20
    """Generations between evaluations in the real worlds."""
    eval_episodes: int = 10
    """Episodes of an evaluation."""
    out: str | None = None
    """Folder of stages and evolution.csv; null for RUN/evolution."""
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    """The machine."""

    def __post_init__(self) -> None:
        """Raise ConfigError for a number that makes no sense."""
        least = {"population": 4, "hidden": 0, "seed": 0}
        for name, value in vars(self).items():
            if isinstance(value, int) and value < least.get(name, 1):
                raise ConfigError(f"{name}={value} must be at least {least.get(name, 1)}")
        if self.step <= 0 or any(t < 0 for t in self.temperatures):
            raise ConfigError(f"step={self.step} must be above 0, temperatures at least 0")


@dataclass(frozen=True)
class Stage:
    """One evolution."""

    place: str
    model: str
    reads: Reads
    temperature: float
    """0 in the real worlds, where there is none."""

    @property
    def name(self) -> str:
        """Its folder."""
        at = f"-{self.temperature:g}" if self.place == "dream" else ""
        return f"{self.place}{at}-{self.model}-{self.reads}"


def stages(asked: EvolveConfig) -> list[Stage]:
    """Every combination that exists: an untrained model has no dream worth the name."""
    found = []
    for place, model, reads in itertools.product(asked.places, asked.models, asked.reads):
        if place == "dream" and model == "trained":
            found += [Stage(place, model, reads, t) for t in asked.temperatures]
        elif place == "real":
            found.append(Stage(place, model, reads, 0.0))
    return found


class Breeding:
    """A stage at work.

    Args:
        stage: what evolves where.
        asked: the settings.
        learner: holds V and M.
        config: of the run.
        folder: of the stage.

    Raises:
        ConfigError: the folder holds a stage of other settings.
    """

    def __init__(self, stage: Stage, asked: EvolveConfig, learner, config, folder: Path):
        self.stage, self.asked, self.learner, self.folder = stage, asked, learner, folder
        self.config, model = config, config.world_model
        length = "horizon" if stage.place == "dream" else "decisions"
        self.kept = {name: getattr(asked, name) for name in (*KEPT, length)}
        saved = list_checkpoints(folder / "checkpoints")
        state = load_latest(folder / "checkpoints").state if saved else {}
        self._refuse_other(state.get("settings", self.kept))  # older stages do not say
        self.worlds = self._worlds(asked.population * asked.rollouts)
        self.judges = self._worlds(2 * asked.eval_episodes)
        self.shown = self._worlds(asked.rollouts)
        self.controller = Controller(
            model.recurrent_dim, model.latent_dim, learner.model.action_dim, stage.reads,
            asked.hidden, has_choices(self.worlds),
        )  # fmt: skip
        self.evolution = Evolution(self.controller.size, asked.population, asked.step, asked.seed)
        if saved:
            self.evolution.load_state_dict(state["evolution"])

    def _refuse_other(self, began: dict[str, float | None]) -> None:
        for name, now in self.kept.items():
            if began[name] != now:
                was, now = ("null" if value is None else value for value in (began[name], now))
                raise ConfigError(
                    f"{self.folder} began with {name}={was}, not {name}={now}: give {name}={was} "
                    "to go on with it, or out=FOLDER for another evolution"
                )

    def _worlds(self, count: int):
        return make_worlds(self.config.env, count, self.asked.hardware)

    @property
    def generation(self) -> int:
        """Generations lived."""
        return len(self.evolution.told)

    @property
    def length(self) -> int:
        """Decisions of an episode that a controller is judged by."""
        if self.stage.place == "dream":
            return self.asked.horizon
        whole = self.worlds.episode_decisions
        return min(whole, self.asked.decisions or whole)

    def seeds(self) -> list[int]:
        """Of this generation's starts, one a rollout."""
        begin = START_SEED + 1_000_000 * self.asked.seed + self.generation * self.asked.rollouts
        return [begin + i for i in range(self.asked.rollouts)]

    def returns(self, parameters: Tensor) -> Tensor:
        """Mean return (K,) of controllers (K, P)."""
        if self.stage.place == "real":
            policy = ControllerPolicy(self.controller, parameters)
            seeds = self.seeds() * len(parameters)  # world k R + r: controller k, start r
            played = run_episodes(
                self.learner, policy, self.worlds, seeds, filmed=1, decisions=self.length
            )
            return played.returns.view(len(parameters), -1).mean(1)
        return dreamt_returns(
            self.learner.model, self.controller, parameters, self._starts(), self.length,
            self.stage.temperature,
        )  # fmt: skip

    def _starts(self) -> State:
        """States of real first frames (S, .)."""
        frame, _ = self.shown.reset(seed=self.seeds())
        model, count = self.learner.model, len(frame)
        first = torch.ones(count, dtype=torch.bool, device=frame.device)
        action = torch.zeros(count, model.action_dim, device=frame.device)
        return model.observe(model.initial(count), action, frame, first)

    @torch.no_grad()
    def step(self) -> dict[str, float]:
        """A generation; its best, mean and worst return."""
        torch.manual_seed(START_SEED + 1_000_000 * self.asked.seed + self.generation)
        parameters = self.evolution.ask().to(self.learner.device)
        with self.learner.autocast():
            returns = self.returns(parameters)
        self.evolution.tell(returns)
        save_checkpoint(
            self.folder / "checkpoints", self.generation,
            {"evolution": self.evolution.state_dict(), "mean": self.evolution.mean,
             "elite": self.evolution.elite, "settings": self.kept}, {"kind": "evolution"},
        )  # fmt: skip
        return {
            "best": returns.max().item(), "mean": returns.mean().item(),
            "step": self.evolution.distribution[1].mean().item(),
        }  # fmt: skip

    def evaluate(self) -> dict[str, float]:
        """Real returns of the mean controller and of the last generation's best."""
        both = torch.stack([self.evolution.mean, self.evolution.elite]).to(self.learner.device)
        policy = ControllerPolicy(self.controller, both)
        played = run_episodes(self.learner, policy, self.judges, EVAL_SEED, filmed=1)
        (mean, mean_std), (elite, elite_std) = map(score, played.returns.view(2, -1))
        return {
            "real_mean": mean, "real_mean_std": mean_std,
            "real_elite": elite, "real_elite_std": elite_std,
        }  # fmt: skip

    def close(self) -> None:
        """Ends the worlds."""
        for worlds in (self.worlds, self.judges, self.shown):
            worlds.close()


def run_stage(
    stage: Stage, asked: EvolveConfig, learner, config, out: Path, fixed: dict, provenance: dict
) -> None:
    """Lives through a stage's generations, from where it was left; evaluations become rows of
    out/evolution.csv, with what is `fixed` for all stages and where they come from."""
    breeding = Breeding(stage, asked, learner, config, out / stage.name)
    table = Results(out / "evolution.csv", KEY)
    book = MetricsFile(out / stage.name / "metrics.csv", "generation", after=breeding.generation)
    per_generation = asked.population * asked.rollouts * breeding.length  # decisions
    total = asked.generations * per_generation * config.env.action_repeat
    begin = time.monotonic()
    with Progress(f"{config.env.task}: {stage.name}", total) as progress:
        while breeding.generation < asked.generations:
            row = breeding.step()
            g = breeding.generation
            decisions = g * per_generation
            frames = decisions * config.env.action_repeat
            book.write({"generation": g, "frames": frames} | row)
            progress.update(frames, decisions, g, train_return=row["mean"], best=row["best"])
            if g % asked.eval_every == 0 or g == asked.generations:
                judged = breeding.evaluate()
                progress.update(frames, decisions, g, eval_return=judged["real_mean"])
                found = {"generation": g, "frames": frames, **row, **judged}
                found["minutes_here"] = (time.monotonic() - begin) / 60
                table.add(fixed | vars(stage) | found | provenance)
    breeding.close()


def main(argv: Sequence[str]) -> int:
    """Runs every stage."""
    asked = settings.load(argv, EvolveConfig, "evolve")
    if asked.run is None:
        raise ConfigError("run is not set: give run=RUN_DIR, the folder of a trained run")
    chosen = stages(asked)
    if not chosen:
        raise ConfigError("places=[dream] and models=[untrained] leave nothing to do: an untrained "
                          "model has no dream worth the name; add places=[real]")  # fmt: skip
    run, hardware = Path(asked.run), asked.hardware
    torch.set_num_threads(hardware.threads)
    learner, config = load_learner(run, hardware)
    out = Path(asked.out or run / "evolution")
    print(describe(hardware))
    provenance = {
        "commit": commit(), "hardware": machine(hardware),
        "command": command("agents.evolve", argv),
    }  # fmt: skip
    fixed = {"task": config.env.task, "run": run.name, "seed": asked.seed,
             "population": asked.population, "rollouts": asked.rollouts}  # fmt: skip
    for stage in chosen:
        model = learner if stage.model == "trained" else untrained(learner, config, asked.seed)
        run_stage(stage, asked, model, config, out, fixed, provenance)
    print(f"written to {out}: evolution.csv, a folder for each stage")
    return 0


def untrained(learner, config: settings.TrainConfig, seed: int):
    """A learner with the run's eye and dynamics that have learnt nothing."""
    torch.manual_seed(seed)
    fresh = make_learner(config, learner.model.eye.shape, learner.model.action_dim)
    fresh.model.eye.load_state_dict(learner.model.eye.state_dict())
    return fresh


if __name__ == "__main__":
    entry.run(main)
