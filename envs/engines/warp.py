"""Physics on CUDA: mujoco-warp, in single precision, replayed as CUDA graphs."""

# ruff: noqa: D102 - the methods are documented once, in Engine

# Warp compiles kernels from their text: Python's types do not apply to them.
# pyright: reportAssignmentType=false, reportGeneralTypeIssues=false, reportIndexIssue=false
# pyright: reportAttributeAccessIssue=false, reportOperatorIssue=false

from typing import Any

import envs.engines.quiet_warp  # noqa: F401  (before mujoco_warp, which initialises Warp)

import mujoco  # isort: skip
import mujoco_warp as mjw
import numpy as np
import torch
import warp as wp
from torch import Tensor

from envs.engines.base import DERIVED, PHYSICS_STATE, Engine
from envs.engines.cuda_graphs import CudaGraphs

SETTLED_STATE = ("time", "qpos", "qvel", "act", "qacc_warmstart")  # what `settle` changes
OVERFLOWS = {
    "contact_overflow": mjw.OverflowType.BROADPHASE
    | mjw.OverflowType.NARROWPHASE
    | mjw.OverflowType.CCD,
    "constraint_overflow": mjw.OverflowType.NEFC | mjw.OverflowType.NJMAX_NNZ,
}


@wp.kernel(enable_backward=False)
def _refresh(
    current: wp.array2d[float], of_acceleration: wp.array[wp.bool], kept: wp.array2d[float]
):
    """Copy the sensors of position and velocity only."""
    env, i = wp.tid()
    if not of_acceleration[i]:
        kept[env, i] = current[env, i]


