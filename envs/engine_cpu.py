"""Physics on the CPU: MuJoCo's own batched simulator, in double precision."""
# ruff: noqa: D102 - what the methods do is said once, in Engine

import mujoco
import numpy as np
import torch
from mujoco.batch import Batch
from torch import Tensor

from envs.engine import DERIVED, Engine

VELOCITY = int(mujoco.mjtStage.mjSTAGE_VEL)
ACCELERATION = int(mujoco.mjtStage.mjSTAGE_ACC)
ACTUATION = int(mujoco.mjtDisableBit.mjDSBL_ACTUATION)
NO_STAGE = int(mujoco.mjtStage.mjSTAGE_NONE)
STATE = ("time", "qpos", "qvel", "act", "ctrl", "mocap_pos", "mocap_quat", "qacc_warmstart")
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
    """`mujoco.batch.Batch` behind the engine's face.

    One thread: the physics of these tasks takes a fiftieth of the time of their pictures, and
    more threads would only take cores from whoever trains beside it.
    """

    def __init__(self, model: mujoco.MjModel, num_worlds: int):
        self.model, self.num_worlds = model, num_worlds
        self.device, self.dtype = torch.device("cpu"), torch.float64
        self._batch = Batch(model, num_worlds, nthread=1, persistent=False)
        for name in STATE + DERIVED:
            setattr(self, name, self._view(name))
        self._contacts = self._view("ncon")  # (N,)
        self._disabled = torch.from_numpy(self._batch.expand("opt.disableflags"))  # (N,)
        self._row = torch.from_numpy(self._batch.state)  # (N, S)
        self._warned = self._batch.warning[:, :, 1].copy()  # (N, kinds), how often each was raised

    def _view(self, name: str) -> Tensor:
        array = self._batch.bind(name)
        array = array.view()
        array.flags.writeable = True  # derived fields too: set_state restores the sensors
        view = torch.from_numpy(array)
        if name.endswith("xmat"):
            return view.view(self.num_worlds, -1, 3, 3)
        return view

    def step(self, substeps: int) -> None:
        self._batch.step(nstep=substeps, stage=VELOCITY)

    def reset(self, worlds: Tensor) -> None:
        self._batch.reset(worlds.numpy(), stage=NO_STAGE)

    def forward(self, worlds: Tensor) -> None:
        self._disabled[worlds] |= ACTUATION
        self._batch.forward(worlds.numpy(), stage=ACCELERATION)
        self._disabled[worlds] &= ~ACTUATION

    def settle(self, worlds: Tensor, substeps: int) -> None:
        self._batch.step(worlds.numpy(), nstep=substeps, stage=VELOCITY)
        self.time[worlds] = 0

    def touching(self, worlds: Tensor) -> Tensor:
        return self._contacts[worlds] > 0

    def _expand(self, name: str) -> Tensor:
        return torch.from_numpy(self._batch.expand(name))

    def faulty(self) -> dict[str, Tensor]:
        count = self._batch.warning[:, :, 1]
        new = count > self._warned  # (N, kinds)
        np.copyto(self._warned, count)
        return {
            name: torch.from_numpy(new[:, [int(kind) for kind in kinds]].any(1))
            for name, kinds in WARNINGS.items()
        }

    def state(self) -> dict[str, Tensor]:
        own = {name: values.clone() for name, values in self.expanded.items()}
        return own | {"physics": self._row.clone(), "sensordata": self.sensordata.clone()}

    def set_state(self, state: dict[str, Tensor]) -> None:
        for name, values in self.expanded.items():
            values.copy_(state[name])
        self._row.copy_(state["physics"])
        self._batch.forward(stage=VELOCITY)
        self._row.copy_(state["physics"])
        self.sensordata.copy_(state["sensordata"])
