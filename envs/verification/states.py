"""States and actions in which the tasks are compared with dm_control."""

from collections.abc import Callable

import mujoco
import numpy as np
import torch

from envs.engines.base import Engine
from envs.engines.episode_rng import EpisodeRng
from envs.engines.mjcf import compile_model
from envs.suite.task import Task

MakeEngine = Callable[[mujoco.MjModel, int], Engine]  # from a model and the number of environments


def start_episodes(task: Task, make_engine: MakeEngine, episodes: int) -> Engine:
    """Return environments at the start of N episodes, with seeds 0 to N - 1."""
    sim = make_engine(compile_model(task.spec()), episodes)
    seeds = torch.arange(episodes)
    env_ids = seeds.to(sim.device)
    sim.reset(env_ids)
    task.reset(sim, env_ids, EpisodeRng(seeds, torch.zeros_like(seeds), sim.device, sim.dtype))
    return sim


def mixed_actions(steps: int, num_envs: int, actuators: int, seed: int) -> np.ndarray:
    """Return actions in [-1, 1], (steps, N, A): random in even environments, waves in odd ones.

    Waves reach what random actions seldom do: speed, height, the ends of the joints.
    """
    generator = np.random.default_rng(seed)
    actions = generator.uniform(-1, 1, (steps, num_envs, actuators))
    phase = generator.uniform(0, 2 * np.pi, (num_envs, actuators))
    period = generator.uniform(10, 60, (num_envs, actuators))
    waves = np.sin(phase + 2 * np.pi * np.arange(steps)[:, None, None] / period)
    actions[:, 1::2] = np.clip(1.5 * waves, -1, 1)[:, 1::2]
    return actions


def scatter(sim: Engine, generator: torch.Generator) -> None:
    """Move environments from the start of episodes to states in which rewards differ widely.

    Every fourth environment stays as it is. In the others, hinges and limited joints go anywhere,
    in half of them nearly to zero (upright, for most models), and velocities are of the order of
    0.1, 1 or 10. Controls are random.
    """
    model, num_envs = sim.model, sim.num_envs
    start = [sim.qpos[::4].clone(), sim.qvel[::4].clone()]
    near = torch.where(torch.arange(num_envs) % 4 < 3, 1.0, 0.05).double()  # (N,)
    for joint in range(model.njnt):
        limited, address = model.jnt_limited[joint], model.jnt_qposadr[joint]
        if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE:
            continue
        low, high = model.jnt_range[joint] if limited else (-np.pi, np.pi)
        if not limited and model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_SLIDE:
            low, high = -0.2, 0.2
        part = torch.rand(num_envs, generator=generator, dtype=torch.double)
        sim.qpos[:, address] = near * (low + (high - low) * part)
    scale = 10.0 ** (torch.arange(num_envs) % 3 - 1).double()[:, None]  # (N, 1)
    sim.qvel[:] = scale * torch.randn(sim.qvel.shape, generator=generator, dtype=torch.double)
    sim.qpos[::4], sim.qvel[::4] = start
    sim.ctrl[:] = 2 * torch.rand(sim.ctrl.shape, generator=generator, dtype=torch.double) - 1


def move_targets(sim: Engine) -> None:
    """Move each mocap body "target_x", in every fifth environment, to the body "x"."""
    model = sim.model
    for body in (model.body(i) for i in range(model.nbody)):
        thing = body.name.removeprefix("target_")
        if body.mocapid[0] >= 0 and thing != body.name:
            sim.mocap_pos[::5, body.mocapid[0]] = sim.xpos[::5, sim.body(thing)]
            sim.mocap_quat[::5, body.mocapid[0]] = sim.xquat[::5, sim.body(thing)]
    sim.forward(torch.arange(sim.num_envs))


def move_balls(sim: Engine) -> None:
    """Move a free ball, in every fifth environment, to the middle of the floor."""
    joints = [sim.model.joint(i).name for i in range(sim.model.njnt)]
    if "ball_root" in joints:
        ball = sim.joint("ball_root")
        sim.qpos[::5, ball : ball + 2] = 0.0
