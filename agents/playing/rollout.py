"""The one loop that plays: filter the frames, act, step the environments.

Training, evaluation, collection, probing and evolution all play through `EnvLoop`.
Shapes: N environments, A action.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

from aef_worldmodel.world_models.base import State, WorldModel
from agents.base import Policy
from agents.learning.learner import Learner

Observe = Callable[[State, Tensor, Tensor, Tensor], State]  # as WorldModel.observe


class Transition(NamedTuple):
    """One decision in N environments.

    The first part is the row that a replay stores: what was seen and what was done. The second is
    the outcome of the action.
    """

    frame: Tensor  # (N, C, H, W) uint8
    action: Tensor  # (N, A)
    reward: Tensor  # (N,) that arrived with the frame
    first: Tensor  # (N,) bool: an episode begins
    state: State  # (N, .) after the frame
    next_reward: Tensor  # (N,) of the action
    terminated: Tensor  # (N,) bool
    truncated: Tensor  # (N,) bool
    final_frame: Tensor | None  # (N, C, H, W), the last frames of episodes that ended, if any did
    steps: Tensor | None  # (N,) simulator steps made, where they may be fewer than action_repeat

    @property
    def done(self) -> Tensor:
        """Where an episode ended, (N,) bool."""
        return self.terminated | self.truncated


class EnvLoop:
    """A policy in a batch of environments, through a world model's states.

    Args:
        env: a vector environment with torch tensors and same-step autoreset.
        learner: its averaged model filters the frames; None for policies that look at nothing.
        policy: chooses the actions; it may be replaced between steps.
        observe: filters the frames instead of the model's own `observe`, for instance
            `Doubt.observe`; None for that of the model.
    """

    FIELDS = ("frame", "action", "reward", "first")  # where the loop stands, besides the state

    def __init__(
        self, env: Any, learner: Learner | None, policy: Policy, observe: Observe | None = None
    ) -> None:
        self.env, self.learner, self.policy, self.observe = env, learner, policy, observe
        self.action_dim = env.single_action_space.shape[0]

    @property
    def model(self) -> WorldModel | None:
        """The averaged world model, if there is one."""
        return None if self.learner is None else self.learner.model

    def reset(self, seed: int | list[int] | None = None) -> None:
        """Begin an episode in every environment."""
        self.frame, _ = self.env.reset() if seed is None else self.env.reset(seed=seed)
        count, device = self.env.num_envs, self.frame.device
        nothing = torch.zeros(count, 0, device=device)
        self.state = State(nothing, nothing) if self.model is None else self.model.initial(count)
        self.action = torch.zeros(count, self.action_dim, device=device)
        self.reward = torch.zeros(count, device=device)
        self.first = torch.ones(count, dtype=torch.bool, device=device)

    @torch.no_grad()
    def step(self) -> Transition:
        """Make one decision in every environment."""
        with self._autocast():
            if self.model is not None:
                observe = self.observe or self.model.observe
                self.state = observe(self.state, self.action, self.frame, self.first)
            action = self.policy.act(self.state, self.first)
        frame, reward, terminated, truncated, info = self.env.step(action)
        done = terminated | truncated
        final = info["final_obs"] if done.any() else None
        made = Transition(
            self.frame,
            action,
            self.reward,
            self.first,
            self.state,
            reward,
            terminated,
            truncated,
            final,
            info.get("frames"),
        )
        self.frame, self.action, self.first = frame, action, done
        self.reward = reward if final is None else reward.masked_fill(done, 0)
        return made

    @torch.no_grad()
    def last_recurrent(self, made: Transition) -> Tensor:
        """Return the recurrent states (N, H) that belong to a transition's final frames."""
        assert self.model is not None
        with self._autocast():
            return self.model.predict(made.state, made.action).recurrent

    @torch.no_grad()
    def last_state(self, made: Transition) -> State:
        """Return the states (N, .) of a transition's final frames."""
        assert self.model is not None and made.final_frame is not None
        nowhere = torch.zeros_like(made.first)
        with self._autocast():
            return self.model.observe(made.state, made.action, made.final_frame, nowhere)

    def _autocast(self) -> AbstractContextManager:
        return nullcontext() if self.learner is None else self.learner.autocast()
