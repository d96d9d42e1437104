"""agent=cmaes: a small controller evolved by CMA-ES, the population as one batch.

Covariance matrix adaptation (Hansen & Ostermeier 2001) of a controller's parameters, as Ha &
Schmidhuber 2018, section 2.4, with the `cma` package: `pip install 'aef-worldmodel[cmaes]'`. While
`agents.train` runs, generations live in the dream of the moment; `agents.evolve` evolves in a
finished model, in its dream or in the real worlds.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from aef_worldmodel.dynamics import Dynamics, State
from aef_worldmodel.errors import UserError
from agents.agent import Agent, Rows
from agents.controller import Controller, ControllerPolicy, Reads
from agents.imagination import lambda_returns
from agents.policy import Policy
from agents.schema import ConfigError

FULL_COVARIANCE = 200  # parameters up to which correlations are learnt, too
LEAST_STEP = 0.01  # of a parameter: the dream changes, evolution must go on

FIXED = ("reads", "hidden", "step")  # what controllers, and the steps between them, are made of


@dataclass(frozen=True)
class EvolutionConfig:
    """A controller evolved in the dream while the world model learns."""

    kind: Literal["cmaes"] = "cmaes"
    """Which agent this is."""
    population: int = 32
    """Controllers of a generation, K."""
    step: float = 0.1
    """First standard deviation of a parameter; the first mean is 0."""
    hidden: int = 0
    """Width of the controller's hidden layer; 0 for a linear one."""
    reads: Reads = "hz"
    """What the controller sees: hz, h or z."""
    every: int = 4
    """Updates of the world model between generations."""
    horizon: int = 40
    """Imagined decisions of an evaluation."""
    starts: int = 16
    """Replayed states each controller starts from, the same for all."""
    temperature: float = 1.0
    """Of the dream: factor on the prior's standard deviation."""

    def __post_init__(self) -> None:
        """Raise ConfigError for an evolution that cannot be."""
        least = {"population": 4, "hidden": 0, "every": 1, "horizon": 1, "starts": 1}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ConfigError(f"agent.{name}={getattr(self, name)} must be at least {value}")
        if self.step <= 0 or self.temperature < 0:
            raise ConfigError(
                f"agent.step={self.step} must be above 0, agent.temperature={self.temperature} "
                "at least 0"
            )


