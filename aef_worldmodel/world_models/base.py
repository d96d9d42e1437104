"""The interface of every world model, and the registry of their names.

A world model filters frames into states, imagines states under a policy, and predicts rewards and
continuation. Agents, evaluation, probes and films use this interface alone, so a new world model is
one new file (examples/own_world_model.py). Shapes: N any batch, B sequences, T rows, H recurrent,
d latent, A action.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from aef_worldmodel.data.batch import Batch
from aef_worldmodel.utils.registry import Registry, Selectable

WORLD_MODELS: Registry[Any] = Registry("world model", "aef_worldmodel.world_models")

# features (N, H + d), and noise (N, A) if `imagine` was given any -> (action (N, A), ...)
ImaginedPolicy = Callable[..., tuple]


class State(NamedTuple):
    """Model state of N environments: recurrent h (N, H) and latent z (N, d), both float32."""

    recurrent: Tensor
    latent: Tensor

    @property
    def features(self) -> Tensor:
        """Return (..., H + d), the input of heads and agents."""
        return torch.cat([self.recurrent, self.latent], -1)

    def map(self, change: Callable[[Tensor], Tensor]) -> "State":
        """Return the state with both parts changed."""
        return State(change(self.recurrent), change(self.latent))


class Losses(NamedTuple):
    """The result of `WorldModel.loss`."""

    total: Tensor  # () the number to minimise
    states: State  # (B, T, H), (B, T, d): filtered states of every row, with gradients
    terms: dict[str, Tensor]  # name -> () parts of the loss; nats a frame, or as the name says


@dataclass(frozen=True)
class WorldModelConfig(Selectable):
    """Settings of a world model; each world model has its own subclass."""

    registry: ClassVar[Registry[Any]] = WORLD_MODELS


class WorldModel(nn.Module, ABC):
    """A recurrent world model of frames (C, H, W) uint8 and actions (A,) in [-1, 1].

    Args:
        config: architecture and objective, of the class's own `Config`.
        frame_shape: (C, H, W), or (P,) where the observations are vectors float32.
        action_dim: A.
    """

    Config: ClassVar[type[WorldModelConfig]]
    likelihood: str = "none"
    """What `log_prob` returns: "exact", "expanded" (a density in the expanded space), "bound" (a
    lower bound), or "none"."""

    def __init__(self, config: Any, frame_shape: tuple[int, ...], action_dim: int) -> None:
        super().__init__()
        self.frame_shape = tuple(frame_shape)
        self.config, self.action_dim = config, action_dim

    # -- sizes ---------------------------------------------------------------------------

    @property
    @abstractmethod
    def state_dims(self) -> tuple[int, int]:
        """Widths of the recurrent and the latent part of a state: H, d."""

    @property
    def feature_dim(self) -> int:
        """Width of `State.features`: H + d."""
        return sum(self.state_dims)

    # -- states --------------------------------------------------------------------------

    def initial(self, count: int) -> State:
        """Return the state before the first frame: zeros (N, H), (N, d)."""
        zeros = next(self.parameters()).new_zeros
        return State(*(zeros(count, width, dtype=torch.float32) for width in self.state_dims))

    @abstractmethod
    def transition(self, state: State, action: Tensor) -> Tensor:
        """Return the next recurrent state (N, H) after an action (N, A)."""

    @abstractmethod
    def see(self, recurrent: Tensor, frames: Tensor) -> State:
        """Return the states of frames (N, C, H, W) uint8, given their recurrent states (N, H)."""

    def observe(self, state: State, action: Tensor, frames: Tensor, first: Tensor) -> State:
        """Filter one step.

        Args:
            state: of the previous decision, (N, .).
            action: taken then, (N, A).
            frames: new ones, (N, C, H, W) uint8.
            first: where an episode begins and the state is forgotten, (N,) bool.
        """
        return self.see(self.transition(state, action) * ~first[:, None], frames)

    def begin(self, frames: Tensor, first: Tensor, recurrent: Tensor | None = None) -> State:
        """Return the states of first rows: frames (N, C, H, W), recurrent (N, H) where known."""
        if recurrent is None:
            recurrent = self.initial(len(frames)).recurrent
        return self.see(recurrent * ~first[:, None], frames)

    @abstractmethod
    def predict(
        self,
        state: State,
        action: Tensor,
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> State:
        """Return the state after an action (N, A), without a frame.

        The latent is drawn from the prior, whose noise `temperature` scales; at 0 it is the
        prior's centre and the prediction is deterministic.
        """

    def filter_frames(
        self,
        frames: Tensor,
        actions: Tensor,
        first: Tensor | None = None,
        start: Tensor | None = None,
    ) -> State:
        """Return the filtered states (B, T, .) of every row of sequences.

        Args:
            frames: (B, T, C, H, W) uint8.
            actions: (B, T, A).
            first: where an episode begins, (B, T) bool; None for nowhere.
            start: recurrent state of the first row, (B, H); None for zeros.
        """
        size, length = frames.shape[:2]
        if first is None:
            first = torch.zeros(size, length, dtype=torch.bool, device=frames.device)
        start = self.initial(size).recurrent if start is None else start
        return self.filter_rows(frames, actions, first, start)

    def filter_rows(self, frames: Tensor, actions: Tensor, first: Tensor, start: Tensor) -> State:
        """Filter as `filter_frames`, one row after another; a model may do many rows at once."""
        state, states = self.begin(frames[:, 0], first[:, 0], start), []
        states.append(state)
        for t in range(1, frames.shape[1]):
            state = self.observe(state, actions[:, t - 1], frames[:, t], first[:, t])
            states.append(state)
        return State(*(torch.stack(part, 1) for part in zip(*states, strict=True)))

    def imagine(
        self,
        start: State,
        policy: ImaginedPolicy,
        horizon: int,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
        gradient_limit: float | None = None,
        policy_noise: Tensor | None = None,
    ) -> tuple[State, list[tuple]]:
        """Roll the prior forward under `policy(features (N, F)) -> (action (N, A), ...)`.

        Differentiable in the policy and the model. With a `gradient_limit`, gradients of imagined
        states pass through `clip_to_median_norm` on their way back. A `policy_noise` (horizon, N,
        A) is handed to the policy after the features, a decision at a time.

        Returns the states (horizon + 1, N, .), the start first, and what the policy returned.
        """
        states, decisions = [start], []
        for t in range(horizon):
            drawn = () if policy_noise is None else (policy_noise[t],)
            decision = policy(states[-1].features, *drawn)
            state = self.predict(states[-1], decision[0], temperature, generator)
            limit_gradients(state, gradient_limit)
            states.append(state)
            decisions.append(decision)
        return State(*(torch.stack(part) for part in zip(*states, strict=True))), decisions

    # -- predictions ---------------------------------------------------------------------

    @abstractmethod
    def decode(self, state: State) -> Tensor:
        """Return the mean frames (..., C, H, W) of states (..., .), float in [0, 1]."""

    @abstractmethod
    def reward(self, state: State) -> Tensor:
        """Return the expected reward that arrives with the state (...)."""

    @abstractmethod
    def continuation(self, state: State) -> Tensor:
        """Return the probability that the episode goes on from the state (...)."""

    # -- learning ------------------------------------------------------------------------

    @abstractmethod
    def loss(self, batch: Batch) -> Losses:
        """Return the loss of a batch of sequences, the filtered states and the loss's terms."""

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return all parameters by the part they belong to; gradients are clipped by group."""
        return {"model": list(self.parameters())}

    def autocast_modules(self) -> list[nn.Module]:
        """Return the parts that only ever compute under autocast.

        A frozen copy of the model keeps their weights in the type that autocast casts them to.
        """
        return []

    def set_mean(self, frames: Tensor) -> None:
        """Take the mean of frames (N, C, H, W) uint8 as the centre of preprocessing."""

    def log_prob(self, frames: Tensor, actions: Tensor, dequantise: bool = True) -> Any:
        """Return the log-likelihood of videos given their actions, where the model has one."""
        raise NotImplementedError(f"{type(self).__name__} has no likelihood of videos")

    def observe_log_prob(
        self, state: State, action: Tensor, frames: Tensor, first: Tensor
    ) -> tuple[State, tuple[Tensor, Tensor, Tensor]]:
        """Filter one step as `observe`, and return the parts of the frames' log-density, (N,) each.

        The parts are those of `log_prob`, frame by frame, where the model has a likelihood.
        """
        raise NotImplementedError(f"{type(self).__name__} has no likelihood of single frames")

    def untrained_dynamics(self) -> "WorldModel":
        """Return a copy with freshly drawn dynamics: the control of every claim about them."""
        raise NotImplementedError(f"{type(self).__name__} has no control with untrained dynamics")


def make_world_model(
    config: WorldModelConfig, frame_shape: tuple[int, ...], action_dim: int
) -> WorldModel:
    """Return the world model that the settings belong to.

    Raises ValueError for frames it cannot see.
    """
    kinds = {WORLD_MODELS[name].Config: WORLD_MODELS[name] for name in WORLD_MODELS}
    return kinds[type(config)](config, frame_shape, action_dim)


def limit_gradients(state: State, limit: float | None) -> None:
    """Clip the gradients that come back through a state; None clips nothing."""
    if limit is None:
        return
    for part in state:
        if part.requires_grad:
            part.register_hook(lambda gradient: clip_to_median_norm(gradient, limit))


def clip_to_median_norm(gradient: Tensor, limit: float) -> Tensor:
    """Clip gradients of N rollouts (N, .) to `limit` times the median norm of those that have any.

    Where a rollout is chaotic, its gradient grows with every decision it passes back through, and
    the mean over a batch is dominated by a few rollouts (Metz et al., "Gradients are not all you
    need", 2021).
    """
    length = gradient.norm(dim=-1, keepdim=True)  # (N, 1)
    typical = length.masked_fill(length == 0, float("nan")).nanmedian().nan_to_num()
    return gradient * (limit * typical / length.clamp(min=1e-30)).clamp(max=1)
