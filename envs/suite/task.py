"""What a task is, and the random numbers it starts episodes from."""

import abc
import math
from collections.abc import Callable

import mujoco
import numpy as np
import torch
from torch import Tensor

from envs.engine import Engine
from envs.model import suite_spec

MAX_DRAWS = 1000


class Draw:
    """Random numbers for the K worlds being reset.

    Row k depends on nothing but its world's seed and episode number, so that an episode is the
    same whatever the number of worlds and whichever of them are reset together.

    Args:
        seeds, episodes: integers (K,).
        device, dtype: of what is drawn.
        stream: another gives other numbers for the same episodes.
    """

    def __init__(
        self,
        seeds: Tensor,
        episodes: Tensor,
        device: torch.device,
        dtype: torch.dtype,
        stream: int = 0,
    ):
        pairs = zip(seeds.tolist(), episodes.tolist(), strict=True)
        self._generators = [np.random.default_rng((*pair, stream)) for pair in pairs]
        self.device, self.dtype = device, dtype

    def __len__(self) -> int:
        return len(self._generators)

    def __getitem__(self, rows: Tensor) -> "Draw":
        """The draw of those rows (a mask or indices) only, continuing their streams."""
        part = object.__new__(Draw)
        indices = torch.arange(len(self))[rows.cpu()].tolist()
        part._generators = [self._generators[i] for i in indices]
        part.device, part.dtype = self.device, self.dtype
        return part

    def _rows(self, values: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(values)).to(self.device, self.dtype)

    def uniform(self, low, high, *shape: int) -> Tensor:
        """Uniform on [low, high): (K, *shape)."""
        return self._rows([np.asarray(g.uniform(low, high, shape)) for g in self._generators])

    def normal(self, *shape: int) -> Tensor:
        """Standard normal: (K, *shape)."""
        return self._rows([np.asarray(g.standard_normal(shape)) for g in self._generators])


class Task(abc.ABC):
    """Where episodes start, what is rewarded and what a state is, for all worlds at once.

    A task is written once, in torch, and runs on either engine. Subclasses set `xml` (or override
    `spec`) and write `reset`, `reward` and `proprio`. Everything is evaluated at the engine's
    current fields; `worlds` is always an index tensor (K,).

    Attributes:
        xml: a file of dm_control's suite.
        camera: index of the camera an agent sees by.
        frames: control steps an episode has.
        control_timestep: seconds a control step lasts; None for one physics step.
        needs_contacts: contacts a world can have at most on the warp engine.
        needs_rows: constraint rows a world can have at most on the warp engine.
        engines: those that carry it.
    """

    xml: str
    camera: int = 0
    frames: int = 1000
    control_timestep: float | None = None
    needs_contacts: int = 24
    needs_rows: int = 96
    engines: tuple[str, ...] = ("c", "warp")

    def spec(self) -> mujoco.MjSpec:
        """The model before it is compiled."""
        return suite_spec(self.xml)

    def substeps(self, model: mujoco.MjModel) -> int:
        """Physics steps in a control step."""
        if self.control_timestep is None:
            return 1
        return round(self.control_timestep / model.opt.timestep)

    @abc.abstractmethod
    def reset(self, sim: Engine, worlds: Tensor, draw: Draw) -> None:
        """Puts worlds (K,), which stand at the model's defaults, at the start of an episode."""

    @abc.abstractmethod
    def reward(self, sim: Engine) -> Tensor:
        """The reward of arriving at the current state, (N,), in [0, 1]."""

    @abc.abstractmethod
    def proprio(self, sim: Engine) -> dict[str, Tensor]:
        """The state as the task's own observation: name to (N,) or (N, k), in order."""


def randomize_joints(sim: Engine, worlds: Tensor, draw: Draw) -> None:
    """Draws joints uniformly: within their limits, or over a turn for unlimited hinges.

    Unlimited slides stay where they are, and so do free joints, which turn: to quaternions with
    positive entries only, as in dm_control.
    """
    model = sim.model
    for joint in range(model.njnt):
        address = int(model.jnt_qposadr[joint])
        if model.jnt_limited[joint]:
            low, high = model.jnt_range[joint]
        elif model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_HINGE:
            low, high = -math.pi, math.pi
        elif model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE:
            quaternion = torch.nn.functional.normalize(draw.uniform(0, 1, 4), dim=1)
            sim.qpos[worlds, address + 3 : address + 7] = quaternion
            continue
        else:
            continue
        sim.qpos[worlds, address] = draw.uniform(low, high)


def draw_until_free(
    sim: Engine, worlds: Tensor, draw: Draw, place: Callable[[Tensor, Draw], None]
) -> None:
    """Calls `place(worlds, draw)` again for the worlds that touch anything, until none does.

    Raises:
        RuntimeError: after MAX_DRAWS tries.
    """
    for _ in range(MAX_DRAWS):
        place(worlds, draw)
        sim.forward(worlds)
        touching = sim.touching(worlds)
        if not touching.any():
            return
        worlds, draw = worlds[touching], draw[touching]
    raise RuntimeError(f"No state free of contacts was found in {MAX_DRAWS} tries.")
