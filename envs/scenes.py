"""Scenes of a task: images of random states, under the usual or random looks."""

import warnings
from typing import NamedTuple

import torch
from torch import Tensor

from envs.batched import BatchedEnv
from envs.engines.mjcf import compile_model
from envs.rendering.randomize import Randomization
from envs.suite import make_task, task_modules
from envs.suite.task import Task
from envs.verification.states import scatter

HOLD = 8  # control steps an action is held
OF_EPISODE = 4  # images of an episode: its start, and after each of three actions
ENVS = 20  # environments rendered together
COLOURS, LIGHT = 0.3, 0.5  # of random looks, see `Randomization`
CAMERA = 0.05  # of random looks: share of the model's extent
LARGEST_EXTENT = 2.0  # metres; where a floor makes the extent larger, it says nothing of the body


class Scenes(NamedTuple):
    """Images with what they show."""

    frames: Tensor  # (count, 3, 64, 64) uint8
    origin: Tensor  # (count,) int64, the environment of each
    proprio: Tensor  # (count, P) float32, the state as the task observes it


def random_scenes(name: str, count: int, seed: int = 0, random_looks: bool = False) -> Scenes:
    """Return images of a task in random states; the same arguments give the same images.

    `ENVS` environments play episodes of `OF_EPISODE` images. An episode begins where the task
    begins in a quarter of the environments. In the others hinges and limited joints begin anywhere,
    or in half of them near zero, at rest. Uniform random actions of `HOLD` control steps follow.
    Images are ordered by environment.

    Args:
        name: of the task.
        count: number of images, a multiple of `ENVS`.
        seed: of environments, states and actions.
        random_looks: whether colours, lights and the camera vary with each episode.

    Raises:
        ValueError: the task is unknown, or `count` is no multiple of `ENVS`.
    """
    if count < ENVS or count % ENVS:
        raise ValueError(f"count={count} of images must be a multiple of {ENVS}")
    task, length = make_task(name), count // ENVS
    looks = looks_of(task) if random_looks else None
    threads = torch.get_num_threads()  # each of which prepares a renderer of its own
    env = BatchedEnv(
        task,
        ENVS,
        seed=seed,
        action_repeat=HOLD,
        obs="both",
        threads=threads,
        randomization=looks,
    )
    random = torch.Generator().manual_seed(seed)
    frames, proprio = [], []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a body that starts inside another may be thrown far
            while len(frames) < length:
                for seen in episode(env, random)[: length - len(frames)]:
                    frames.append(seen["pixels"])
                    proprio.append(seen["proprio"].clone())
    finally:
        env.close()
    origin = torch.arange(ENVS).repeat_interleave(length)
    stacked = (torch.stack(parts, 1).flatten(0, 1) for parts in (frames, proprio))
    images, states = stacked  # (N, T, ...) -> (count, ...)
    return Scenes(images, origin, states)


def episode(env: BatchedEnv, random: torch.Generator) -> list[dict[str, Tensor]]:
    """Return the observations of one episode in all environments."""
    env.reset()
    scatter(env.sim, random)
    env.sim.qvel.zero_()
    env.sim.forward(torch.arange(env.num_envs))
    env.set_state(env.state())  # renders again
    start, shape = env.observe(), env.action_space.shape or (0,)
    actions = 2 * torch.rand(OF_EPISODE - 1, *shape, generator=random) - 1
    return [start, *(env.step(action)[0] for action in actions)]


def distinct_tasks(without: tuple[str, ...] = ()) -> list[str]:
    """Return the first task of each model of the suite: tasks of one model show the same bodies.

    Args:
        without: domains that are left out, each the beginning of its tasks' names ("finger").

    Raises:
        ValueError: no task belongs to a domain.
    """
    names = list(task_modules())
    for domain in without:
        rest = [name for name in names if not name.startswith(f"{domain}-")]
        if len(rest) == len(names):
            raise ValueError(f"The suite has no tasks {domain}-...: `python -m envs` lists them.")
        names = rest
    models = {name: make_task(name).spec().to_xml() for name in names}
    return [name for i, name in enumerate(names) if models[name] not in list(models.values())[:i]]


def looks_of(task: Task) -> Randomization:
    """Return how much the looks of a task vary: the camera as far as fits the size of the model."""
    extent = min(float(compile_model(task.spec()).stat.extent), LARGEST_EXTENT)
    return Randomization(colours=COLOURS, light=LIGHT, camera=CAMERA * extent)