class Evolution:
    """Asks for controllers and is told their returns. The seed and what it was told are its whole
    state: going back to one repeats the generations.

    Args:
        size: P, parameters of a controller.
        population: K.
        step: first standard deviation.
        seed: of its random numbers.
    """

    def __init__(self, size: int, population: int, step: float, seed: int):
        try:
            import cma
        except ImportError as error:
            raise UserError("agent=cmaes needs cma: pip install 'aef-worldmodel[cmaes]'") from error
        generator = np.random.default_rng(seed)
        options = {
            "popsize": population, "seed": np.nan, "verbose": -9, "minstd": LEAST_STEP,
            "CMA_diagonal": size > FULL_COVARIANCE,
            "randn": lambda *shape: generator.standard_normal(shape),
        }  # fmt: skip
        self.strategy = cma.CMAEvolutionStrategy(np.zeros(size), step, options)
        self.size, self.population = size, population
        self.asked: list[np.ndarray] = []
        self.told: list[Tensor] = []  # returns (K,) of each generation
        self.elite = torch.zeros(size)  # the best controller of the last generation

    def ask(self) -> Tensor:
        """A generation of controllers (K, P)."""
        self.asked = self.strategy.ask()
        return torch.tensor(np.stack(self.asked), dtype=torch.float32)

    def tell(self, returns: Tensor) -> None:
        """Their returns (K,): higher is better.

        Raises UserError if one of them is not a finite number.
        """
        if not returns.isfinite().all():
            raise UserError("a controller's return became infinite or no number: the world model "
                            "dreams of rewards without bounds; train it longer")  # fmt: skip
        returns = returns.detach().cpu().double()
        self.strategy.tell(self.asked, (-returns).tolist())
        self.told.append(returns)
        self.elite = torch.tensor(self.asked[int(returns.argmax())], dtype=torch.float32)

    @property
    def mean(self) -> Tensor:
        """The mean controller (P,)."""
        return torch.tensor(self.strategy.mean, dtype=torch.float32)

    @property
    def distribution(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviations of a controller's parameters, (P,) each."""
        return self.mean, torch.tensor(self.strategy.stds, dtype=torch.float32)

    def state_dict(self) -> dict[str, Tensor]:
        """The returns told so far, (G, K)."""
        told = torch.stack(self.told) if self.told else torch.zeros(0, self.population).double()
        return {"told": told}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Lives through the generations again; for an evolution that was told nothing yet."""
        for returns in state["told"]:
            self.ask()
            self.tell(returns)


def dreamt_returns(
    dream: Dynamics, controller: Controller, parameters: Tensor, start: State, horizon: int,
    temperature: float, generator: torch.Generator | None = None,
) -> Tensor:  # fmt: skip
    """Mean undiscounted return (K,) of each controller (K, P) over dreams from all the states
    (S, .). An imagined end of an episode ends the return."""
    count = len(start.latent)
    policy = ControllerPolicy(controller, parameters)
    width, like = start.recurrent.shape[-1], start.latent
    begin = State(*(part.repeat(len(parameters), 1) for part in start))  # (K S, .)
    first = torch.zeros(len(begin.latent), dtype=torch.bool, device=like.device)

    def play(features: Tensor) -> tuple[Tensor]:
        return (policy.act(State(features[:, :width], features[:, width:]), first),)

    states, _ = dream.imagine(begin, play, horizon, temperature, generator)
    arrived = State(states.recurrent[1:], states.latent[1:])
    reward, cont = dream.reward(arrived), dream.continuation(arrived)  # (horizon, K S)
    nothing = reward.new_zeros(horizon + 1, reward.shape[1])
    total = lambda_returns(reward, cont, nothing, discount=1.0, trace=1.0)[0]
    return total.view(len(parameters), count).mean(1)


class CmaAgent(Agent):
    """Evolves beside the world model, in its dreams of the moment.

    Args:
        config: how.
        widths: H, d, A.
        seed: of its random numbers.
        device: where the dreams are.
        discrete: actions are choices.
    """

    def __init__(
        self, config: EvolutionConfig, widths: tuple[int, int, int], seed: int,
        device: torch.device, discrete: bool = False,
    ):  # fmt: skip
        self.config, self.device = config, device
        self.controller = Controller(*widths, config.reads, config.hidden, discrete)
        self.evolution = Evolution(self.controller.size, config.population, config.step, seed)
        self.updates = 0

    def policy(self, explore: bool) -> Policy:
        """The mean controller; exploring, a draw around it for each world and episode."""
        if explore:
            return DrawnPolicy(self)
        return ControllerPolicy(self.controller, self.evolution.mean[None].to(self.device))

    @torch.no_grad()
    def learn(self, rows: Rows, dream: Dynamics) -> dict[str, Tensor]:
        """Every so many updates a generation."""
        self.updates += 1
        if self.updates % self.config.every:
            return {}
        c, states = self.config, State(rows["recurrent"], rows["latent"])
        pool = State(*(part.flatten(0, 1) for part in states))
        chosen = torch.randint(len(pool.latent), (c.starts,), device=self.device)
        start = State(*(part[chosen] for part in pool))
        parameters = self.evolution.ask().to(self.device)
        returns = dreamt_returns(
            dream, self.controller, parameters, start, c.horizon, c.temperature
        )
        self.evolution.tell(returns)
        return {
            "dream_best": returns.max(), "dream_mean": returns.mean(),
            "parameter_step": self.evolution.distribution[1].mean(),
        }  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """What the evolution was told."""
        made = {name: getattr(self.config, name) for name in FIXED}
        return {"evolution": self.evolution.state_dict(), "updates": self.updates, "made": made}

    def load_state_dict(self, state: dict[str, Any], source: Path) -> None:
        """Goes to a saved state. Raises UserError, naming `source`, for another population or
        other controllers."""
        told = state["evolution"]["told"]
        made = {"population": told.shape[1]} | state.get("made", {})
        for name, value in made.items():
            if value != getattr(self.config, name):
                raise UserError(
                    f"{source} was made with agent.{name}={value}, not "
                    f"{getattr(self.config, name)}: use the settings it was trained with"
                )
        self.evolution.load_state_dict(state["evolution"])
        self.updates = state["updates"]


class DrawnPolicy(Policy):
    """A controller for each world, drawn anew from the evolution's when an episode begins."""

    def __init__(self, agent: CmaAgent):
        self.agent = agent
        self.parameters: Tensor | None = None  # (N, P)

    @torch.no_grad()
    def act(self, state: State, first: Tensor) -> Tensor:
        """(N, A)."""
        agent, new = self.agent, first
        if self.parameters is None or len(self.parameters) != len(first):
            self.parameters = first.new_zeros(len(first), agent.controller.size).float()
            new = torch.ones_like(first)
        if new.any():
            noise = torch.randn_like(self.parameters[new])
            mean, stds = (part.to(first.device) for part in agent.evolution.distribution)
            self.parameters[new] = mean + stds * noise
        return ControllerPolicy(agent.controller, self.parameters).act(state, first)

    def state_dict(self) -> dict[str, Tensor]:
        """The controllers that play."""
        return {} if self.parameters is None else {"parameters": self.parameters}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Goes back to them."""
        self.parameters = state.get("parameters")
