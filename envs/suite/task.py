"""What a task defines: its model, its episodes' starts, its reward and its state."""

import abc
import math
from collections.abc import Callable

import mujoco
import torch
from torch import Tensor

from envs.engines.base import Engine
from envs.engines.episode_rng import EpisodeRng
from envs.engines.mjcf import suite_spec

MAX_TRIES = 1000


class Task(abc.ABC):
    """A task of all environments at once: where episodes start, and what is rewarded.

    A task is written once, in torch, and runs on either engine. Subclasses set `xml` (or override
    `spec`) and write `reset`, `reward` and `proprio`. All methods read the engine's current
    fields; `env_ids` is always an index tensor (K,).

    Attributes:
        xml: a file of dm_control's suite.
        camera: index of the camera that the agent sees through.
        episode_length: frames (control steps) of an episode.
        control_timestep: seconds of a control step; None for one physics step.
        needs_contacts: most contacts that one environment can have on the warp engine.
        needs_rows: most constraint rows that one environment can have on the warp engine.
        engines: names of the engines that can run it.
    """

    xml: str
    camera: int = 0
    episode_length: int = 1000
    control_timestep: float | None = None
    needs_contacts: int = 24
    needs_rows: int = 96
    engines: tuple[str, ...] = ("c", "warp")

    def spec(self) -> mujoco.MjSpec:
        """Return the model before it is compiled."""
        return suite_spec(self.xml)

    def substeps(self, model: mujoco.MjModel) -> int:
        """Return the number of physics steps in a control step."""
        if self.control_timestep is None:
            return 1
        return round(self.control_timestep / model.opt.timestep)

    @abc.abstractmethod
    def reset(self, sim: Engine, env_ids: Tensor, rng: EpisodeRng) -> None:
        """Move environments (K,) from the model's defaults to the start of an episode."""

    @abc.abstractmethod
    def reward(self, sim: Engine) -> Tensor:
        """Return the reward of arriving at the current state, (N,), in [0, 1]."""

    @abc.abstractmethod
    def proprio(self, sim: Engine) -> dict[str, Tensor]:
        """Return the state as the task observes it: name to (N,) or (N, k), in order."""


def randomize_joints(sim: Engine, env_ids: Tensor, rng: EpisodeRng) -> None:
    """Place joints uniformly: within their limits, or over a full turn for unlimited hinges.

    Unlimited slides keep their position. Free joints keep theirs and get an orientation with
    positive quaternion entries only, as in dm_control.
    """
    model = sim.model
    for joint in range(model.njnt):
        address = int(model.jnt_qposadr[joint])
        if model.jnt_limited[joint]:
            low, high = model.jnt_range[joint]
        elif model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_HINGE:
            low, high = -math.pi, math.pi
        elif model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE:
            quaternion = torch.nn.functional.normalize(rng.uniform(0, 1, 4), dim=1)  # (K, 4)
            sim.qpos[env_ids, address + 3 : address + 7] = quaternion
            continue
        else:
            continue
        sim.qpos[env_ids, address] = rng.uniform(low, high)


def place_until_free(
    sim: Engine, env_ids: Tensor, rng: EpisodeRng, place: Callable[[Tensor, EpisodeRng], None]
) -> None:
    """Call `place(env_ids, rng)` again for environments with contacts until none has any.

    Raises:
        RuntimeError: contacts remain after MAX_TRIES tries.
    """
    for _ in range(MAX_TRIES):
        place(env_ids, rng)
        sim.forward(env_ids)
        touching = sim.touching(env_ids)
        if not touching.any():
            return
        env_ids, rng = env_ids[touching], rng[touching]
    raise RuntimeError(f"No state without contacts was found in {MAX_TRIES} tries.")
