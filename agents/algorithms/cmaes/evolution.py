"""Covariance matrix adaptation of a controller's parameters, with the `cma` package.

Hansen and Ostermeier, "Completely derandomized self-adaptation in evolution strategies", 2001, as
in Ha and Schmidhuber, "World models", 2018, section 2.4.

Shapes: K controllers of P parameters each, S states, A action.
"""

import numpy as np
import torch
from torch import Tensor

from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.world_models.base import State, WorldModel
from agents.algorithms.cmaes.controller import Controller, ControllerPolicy
from agents.algorithms.imagination.returns import lambda_returns

FULL_COVARIANCE = 200  # parameters up to which correlations are learnt, too
LEAST_STEP = 0.01  # of a parameter: the model changes, so evolution must go on


class Evolution:
    """Proposes controllers and learns from their returns.

    The seed and the returns are the whole state: restoring them repeats the generations.

    Args:
        size: P, parameters of a controller.
        population: K.
        step: first standard deviation.
        seed: of its random numbers.

    Raises:
        UserError: the `cma` package is missing.
    """

    def __init__(self, size: int, population: int, step: float, seed: int) -> None:
        try:
            import cma
        except ImportError as error:
            raise UserError("agent=cmaes needs cma: pip install 'aef-worldmodel[cmaes]'") from error
        generator = np.random.default_rng(seed)
        options = {
            "popsize": population,
            "seed": np.nan,
            "verbose": -9,
            "minstd": LEAST_STEP,
            "CMA_diagonal": size > FULL_COVARIANCE,
            "randn": lambda *shape: generator.standard_normal(shape),
        }
        self.strategy = cma.CMAEvolutionStrategy(np.zeros(size), step, options)
        self.size, self.population = size, population
        self.proposed: list[np.ndarray] = []
        self.returns_history: list[Tensor] = []  # returns (K,) of each generation
        self.elite = torch.zeros(size)  # the best controller of the last generation

    def ask(self) -> Tensor:
        """Return a generation of controllers (K, P)."""
        self.proposed = self.strategy.ask()
        return torch.tensor(np.stack(self.proposed), dtype=torch.float32)

    def tell(self, returns: Tensor) -> None:
        """Learn from the returns (K,) of the last generation: higher is better.

        Raises UserError if one of them is not a finite number.
        """
        if not returns.isfinite().all():
            raise UserError(
                "a controller's return is infinite or not a number: the world model imagines "
                "rewards without bounds; train it longer"
            )
        returns = returns.detach().cpu().double()
        self.strategy.tell(self.proposed, (-returns).tolist())
        self.returns_history.append(returns)
        self.elite = torch.tensor(self.proposed[int(returns.argmax())], dtype=torch.float32)

    @property
    def mean(self) -> Tensor:
        """The mean controller (P,)."""
        return torch.tensor(self.strategy.mean, dtype=torch.float32)

    @property
    def distribution(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviations of a controller's parameters, (P,) each."""
        return self.mean, torch.tensor(self.strategy.stds, dtype=torch.float32)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the returns so far, (G, K)."""
        none = torch.zeros(0, self.population).double()
        return {"told": torch.stack(self.returns_history) if self.returns_history else none}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Repeat the saved generations; for an evolution that has none yet."""
        for returns in state["told"]:
            self.ask()
            self.tell(returns)


def imagined_returns(
    model: WorldModel,
    controller: Controller,
    parameters: Tensor,
    start: State,
    horizon: int,
    temperature: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the mean undiscounted return (K,) of each controller (K, P) in imagination.

    Every controller starts from all the states (S, .). An imagined end of an episode ends the
    return.
    """
    count = len(start.latent)
    policy = ControllerPolicy(controller, parameters)
    width = start.recurrent.shape[-1]
    begin = start.map(lambda part: part.repeat(len(parameters), 1))  # (K S, .)
    first = torch.zeros(len(begin.latent), dtype=torch.bool, device=begin.latent.device)

    def play(features: Tensor) -> tuple[Tensor]:
        return (policy.act(State(features[:, :width], features[:, width:]), first),)

    states, _ = model.imagine(begin, play, horizon, temperature, generator)
    arrived = states.map(lambda part: part[1:])
    reward, cont = model.reward(arrived), model.continuation(arrived)  # (horizon, K S)
    nothing = reward.new_zeros(horizon + 1, reward.shape[1])
    total = lambda_returns(reward, cont, nothing, discount=1.0, return_lambda=1.0)[0]
    return total.view(len(parameters), count).mean(1)
