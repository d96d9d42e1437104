"""Physics on the CPU: MuJoCo's own batched simulator, in double precision."""
# ruff: noqa: D102 - the methods are documented once, in Engine

import mujoco
import numpy as np
import torch
from mujoco.batch import Batch
from torch import Tensor

from envs.engines.base import DERIVED, PHYSICS_STATE, Engine

VELOCITY = int(mujoco.mjtStage.mjSTAGE_VEL)
ACCELERATION = int(mujoco.mjtStage.mjSTAGE_ACC)
ACTUATION = int(mujoco.mjtDisableBit.mjDSBL_ACTUATION)
NO_STAGE = int(mujoco.mjtStage.mjSTAGE_NONE)
WARNINGS = {
    "contact_overflow": (mujoco.mjtWarning.mjWARN_CONTACTFULL,),
    "constraint_overflow": (mujoco.mjtWarning.mjWARN_CNSTRFULL,),
    "non_finite": (
        mujoco.mjtWarning.mjWARN_BADQPOS,
        mujoco.mjtWarning.mjWARN_BADQVEL,
        mujoco.mjtWarning.mjWARN_BADQACC,
    ),
}


class CpuEngine(Engine):
    """`mujoco.batch.Batch` as an Engine.

    It uses one thread: the physics of these tasks takes a fiftieth of the time of their images,
    and more threads would only take cores from training.
    """

    def __init__(self, model: mujoco.MjModel, num_envs: int):
        self.model, self.num_envs = model, num_envs
        self.device, self.dtype = torch.device("cpu"), torch.float64
        self._batch = Batch(model, num_envs, nthread=1, persistent=False)
        for name in PHYSICS_STATE + DERIVED:
            setattr(self, name, self._view(name))
        self._contacts = self._view("ncon")  # (N,)
        self._disabled = torch.from_numpy(self._batch.expand("opt.disableflags"))  # (N,)
        self._packed_state = torch.from_numpy(self._batch.state)  # (N, S)
        self._warned = self._batch.warning[:, :, 1].copy()  # (N, kinds): times each was raised

    def _view(self, name: str) -> Tensor:
        array = self._batch.bind(name)
        array = array.view()
        array.flags.writeable = True  # derived fields too: set_state restores the sensors
        view = torch.from_numpy(array)
        if name.endswith("xmat"):
            return view.view(self.num_envs, -1, 3, 3)
        return view

    def step(self, substeps: int) -> None:
        self._batch.step(nstep=substeps, stage=VELOCITY)

    def reset(self, env_ids: Tensor) -> None:
        self._batch.reset(env_ids.numpy(), stage=NO_STAGE)

    def forward(self, env_ids: Tensor) -> None:
        self._disabled[env_ids] |= ACTUATION
        self._batch.forward(env_ids.numpy(), stage=ACCELERATION)
        self._disabled[env_ids] &= ~ACTUATION

    def settle(self, env_ids: Tensor, substeps: int) -> None:
        self._batch.step(env_ids.numpy(), nstep=substeps, stage=VELOCITY)
        self.time[env_ids] = 0

    def touching(self, env_ids: Tensor) -> Tensor:
        return self._contacts[env_ids] > 0

    def _expand(self, name: str) -> Tensor:
        return torch.from_numpy(self._batch.expand(name))

    def faults(self) -> dict[str, Tensor]:
        count = self._batch.warning[:, :, 1]
        new = count > self._warned  # (N, kinds)
        np.copyto(self._warned, count)
        return {
            name: torch.from_numpy(new[:, [int(kind) for kind in kinds]].any(1))
            for name, kinds in WARNINGS.items()
        }

    def state(self) -> dict[str, Tensor]:
        own = {name: values.clone() for name, values in self.expanded.items()}
        physics = self._packed_state.clone()
        return own | {"physics": physics, "sensordata": self.sensordata.clone()}

    def set_state(self, state: dict[str, Tensor]) -> None:
        for name, values in self.expanded.items():
            values.copy_(state[name])
        self._packed_state.copy_(state["physics"])
        self._batch.forward(stage=VELOCITY)
        self._packed_state.copy_(state["physics"])
        self.sensordata.copy_(state["sensordata"])
