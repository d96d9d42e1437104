"""From settings to a learner: the world model, the agent and what they are made for."""

from functools import partial
from typing import Any

import torch

from aef_worldmodel.utils.compiling import compile_problem
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.world_models.base import WorldModel, make_world_model
from aef_worldmodel.world_models.objectives import Objective
from agents.base import Agent, AgentSpec
from agents.config.train import TrainConfig
from agents.learning.learner import Learner
from agents.optimisation import update_kernels
from agents.registry import AGENTS, agent_name

WORTH_COMPILING = 2_000  # updates of a run: compiling takes about as long as it saves in half


def make_model(config: TrainConfig, frame_shape: tuple[int, ...], action_dim: int) -> WorldModel:
    """Make the world model of frames (C, H, W), or (P,), and A actions, on the run's device.

    Raises UserError if there is no such world model of such frames.
    """
    try:
        model = make_world_model(config.world_model, frame_shape, action_dim)
    except ValueError as error:
        raise UserError(f"cannot make the world model: {error}") from error
    return model.to(torch.device(config.hardware.device))


def compiles(config: TrainConfig) -> bool:
    """Return whether a run compiles its updates: as asked, else if it pays and works here."""
    asked = config.hardware.compile
    if asked is not None:
        return asked
    updates = config.frames / config.frames_per_update
    return (
        updates >= WORTH_COMPILING
        and config.hardware.device == "cpu"
        and compile_problem(config.hardware.device) is None
    )


def make_spec(
    config: TrainConfig, model: WorldModel, discrete: bool, compiled: bool = False
) -> AgentSpec:
    """Return what the run's agent is made for."""
    device = torch.device(config.hardware.device)
    return AgentSpec(
        state_dims=model.state_dims,
        action_dim=model.action_dim,
        discrete=discrete,
        device=device,
        kernels=partial(update_kernels, device, str(config.hardware.precision), compiled),
        seed=config.seed,
        num_envs=config.hardware.num_envs,
        batch_size=config.replay.batch_size,
        sequence_length=config.replay.sequence_length,
        actor_lr=config.lr.actor,
        critic_lr=config.lr.critic,
        actor_ema=config.ema.actor,
        critic_ema=config.ema.critic,
    )


def make_learner(
    config: TrainConfig,
    frame_shape: tuple[int, ...],
    action_dim: int,
    discrete: bool = False,
    model: WorldModel | None = None,
    compiled: bool = False,
) -> Learner:
    """Make what a run learns with.

    Args:
        config: the run's settings.
        frame_shape: (C, H, W) of uint8 frames, or (P,) of states float32.
        action_dim: A, or the number of choices.
        discrete: actions are choices.
        model: takes the place of the world model that the settings name.
        compiled: updates run in compiled kernels.

    Raises:
        UserError: the agent cannot act so, or the world model cannot see such frames.
    """
    model = make_model(config, frame_shape, action_dim) if model is None else model
    spec = make_spec(config, model, discrete, compiled)
    agent = AGENTS[agent_name(config.agent)](config.agent, spec)
    objective = Objective(config.objective.overshoot, config.objective.staged)
    try:
        objective.check(model)
    except ValueError as error:
        raise UserError(str(error)) from error
    return Learner(
        model,
        agent,
        objective,
        lr=config.lr.model,
        ema=config.ema.model,
        precision=str(config.hardware.precision),
        threads=config.hardware.threads or 1,
        compiled=compiled,
    )


def playing_agent(config: Any, learner: Learner) -> Agent:
    """Return the agent of settings `config` that plays the learner's run; None for its own.

    Raises UserError if what was learnt cannot play so.
    """
    trained = learner.agent
    if config is None or config is trained.config:
        return trained
    return AGENTS[agent_name(config)].for_run(config, trained, trained.spec)
