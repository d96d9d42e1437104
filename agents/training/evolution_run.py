"""One evolution of a controller in a finished world model, with its checkpoints.

Shapes: K controllers of P parameters each.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aef_worldmodel.utils.checkpoint import list_checkpoints, load_latest, save_checkpoint
from aef_worldmodel.utils.config.schema import ConfigError
from aef_worldmodel.world_models.base import State
from agents.algorithms.cmaes.controller import Controller, ControllerPolicy, Reads
from agents.algorithms.cmaes.evolution import Evolution, imagined_returns
from agents.learning.learner import Learner
from agents.playing.env_factory import is_discrete, make_envs
from agents.playing.evaluation import run_episodes, score
from agents.training.seeds import (
    EVOLUTION,
    EVOLUTION_EVALUATION,
    EVOLUTION_NOISE,
    HASHED,
    SPACED,
)
from envs.seeds import env_seeds

SAVED_SETTINGS = (
    "population",
    "rollouts",
    "hidden",
    "step",
    "seed",
)  # fixed by the first generation


@dataclass(frozen=True)
class Stage:
    """Where and how one evolution takes place."""

    place: str
    """dream or real: where controllers are judged."""
    model: str
    """trained or untrained dynamics."""
    reads: Reads
    """What controllers read."""
    temperature: float
    """Of imagined rollouts; 0 in the real environments, which have none."""

    @property
    def name(self) -> str:
        """The stage's folder."""
        at = f"-{self.temperature:g}" if self.place == "dream" else ""
        return f"{self.place}{at}-{self.model}-{self.reads}"


class EvolutionRun:
    """A stage at work.

    Args:
        stage: what evolves where.
        settings: of the command, see `agents.evolve`.
        learner: holds the world model.
        env: settings of the run's environments.
        folder: of the stage.

    Raises:
        ConfigError: the folder holds a stage of other settings.
    """

    def __init__(
        self, stage: Stage, settings: Any, learner: Learner, env: Any, folder: Path
    ) -> None:
        self.stage, self.settings, self.learner, self.folder = stage, settings, learner, folder
        length = "horizon" if stage.place == "dream" else "decisions"
        self.saved_settings = {name: getattr(settings, name) for name in (*SAVED_SETTINGS, length)}
        saved = list_checkpoints(folder / "checkpoints")
        found = load_latest(folder / "checkpoints", "evolution") if saved else None
        state = found.state if found else {}
        self.kind = str(found.meta.get("seeds", SPACED)) if found else HASHED  # of seeds
        self._refuse_other(state.get("settings", self.saved_settings))
        hardware = settings.hardware
        self.env = make_envs(env, settings.population * settings.rollouts, hardware)
        self.eval_env = make_envs(env, 2 * settings.eval_episodes, hardware)
        self.start_env = make_envs(env, settings.rollouts, hardware)
        self.controller = Controller(
            *learner.model.state_dims,
            learner.model.action_dim,
            stage.reads,
            settings.hidden,
            is_discrete(self.env),
        )
        size, population = self.controller.size, settings.population
        self.evolution = Evolution(size, population, settings.step, settings.seed)
        if saved:
            self.evolution.load_state_dict(state["evolution"])

    def _refuse_other(self, began: Mapping[str, float | None]) -> None:
        for name, now in self.saved_settings.items():
            if began[name] != now:
                was, now = ("null" if value is None else value for value in (began[name], now))
                raise ConfigError(
                    f"{self.folder} began with {name}={was}, not {name}={now}: give {name}={was} "
                    "to continue it, or out=FOLDER for another evolution"
                )

    @property
    def generation(self) -> int:
        """Generations so far."""
        return len(self.evolution.returns_history)

    @property
    def length(self) -> int:
        """Decisions of an episode that a controller is judged by."""
        if self.stage.place == "dream":
            return self.settings.horizon
        whole = self.env.episode_decisions
        return min(whole, self.settings.decisions or whole)

    def seeds(self) -> list[int]:
        """Return the seeds of this generation's start states, one for each rollout."""
        rollouts, seed = self.settings.rollouts, self.settings.seed
        place = self.generation * rollouts
        return env_seeds(EVOLUTION.envs(seed, place, rollouts, self.kind), rollouts)

    def returns(self, parameters: Tensor) -> Tensor:
        """Return the mean return (K,) of controllers (K, P)."""
        if self.stage.place == "real":
            policy = ControllerPolicy(self.controller, parameters)
            seeds = self.seeds() * len(parameters)  # environment k R + r: controller k, start r
            played = run_episodes(
                self.learner, policy, self.env, seeds, filmed=1, decisions=self.length
            )
            return played.returns.view(len(parameters), -1).mean(1)
        return imagined_returns(
            self.learner.model,
            self.controller,
            parameters,
            self._starts(),
            self.length,
            self.stage.temperature,
        )

    def _starts(self) -> State:
        """Return states of first frames of real episodes (S, .)."""
        frame, _ = self.start_env.reset(seed=self.seeds())
        first = torch.ones(len(frame), dtype=torch.bool, device=frame.device)
        return self.learner.model.begin(frame, first)

    @torch.no_grad()
    def step(self) -> dict[str, float]:
        """Evolve a generation and save it; return its best and mean return."""
        torch.manual_seed(EVOLUTION_NOISE.of(self.settings.seed, self.generation, self.kind))
        parameters = self.evolution.ask().to(self.learner.device)
        with self.learner.autocast():
            returns = self.returns(parameters)
        self.evolution.tell(returns)
        state = {
            "evolution": self.evolution.state_dict(),
            "mean": self.evolution.mean,
            "elite": self.evolution.elite,
            "settings": self.saved_settings,
        }
        folder = self.folder / "checkpoints"
        save_checkpoint(folder, self.generation, state, {"kind": "evolution", "seeds": self.kind})
        return {
            "best": returns.max().item(),
            "mean": returns.mean().item(),
            "step": self.evolution.distribution[1].mean().item(),
        }

    def evaluate(self) -> dict[str, float]:
        """Return real returns of the mean controller and of the last generation's best."""
        both = torch.stack([self.evolution.mean, self.evolution.elite]).to(self.learner.device)
        policy = ControllerPolicy(self.controller, both)
        count = self.eval_env.num_envs
        seeds = EVOLUTION_EVALUATION.envs(self.settings.seed, 0, count, self.kind)
        played = run_episodes(self.learner, policy, self.eval_env, seeds, filmed=1)
        (mean, mean_std), (elite, elite_std) = map(score, played.returns.view(2, -1))
        return {
            "real_mean": mean,
            "real_mean_std": mean_std,
            "real_elite": elite,
            "real_elite_std": elite_std,
        }

    def close(self) -> None:
        """Close the environments."""
        for env in (self.env, self.eval_env, self.start_env):
            env.close()