class WarpEngine(Engine):
    """mujoco-warp as an Engine.

    Sensors are kept in a buffer of its own: mujoco-warp zeroes those of acceleration (touch,
    accelerometer) when it makes those of position and velocity current.

    Args:
        model: the compiled model.
        num_envs: N.
        device: "cuda"; or "cpu", a hundred times slower than the C engine, to try the code
            without a GPU.
        contacts: contacts that an environment may have on average.
        rows: constraint rows that an environment may have.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        num_envs: int,
        device: Any = "cuda",
        contacts: int = 24,
        rows: int = 96,
    ):
        self.model, self.num_envs = model, num_envs
        self.device, self.dtype = torch.device(device), torch.float32
        self.graphs = CudaGraphs(self.device)
        with wp.ScopedDevice(str(self.device)):
            self.warp_model = mjw.put_model(model)
            self.warp_model.opt.warn_overflow = False  # it prints every step; faults() reports
            self.data = mjw.make_data(model, nworld=num_envs, nconmax=contacts, njmax=rows)
            self._mask = wp.zeros(num_envs, dtype=wp.bool)
            stage = model.sensor_needstage == mujoco.mjtStage.mjSTAGE_ACC
            of_acceleration = np.repeat(stage, model.sensor_dim)  # (sensordata,)
            self._of_acceleration = wp.array(of_acceleration, dtype=wp.bool)
            self._sensors = wp.zeros_like(self.data.sensordata)
        for name in {*PHYSICS_STATE, *DERIVED} - {"sensordata"}:
            setattr(self, name, wp.to_torch(getattr(self.data, name)))
        self.sensordata = wp.to_torch(self._sensors)  # (N, S)
        self._current_sensors = wp.to_torch(self.data.sensordata)
        self._mask_view = wp.to_torch(self._mask)  # (N,) bool
        self._overflow = wp.to_torch(self.data.overflow)  # (N,) bits
        self._contact_count = wp.to_torch(self.data.nacon)  # (1,), of all environments
        self._contact_env = wp.to_torch(self.data.contact.worldid)
        for function in (self._forward, lambda: self._step(1), self._reset):
            self.graphs.run_eagerly(function)  # compiles
        self.reset(torch.arange(num_envs, device=self.device))

    # ---- captured as graphs

    def _step(self, substeps: int) -> None:
        m, d = self.warp_model, self.data
        runge_kutta = m.opt.integrator == mujoco.mjtIntegrator.mjINT_RK4
        for substep in range(substeps):
            last = substep == substeps - 1
            mjw.step(m, d) if runge_kutta else mjw.step2(m, d)
            if last:
                wp.copy(self._sensors, d.sensordata)
            if last or not runge_kutta:
                mjw.step1(m, d)
        self._refresh_sensors()

    def _refresh_sensors(self) -> None:
        inputs = [self.data.sensordata, self._of_acceleration, self._sensors]
        wp.launch(_refresh, dim=self._sensors.shape, inputs=inputs)

    def _forward(self) -> None:
        option = self.warp_model.opt
        flags = option.disableflags
        option.disableflags = flags | int(mujoco.mjtDisableBit.mjDSBL_ACTUATION)
        mjw.forward(self.warp_model, self.data)
        option.disableflags = flags

    def _update_derived(self) -> None:
        """Compute position- and velocity-dependent fields, from which the next step starts."""
        mjw.step1(self.warp_model, self.data)
        self._refresh_sensors()

    def _reset(self) -> None:
        mjw.reset_data(self.warp_model, self.data, reset=self._mask)

    # ---- the interface of Engine

    def step(self, substeps: int) -> None:
        self.graphs.run(("step", substeps), lambda: self._step(substeps))

    def reset(self, env_ids: Tensor) -> None:
        self._mask_view.zero_()
        self._mask_view[env_ids] = True
        self.graphs.run("reset", self._reset)
        self.sensordata[env_ids] = 0.0

    def forward(self, env_ids: Tensor) -> None:
        self.graphs.run("forward", self._forward)
        self.sensordata[env_ids] = self._current_sensors[env_ids]
        self.graphs.run("update_derived", self._update_derived)

    def settle(self, env_ids: Tensor, substeps: int) -> None:
        others = torch.ones(self.num_envs, dtype=torch.bool, device=self.device)
        others[env_ids] = False
        state = {name: getattr(self, name)[others] for name in SETTLED_STATE}
        sensors = self.sensordata[others]
        self.graphs.run("update_derived", self._update_derived)  # their state was written to
        for _ in range(substeps):
            self.step(1)
        for name, values in state.items():
            getattr(self, name)[others] = values
        self.time[env_ids] = 0.0
        self.graphs.run("update_derived", self._update_derived)
        self.sensordata[others] = sensors

    def touching(self, env_ids: Tensor) -> Tensor:
        touches = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        count = min(int(self._contact_count), len(self._contact_env))
        touches[self._contact_env[:count].long()] = True
        return touches[env_ids]

    def _expand(self, name: str) -> Tensor:
        shared = getattr(self.warp_model, name)  # (1, ...), for all environments
        usual = wp.to_torch(shared)[:1]
        values = usual.repeat(self.num_envs, *[1] * (usual.ndim - 1))
        setattr(self.warp_model, name, wp.from_torch(values, dtype=shared.dtype))
        self.graphs.clear()
        return values

    def faults(self) -> dict[str, Tensor]:
        overflows = {name: (self._overflow & int(bits)) != 0 for name, bits in OVERFLOWS.items()}
        finite = self.qpos.isfinite().all(1) & self.qvel.isfinite().all(1)
        self._overflow.zero_()
        return overflows | {"non_finite": ~finite}

    def state(self) -> dict[str, Tensor]:
        own = {name: values.clone() for name, values in self.expanded.items()}
        return own | {name: getattr(self, name).clone() for name in (*PHYSICS_STATE, "sensordata")}

    def set_state(self, state: dict[str, Tensor]) -> None:
        for name, values in self.expanded.items():
            values.copy_(state[name])
        for name in PHYSICS_STATE:
            getattr(self, name).copy_(state[name])
        self.graphs.run("update_derived", self._update_derived)
        self.sensordata.copy_(state["sensordata"])
