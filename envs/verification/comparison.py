"""Differences of the tasks from dm_control: rewards, observations, positions and starts."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import ks_2samp

from envs import dm_control
from envs.engines.base import Engine
from envs.engines.cpu import CpuEngine
from envs.suite import make_task
from envs.suite.task import Task
from envs.verification import reference
from envs.verification.states import (
    MakeEngine,
    mixed_actions,
    move_balls,
    move_targets,
    scatter,
    start_episodes,
)


@dataclass(frozen=True)
class Errors:
    """Largest differences from dm_control over some states of a task.

    Attributes:
        states: number of states compared.
        reward: difference of rewards at the same state.
        proprio: difference of observation vectors at the same state.
        trajectory: difference of positions after the same actions from the same start.
        reward_range: lowest and highest reward, which shows if only zeros were compared.
    """

    states: int
    reward: float
    proprio: float
    trajectory: float
    reward_range: tuple[float, float]

    def within(self, tolerance: float) -> bool:
        """Return whether every difference is at most `tolerance`, and none is NaN."""
        return all(error <= tolerance for error in (self.reward, self.proprio, self.trajectory))


def compare_placed(name: str, states: int = 1000) -> Errors:
    """Compare rewards and observations at widely scattered states, without stepping."""
    task = make_task(name)
    sim = start_episodes(task, CpuEngine, states)
    scatter(sim, torch.Generator().manual_seed(0))
    move_balls(sim)
    sim.forward(torch.arange(states))
    move_targets(sim)
    proprio = flatten(task.proprio(sim), states)
    env = dm_control.load(name, seed=0)
    env.reset()
    rewards, proprio_error = [], 0.0
    for i in range(states):
        reference.copy_to(sim, i, env.physics)
        rewards.append(env.task.get_reward(env.physics))
        difference = np.abs(dm_control.observation(env) - proprio[i]).max()
        proprio_error = float(np.maximum(proprio_error, difference))  # keeps NaN
    reward_error = float(np.abs(task.reward(sim).numpy() - rewards).max())
    return Errors(states, reward_error, proprio_error, 0.0, (min(rewards), max(rewards)))


def compare_stepped(
    name: str,
    make_engine: MakeEngine = CpuEngine,
    num_envs: int = 5,
    steps: int = 200,
    resync: bool = False,
) -> Errors:
    """Step an engine and dm_control side by side with the same actions.

    Args:
        name: of the task.
        make_engine: makes the engine from a model and the number of environments.
        num_envs: N.
        steps: control steps, without action repeat.
        resync: copy dm_control's state to the engine before every step, to measure the error of
            one step instead of the trajectory's.
    """
    task = make_task(name)
    sim = start_episodes(task, make_engine, num_envs)
    others = [dm_control.load(name, seed) for seed in range(num_envs)]
    for env in others:
        env.reset()
    _copy_all(others, sim)
    low, high = sim.model.actuator_ctrlrange.T
    worst = {"reward": 0.0, "proprio": _proprio_error(task, sim, others), "trajectory": 0.0}
    rewards = []
    for action in mixed_actions(steps, num_envs, sim.model.nu, seed=0):
        control = (low + high) / 2 + (high - low) / 2 * action  # (N, A)
        if resync:
            _copy_all(others, sim)
        sim.ctrl.copy_(torch.as_tensor(control))
        sim.step(task.substeps(sim.model))
        rewards.append([env.step(c).reward for env, c in zip(others, control, strict=True)])
        positions = np.stack([env.physics.data.qpos for env in others])
        errors = {
            "reward": np.abs(task.reward(sim).cpu().numpy() - rewards[-1]).max(),
            "proprio": _proprio_error(task, sim, others),
            "trajectory": np.abs(sim.qpos.cpu().numpy() - positions).max(),
        }
        worst = {k: float(np.maximum(worst[k], errors[k])) for k in worst}  # keeps NaN
    return Errors(num_envs * steps, **worst, reward_range=(np.min(rewards), np.max(rewards)))


def start_p_value(name: str, episodes: int = 200) -> float:
    """Return a p-value for the hypothesis that episodes start as dm_control's do.

    It is the smallest of the two-sample Kolmogorov-Smirnov tests over the coordinates, times
    their number (Bonferroni), at most 1; 0 if a coordinate is constant in one and not the same in
    the other. dm_control's episodes use its own seeds 0, 1, ...
    """
    sim = start_episodes(make_task(name), CpuEngine, episodes)
    parts = [sim.qpos, sim.qvel, sim.act]
    for i in range(sim.model.nmocap):
        parts += [sim.mocap_pos[:, i], sim.mocap_quat[:, i]]
    parts += [values.flatten(1) for values in sim.expanded.values()]
    ours = torch.cat(parts, 1).numpy()  # (episodes, S)
    env = dm_control.load(name, seed=0)
    others = []
    for seed in range(episodes):
        env.task.random.seed(seed)
        env.reset()
        others.append(reference.start_state(env.physics, sim))
    return smallest_p_value(ours, np.stack(others))


def smallest_p_value(ours: np.ndarray, others: np.ndarray) -> float:
    """Return the corrected p-value of two samples of starts, (episodes, S) each."""
    varies = np.maximum(ours.std(0), others.std(0)) > 1e-9
    if not np.allclose(ours[:, ~varies], others[:, ~varies], atol=1e-9):
        return 0.0
    columns = zip(ours.T[varies], others.T[varies], strict=True)
    p = np.array([ks_2samp(a, b)[1] for a, b in columns])  # (varying coordinates,)
    return min(1.0, float(p.min()) * len(p))


def flatten(proprio: dict[str, torch.Tensor], num_envs: int) -> np.ndarray:
    """Return an observation's parts side by side, (N, P)."""
    parts = [part.reshape(num_envs, -1) for part in proprio.values()]
    return torch.cat(parts, 1).cpu().numpy()


def _copy_all(others: list[Any], sim: Engine) -> None:
    for i, env in enumerate(others):
        reference.copy_from(env.physics, sim, i)
    sim.forward(torch.arange(len(others), device=sim.device))


def _proprio_error(task: Task, sim: Engine, others: list[Any]) -> float:
    ours = flatten(task.proprio(sim), len(others))
    return float(np.abs(ours - np.stack([dm_control.observation(env) for env in others])).max())
